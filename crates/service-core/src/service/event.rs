//! [`Event`]s in the past tense, [`Effect`]s in the imperative.

use crate::health::ProbeResult;
use crate::time::Moment;
use alloc::borrow::ToOwned;
use alloc::string::{String, ToString};
use core::fmt;
use serde::{Deserialize, Serialize};

/// An event of a run of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The service may start because its dependencies are satisfied, or may stop because its dependents have stopped.
    Unblocked,
    /// The process exists, or its manager reports the start.
    Launched,
    /// Like [`Event::Launched`], with the time when the process began, because the launch may have waited in a queue.
    Begun(Moment),
    /// The service could not be launched, for this reason.
    LaunchFailed(String),
    /// A check ended.
    Probed(ProbeResult),
    /// The service sent `READY=1`.
    ReadyNotified,
    /// A process listens on the port of its health check.
    PortOpened,
    /// The service requests time up to this moment, to start or to stop.
    Extended(Moment),
    /// The process ended, but descendants still run.
    Exited(Exit),
    /// No process of the service is left.
    TreeExited(Exit),
    /// The result of a presence check of the inactive service.
    PresenceChecked(Presence),
    /// A deadline passed.
    TimerElapsed,
}

/// Whether an inactive service runs externally.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// The service runs: it was started externally.
    Running,
    /// The service does not run, or this is unknown.
    Absent,
}

/// An effect on a run of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Start the process.
    Spawn,
    /// Check the service once, and report the result.
    Probe,
    /// Report whether the inactive service runs.
    CheckPresence,
    /// Watch for readiness, and report it.
    WatchReadiness,
    /// Request the end: the stop signal to the whole tree, or the stop command.
    Terminate,
    /// Kill the service: `SIGKILL` to the whole tree.
    Kill,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// The process exited with this code.
    Code(i32),
    /// This signal ended the process.
    Signal(i32),
    /// The kernel killed the process, because the processes together had reached the `memory_limit`, in bytes.
    OutOfMemory(u64),
    /// The stop signal ended the process, and the manager reports a success.
    #[serde(rename = "heeded")]
    AcceptedSignal(i32),
    /// The manager reports the end without a code.
    #[serde(rename = "untold")]
    Unreported,
    /// The end was not observed.
    Unknown,
}

impl Exit {
    /// Whether the exit is a success.
    pub fn is_success(self) -> bool {
        matches!(self, Self::Code(0) | Self::AcceptedSignal(_))
    }

    /// The exit code, if any.
    pub fn code(self) -> Option<i32> {
        match self {
            Self::Code(code) => Some(code),
            Self::Signal(_)
            | Self::AcceptedSignal(_)
            | Self::OutOfMemory(_)
            | Self::Unreported
            | Self::Unknown => None,
        }
    }

    /// The name of the signal that ended the process, if any; its number if it has no name.
    pub fn signal(self) -> Option<String> {
        match self {
            Self::Signal(signal) | Self::AcceptedSignal(signal) => {
                Some(signal_name(signal).map_or_else(|| signal.to_string(), str::to_owned))
            }
            Self::OutOfMemory(_) => Some("SIGKILL".to_owned()),
            Self::Code(_) | Self::Unreported | Self::Unknown => None,
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exited with code {code}"),
            Self::Signal(signal) | Self::AcceptedSignal(signal) => match signal_name(*signal) {
                Some(name) => write!(f, "was ended by {name}"),
                None => write!(f, "was ended by signal {signal}"),
            },
            Self::OutOfMemory(limit) => {
                write!(f, "was ended by SIGKILL: it reached its memory_limit of {}", DisplayedSize(*limit))
            }
            Self::Unreported => f.write_str("ended, according to its manager"),
            Self::Unknown => f.write_str("ended unseen"),
        }
    }
}

/// A size in the notation of Nushell: in powers of a thousand, with at most one decimal.
struct DisplayedSize(u64);

impl fmt::Display for DisplayedSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
        // The largest unit in which the rounded size is at least 1.
        let of = units.iter().find(|(unit, _)| self.0 + unit / 2_000 >= *unit);
        let Some((unit, name)) = of else { return write!(f, "{} B", self.0) };
        match (u128::from(self.0) * 10 + u128::from(*unit) / 2) / u128::from(*unit) {
            tenths if tenths % 10 == 0 => write!(f, "{} {name}", tenths / 10),
            tenths => write!(f, "{}.{} {name}", tenths / 10, tenths % 10),
        }
    }
}

/// The name of a signal that ends processes, as in signal(7) for x86 and ARM.
pub fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        5 => "SIGTRAP",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        10 => "SIGUSR1",
        11 => "SIGSEGV",
        12 => "SIGUSR2",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        31 => "SIGSYS",
        _ => return None,
    })
}

/// The findings of a new daemon for a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Discovered {
    /// A process of the run exists.
    Running {
        /// Number of the run.
        run: u64,
        /// When it was launched.
        launched: Moment,
    },
    /// The service ran according to the former daemon; its manager has not responded yet.
    Unreachable {
        /// Number of the run.
        run: u64,
        /// When it was launched.
        launched: Moment,
    },
    /// The service does not run. This was its last run, with this end: [`Event::TreeExited`] or
    /// [`Event::LaunchFailed`].
    Exited {
        /// Number of the run.
        run: u64,
        /// The end.
        event: Event,
    },
    /// There is no trace of a run.
    Absent,
    /// The state is unknown, because files cannot be read.
    Unclear {
        /// The unknown fact and its cause, with the file and the error.
        why: String,
    },
}

#[cfg(test)]
mod tests {
    use super::Exit;
    use alloc::string::ToString;

    #[test]
    fn a_signal_that_was_heeded_is_told_as_one_and_is_no_failure() {
        assert_eq!(Exit::AcceptedSignal(15).signal().as_deref(), Some("SIGTERM"));
        assert_eq!(Exit::AcceptedSignal(15).to_string(), Exit::Signal(15).to_string());
        assert!(Exit::AcceptedSignal(15).is_success() && !Exit::Signal(15).is_success());
    }

    #[test]
    fn reaching_the_memory_limit_is_told_with_the_limit() {
        let said = |limit| Exit::OutOfMemory(limit).to_string();
        assert_eq!(said(512_000_000), "was ended by SIGKILL: it reached its memory_limit of 512 MB");
        // The kernel rounds 10 MB down to whole pages.
        assert!(said(9_998_336).ends_with(" 10 MB"), "{}", said(9_998_336));
        assert!(said(999_997_440).ends_with(" 1 GB"), "{}", said(999_997_440));
        assert!(said(512 << 20).ends_with(" 536.9 MB"), "{}", said(512 << 20));
    }
}
