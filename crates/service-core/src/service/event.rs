//! [`Event`]: what happened, in the past tense. [`Effect`]: what to do, in the imperative.

use crate::health::ProbeResult;
use crate::time::Moment;
use alloc::borrow::ToOwned;
use alloc::string::{String, ToString};
use core::fmt;
use serde::{Deserialize, Serialize};

/// What happened to a run of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Nothing in the graph stands in the way: needs are satisfied going up, dependents are gone going down.
    Unblocked,
    /// Its process exists (or its manager says that it started).
    Launched,
    /// The same, and it has existed since this moment: the launch may have waited for its turn until then.
    Begun(Moment),
    /// It could not be launched, for this reason.
    LaunchFailed(String),
    /// A check ended.
    Probed(ProbeResult),
    /// It said that it is ready.
    ReadyNotified,
    /// Where it is to be asked somebody has begun to listen.
    PortOpened,
    /// It asks for time up to this moment, to start or to stop.
    Extended(Moment),
    /// Its process ended, but something that it started still runs.
    Exited(Exit),
    /// Nothing of it is left.
    TreeExited(Exit),
    /// Somebody looked whether it runs although it is at rest here.
    PresenceChecked(Presence),
    /// A deadline passed.
    TimerElapsed,
}

/// Whether a service that is at rest here runs all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It runs: somebody else has started it.
    Running,
    /// It does not, or nobody can tell.
    Absent,
}

/// What to do for a run of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Start its process.
    Spawn,
    /// Check it once and report a verdict.
    Probe,
    /// Tell whether it runs, although it is at rest here.
    CheckPresence,
    /// Tell when it announces that it is ready.
    WatchReadiness,
    /// Ask it to end: the stop signal to the whole tree, or the stop command.
    Terminate,
    /// End it: `SIGKILL` to the whole tree.
    Kill,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// With this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// By `SIGKILL` from the kernel: all its processes together had reached their `memory_limit` of so many bytes.
    OutOfMemory(u64),
    /// By this signal, which was to end it: its manager says that it has done its work.
    #[serde(rename = "heeded")]
    AcceptedSignal(i32),
    /// Its manager says that it has, and not with which code.
    #[serde(rename = "untold")]
    Unreported,
    /// Nobody was there to see.
    Unknown,
}

impl Exit {
    /// Whether it ended as a program that did its work.
    pub fn is_success(self) -> bool {
        matches!(self, Self::Code(0) | Self::AcceptedSignal(_))
    }

    /// The code it ended with, if it did.
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

    /// The name of the signal that ended it, if one did; its number, where it has no name.
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
                write!(f, "was ended by SIGKILL: it reached its memory_limit of {}", Size(*limit))
            }
            Self::Unreported => f.write_str("ended, according to its manager"),
            Self::Unknown => f.write_str("ended unseen"),
        }
    }
}

/// A size as Nushell shows it: in powers of a thousand, with at most one decimal.
struct Size(u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
        // What would be rounded up to a whole one of a unit is told in that unit.
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

/// What a daemon that comes back finds of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Discovered {
    /// A process of this run, launched at this moment.
    Running {
        /// Number of the run.
        run: u64,
        /// When it was launched.
        launched: Moment,
    },
    /// As its manager said before; it has not answered whether that is still so.
    Unreachable {
        /// Number of the run.
        run: u64,
        /// When it was launched.
        launched: Moment,
    },
    /// Nothing that runs. This run was the last, and this became of it: [`Event::TreeExited`] or [`Event::LaunchFailed`].
    Exited {
        /// Number of the run.
        run: u64,
        /// Its end.
        event: Event,
    },
    /// Nothing at all.
    Absent,
    /// It may run or not: what would tell cannot be looked at.
    Unclear {
        /// What cannot be told, and why, with the file and the error.
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
