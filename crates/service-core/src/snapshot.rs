//! [`Snapshot`]: how one service looks from outside, in the words that users see.

use crate::health::Health;
use crate::plan::{DependencyEdge, Id};
use crate::service::{Cause, Exit, Failure, Goal, RequestOrigin, StartedBy, State};
use crate::time::Moment;
use alloc::string::String;
use alloc::sync::Arc;

/// One service as it is now. Whatever needs the world (pid, memory, wall clock) is added by the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The service.
    pub id: Id,
    /// What is wanted.
    pub goal: Goal,
    /// Where it is.
    pub state: State,
    /// How it is.
    pub health: Health,
    /// The coarse word.
    pub status: Status,
    /// Number of its last run.
    pub run: u64,
    /// When the process of this run was launched, while there is one.
    pub launched: Option<Moment>,
    /// Who started that run.
    pub starter: StartedBy,
    /// How the last run ended; while there is one, how the run before did. `None` where that never began.
    pub last_exit: Option<Exit>,
    /// The number of the run that ended so.
    pub exit_run: Option<u64>,
    /// How often it was started again by its policy since it was last asked for.
    pub restarts: u32,
    /// Why it is where it is, where the state alone does not say.
    pub reason: Option<String>,
    /// What it waits for, if it is wanted and may not start yet.
    pub waits_for: Option<DependencyEdge>,
    /// By whose word its goal is what it is.
    pub asked: Option<Arc<RequestOrigin>>,
    /// Why we ended the last run, where it did not end by itself.
    pub ended: Option<Arc<str>>,
    /// When the last run was launched, whether or not it goes on.
    pub began: Option<Moment>,
}

/// The guide's coarse word for the state of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It has a process, or its manager says that it runs.
    Running,
    /// It has none, and that is all right.
    Stopped,
    /// It has none, and that is not all right.
    Failed,
    /// There is no way to tell.
    Unknown,
}

impl Status {
    /// The name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }
}

impl Snapshot {
    /// Who brought it where it is; nobody where it came there by itself.
    pub fn by(&self) -> Option<&str> {
        match &self.state {
            State::Stopping { cause: Cause::Failure(failure), .. }
            | State::Failed { failure, .. }
            | State::Backoff { failure, .. } => match failure {
                Failure::StartTimeout => Some("policy start timeout"),
                Failure::Unhealthy => Some("policy on_failure"),
                Failure::Exited(_) | Failure::LaunchFailed(_) => None,
            },
            State::Stopped | State::Launching { .. } | State::Starting { .. }
                if self.restarts > 0 && self.goal == Goal::Up =>
            {
                Some("policy restart")
            }
            State::Stopped
            | State::Launching { .. }
            | State::Starting { .. }
            | State::Stopping { cause: Cause::Requested, .. } => {
                self.asked.as_ref().map(|asked| &*asked.asker.by)
            }
            State::Ready { .. } | State::Completed { .. } | State::Unknown { .. } => None,
        }
    }

    /// The fine word.
    pub fn state_word(&self) -> &'static str {
        self.state.as_str(self.goal)
    }
}
