//! [`ExplainContext`]: the daemon's facts about a service beside its [`Snapshot`](crate::Snapshot).

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
    /// All of the run.
    #[default]
    All,
    /// The last ones, up to a limit.
    Last,
}

/// Facts that complete a [`Snapshot`](crate::Snapshot).
#[derive(Debug, Clone, Copy, Default)]
pub struct ExplainContext<'a> {
    /// The awaited dependency, and the reason why it is blocked.
    pub need: Option<(&'a str, Option<Blocker>)>,
    /// A lost dependency of the running service, and its state.
    pub lost: Option<(&'a str, &'a str)>,
    /// The foreign process that holds its port.
    pub holder: Option<&'a str>,
    /// Whether its work has an end.
    pub oneshot: bool,
    /// The origin of its definition, which decides how to correct it.
    pub origin: Origin,
    /// The shell syntax in its command, and the replacement.
    pub shell: Option<(&'a str, &'a str)>,
    /// The `PATH` in its `env`.
    pub path: Option<&'a str>,
    /// The time limit of a start.
    pub limit: Option<Duration>,
    /// How long the start has left.
    pub left_to_start: Option<Duration>,
    /// The pattern in its log that means ready.
    pub ready: Option<&'a str>,
    /// Whether it sends `READY=1`.
    pub notifies: bool,
    /// Whether a manager runs it and has its log.
    pub managed: bool,
    /// The endpoint of its health checks.
    pub endpoint: Option<&'a str>,
    /// The message of the last check of its run, if the check failed.
    pub check: Option<&'a str>,
    /// What kept that check from passing, beside the health of the service.
    pub check_fault: Option<CheckFault>,
    /// The limit of one check.
    pub check_timeout: Option<Duration>,
    /// The interpreter of the program.
    pub runtime: Runtime,
    /// How long its last run lasted.
    pub lived: Option<Duration>,
    /// The processes that its first process left behind.
    pub left: Option<&'a str>,
    /// The number of lines of its last run, up to a limit.
    pub lines: usize,
    /// Which lines that number counts.
    pub counted: Counted,
    /// The last line of that run, preferably of its standard error.
    pub said: Option<&'a str>,
    /// The most informative line of that run, if it is another one.
    pub telling: Option<&'a str>,
    /// The address space limit of each of its processes, if that enforces its `memory_limit`.
    pub address_space: Option<u64>,
    /// The `memory_limit`.
    pub memory: Option<u64>,
}

/// Nothing is a pipe that no shell reads.
pub(super) fn no_shell(context: &ExplainContext<'_>) -> Option<String> {
    let (found, help) = context.shell?;
    Some(match context.origin {
        Origin::File => format!("{found}: {help}"),
        Origin::Added => format!("{found}: add it with `shell: sh`"),
        Origin::Transient => format!("{found}: run it with `--shell sh`"),
    })
}
