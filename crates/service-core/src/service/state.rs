//! [`Goal`] and [`State`]: the complete state of a service. Each state has exactly the values that are valid in it, and
//! there are no other flags.
//!
//! *Waiting* means stopped with goal up. In an ordered shutdown, every service has goal down. A *restart* is the goal
//! [`Goal::Restart`].

use crate::service::event::Exit;
use crate::time::Moment;
use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;
use serde::{Deserialize, Serialize};

/// The goal of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// The service should run.
    Up,
    /// The service should not run.
    #[default]
    Down,
    /// The service should stop, in order, and then run: a requested restart, or a lost dependency.
    #[serde(rename = "again")]
    Restart,
}

/// The state of a service.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The service has no process.
    #[default]
    Stopped,
    /// The launch was requested, and it is not known yet whether there is a process.
    Launching {
        /// When it was requested.
        since: Moment,
    },
    /// The service runs and is not ready yet.
    Starting {
        /// When it was launched.
        since: Moment,
    },
    /// The service is ready, and dependents may start.
    Ready {
        /// When it was launched.
        launched: Moment,
        /// When it became ready.
        since: Moment,
    },
    /// The end was requested, or the process has ended and left descendants.
    Stopping {
        /// When the stop began.
        since: Moment,
        /// Why.
        cause: Cause,
        /// When the service had become ready, if it was.
        was_ready: Option<Moment>,
        /// The time of the next kill.
        kill_at: Moment,
        /// The number of kills.
        kills: u32,
    },
    /// The service ended by itself and is restarted at this moment.
    Backoff {
        /// When.
        until: Moment,
        /// The failure.
        failure: Failure,
    },
    /// The service completed its work and ended.
    Completed {
        /// When.
        at: Moment,
        /// How.
        exit: Exit,
    },
    /// The service is not restarted without a request.
    Failed {
        /// When.
        at: Moment,
        /// Why.
        failure: Failure,
        /// The number of attempts.
        attempts: u32,
    },
    /// It is unknown whether the service has a process, or how it ended. The service is neither started nor stopped
    /// until this is known. The former state is persisted.
    #[serde(skip)]
    Unknown {
        /// When the state became unknown.
        since: Moment,
        /// The unknown fact and its cause, with the file and the error.
        why: String,
        /// The last known state.
        was: Box<State>,
    },
}

/// Why a service is stopping.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The goal of the service requires the end.
    #[serde(rename = "asked")]
    Requested,
    /// The service failed. The restart policy decides the next state.
    Failure(Failure),
}

/// The failure of one run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// The service could not be launched.
    #[serde(rename = "refused")]
    LaunchFailed(String),
    /// The service ended by itself.
    Exited(Exit),
    /// The service was not ready in time.
    StartTimeout,
    /// The service became unhealthy, and `on_failure` is `restart`.
    Unhealthy,
}

impl State {
    /// Whether a process exists or may exist.
    pub fn is_alive(&self) -> bool {
        self.is_active() || matches!(self, Self::Stopping { .. } | Self::Unknown { .. })
    }

    /// Whether the service is alive and not stopping.
    pub fn is_active(&self) -> bool {
        matches!(self, Self::Launching { .. } | Self::Starting { .. } | Self::Ready { .. })
    }

    /// Whether the service has no process, and no start is scheduled.
    pub fn is_inactive(&self) -> bool {
        matches!(self, Self::Stopped | Self::Completed { .. } | Self::Failed { .. })
    }

    /// Why the state is unknown; `None` if it is known.
    pub fn unknown_because(&self) -> Option<&str> {
        let Self::Unknown { why, .. } = self else { return None };
        Some(why)
    }

    /// The last known state.
    pub fn last_known(&self) -> &Self {
        match self {
            Self::Unknown { was, .. } => was.last_known(),
            known => known,
        }
    }

    /// Whether the last launch failed.
    pub fn is_launch_failed(&self) -> bool {
        let (Self::Failed { failure, .. } | Self::Backoff { failure, .. }) = self else { return false };
        matches!(failure, Failure::LaunchFailed(_))
    }

    /// When the process was launched, if there may be one.
    pub fn launched(&self) -> Option<Moment> {
        match self {
            Self::Launching { since } | Self::Starting { since } => Some(*since),
            Self::Ready { launched, .. } => Some(*launched),
            _ => None,
        }
    }

    /// When the service became ready in this run, if it did.
    pub fn ready(&self) -> Option<Moment> {
        match self {
            Self::Ready { since, .. } => Some(*since),
            Self::Stopping { was_ready, .. } => *was_ready,
            _ => None,
        }
    }

    /// When the state began; `None` for a state without such a moment.
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
