//! [`Goal`] and [`State`]: the pair is the truth. A state carries exactly what is true in it; there are no flags beside it.
//!
//! *Waiting* is stopped with goal up, a *restart* is stopping with goal up, an ordered shutdown is every goal down.

use crate::service::event::Exit;
use crate::time::Moment;
use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;
use serde::{Deserialize, Serialize};

/// What is wanted of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// It should run.
    Up,
    /// It should not.
    #[default]
    Down,
    /// It should stop, in order, and then run: a wish to restart, or a dependency that was lost.
    #[serde(rename = "again")]
    Restart,
}

/// Where a service is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nothing runs.
    #[default]
    Stopped,
    /// The launch is under way; whether there is a process is not known yet.
    Launching {
        /// When it was ordered.
        since: Moment,
    },
    /// It runs, and is not ready yet.
    Starting {
        /// When it was launched.
        since: Moment,
    },
    /// Dependents may go on.
    Ready {
        /// When it was launched.
        launched: Moment,
        /// When it became ready.
        since: Moment,
    },
    /// It was told to end, or has ended and left something behind.
    Stopping {
        /// When that began.
        since: Moment,
        /// Why.
        cause: Cause,
        /// When it had become ready, if it had.
        was_ready: Option<Moment>,
        /// When it is killed, or killed again.
        kill_at: Moment,
        /// How often it was killed.
        kills: u32,
    },
    /// It ended by itself and is started again at this moment.
    Backoff {
        /// When.
        until: Moment,
        /// What ended it.
        failure: Failure,
    },
    /// It did its work and ended.
    Completed {
        /// When.
        at: Moment,
        /// How.
        exit: Exit,
    },
    /// It is not started again until somebody asks.
    Failed {
        /// When.
        at: Moment,
        /// Why.
        failure: Failure,
        /// How often it was tried.
        attempts: u32,
    },
    /// Whether it has a process cannot be told, or not yet how it ended. It is asked for nothing until that is known. Written down
    /// is what it was before.
    #[serde(skip)]
    Unknown {
        /// When that was found.
        since: Moment,
        /// What cannot be told, and why, with the file and the error.
        why: String,
        /// Where it was when that was last known.
        was: Box<State>,
    },
}

/// Why a service is stopping.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Its goal says so.
    #[serde(rename = "asked")]
    Requested,
    /// It went wrong; the restart policy decides what follows.
    Failure(Failure),
}

/// What went wrong with one run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// It could not be launched, and trying again would not help.
    #[serde(rename = "refused")]
    LaunchFailed(String),
    /// It ended by itself.
    Exited(Exit),
    /// It was not ready in time.
    StartTimeout,
    /// It became unhealthy, and `on_failure` is `restart`.
    Unhealthy,
}

impl State {
    /// Whether a process exists or may exist.
    pub fn is_alive(&self) -> bool {
        self.is_active() || matches!(self, Self::Stopping { .. } | Self::Unknown { .. })
    }

    /// Whether it is alive and not on its way down.
    pub fn is_active(&self) -> bool {
        matches!(self, Self::Launching { .. } | Self::Starting { .. } | Self::Ready { .. })
    }

    /// Whether nothing runs, and nothing is about to by itself.
    pub fn is_inactive(&self) -> bool {
        matches!(self, Self::Stopped | Self::Completed { .. } | Self::Failed { .. })
    }

    /// Why it cannot be told whether it has a process, where that is so.
    pub fn unknown_because(&self) -> Option<&str> {
        let Self::Unknown { why, .. } = self else { return None };
        Some(why)
    }

    /// Where it was when that was last known.
    pub fn last_known(&self) -> &Self {
        match self {
            Self::Unknown { was, .. } => was.last_known(),
            known => known,
        }
    }

    /// Whether the last try to launch it came to nothing.
    pub fn is_launch_failed(&self) -> bool {
        let (Self::Failed { failure, .. } | Self::Backoff { failure, .. }) = self else { return false };
        matches!(failure, Failure::LaunchFailed(_))
    }

    /// When its process was launched, if it may have one.
    pub fn launched(&self) -> Option<Moment> {
        match self {
            Self::Launching { since } | Self::Starting { since } => Some(*since),
            Self::Ready { launched, .. } => Some(*launched),
            _ => None,
        }
    }

    /// When it became ready, if it did in this run.
    pub fn ready(&self) -> Option<Moment> {
        match self {
            Self::Ready { since, .. } => Some(*since),
            Self::Stopping { was_ready, .. } => *was_ready,
            _ => None,
        }
    }

    /// Since when it is in this state, where that is a moment that passed.
    pub fn since(&self) -> Option<Moment> {
        match self {
            Self::Launching { since }
            | Self::Starting { since }
            | Self::Ready { since, .. }
            | Self::Stopping { since, .. }
            | Self::Unknown { since, .. } => Some(*since),
            Self::Completed { at, .. } | Self::Failed { at, .. } => Some(*at),
            Self::Stopped | Self::Backoff { .. } => None,
        }
    }

    /// The name of the state, together with the goal.
    pub fn as_str(&self, goal: Goal) -> &'static str {
        match self {
            Self::Stopped if goal == Goal::Down => "stopped",
            Self::Stopped => "waiting",
            Self::Launching { .. } | Self::Starting { .. } => "starting",
            Self::Ready { .. } => "ready",
            Self::Stopping { .. } => "stopping",
            Self::Backoff { .. } => "backoff",
            Self::Completed { .. } => "completed",
            Self::Failed { .. } => "failed",
            Self::Unknown { .. } => "unknown",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LaunchFailed(why) => f.write_str(why),
            Self::Exited(exit) => exit.fmt(f),
            Self::StartTimeout => f.write_str("was not ready in time"),
            Self::Unhealthy => f.write_str("became unhealthy"),
        }
    }
}
