//! [`ExplainContext`]: the daemon's facts about a service, in addition to its [`Snapshot`](crate::Snapshot).

use crate::config::Origin;
use crate::fleet::Blocker;
use crate::health::CheckFault;
use alloc::format;
use alloc::string::String;
use core::time::Duration;

/// The interpreter of a program, as far as it matters for a next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Runtime {
    /// Unknown.
    #[default]
    Other,
    /// Python, which keeps output in a buffer if no terminal reads it.
    BufferingPython,
}

/// Which lines of a log were counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Counted {
    /// All lines of the run.
    #[default]
    All,
    /// The last lines, up to a limit.
    Last,
}

/// Facts that complete a [`Snapshot`](crate::Snapshot).
#[derive(Debug, Clone, Copy, Default)]
pub struct ExplainContext<'a> {
    /// The awaited dependency, and the reason why it is blocked.
    pub need: Option<(&'a str, Option<Blocker>)>,
    /// A lost dependency of the running service, and its state.
    pub lost: Option<(&'a str, &'a str)>,
    /// The foreign process that listens on the service's port.
    pub holder: Option<&'a str>,
    /// Whether the service is a one-shot.
    pub oneshot: bool,
    /// The origin of the definition, which determines how to correct it.
    pub origin: Origin,
    /// The shell syntax in the command, and the replacement.
    pub shell: Option<(&'a str, &'a str)>,
    /// The `PATH` in `env`.
    pub path: Option<&'a str>,
    /// The time limit of a start.
    pub limit: Option<Duration>,
    /// The time until the start timeout.
    pub left_to_start: Option<Duration>,
    /// The pattern of `ready.log`.
    pub ready: Option<&'a str>,
    /// Whether the service is ready with `READY=1`.
    pub notifies: bool,
    /// Whether a manager runs the service and has its log.
    pub managed: bool,
    /// The endpoint of the health checks.
    pub endpoint: Option<&'a str>,
    /// The message of the run's last check, if this check failed.
    pub check: Option<&'a str>,
    /// The cause of that failure, if it is a timeout or a certificate.
    pub check_fault: Option<CheckFault>,
    /// The time limit of one check.
    pub check_timeout: Option<Duration>,
    /// The interpreter of the program.
    pub runtime: Runtime,
    /// The duration of the last run.
    pub lived: Option<Duration>,
    /// The leftover processes, as text.
    pub left: Option<&'a str>,
    /// The number of log lines of the last run, up to a limit.
    pub lines: usize,
    /// Which lines were counted.
    pub counted: Counted,
    /// The last log line of the last run, preferably of standard error.
    pub said: Option<&'a str>,
    /// The line with the error of the last run, if it is not the last line.
    pub telling: Option<&'a str>,
    /// The address space limit of each process, if that enforces `memory_limit`.
    pub address_space: Option<u64>,
    /// The `memory_limit`.
    pub memory: Option<u64>,
}

/// The help for shell syntax in a command without a shell.
pub(super) fn no_shell(context: &ExplainContext<'_>) -> Option<String> {
    let (found, help) = context.shell?;
    Some(match context.origin {
        Origin::File => format!("{found}: {help}"),
        Origin::Added => format!("{found}: add it with `shell: sh`"),
        Origin::Transient => format!("{found}: run it with `--shell sh`"),
    })
}
