//! [`Snapshot`]: the state of one service, as users see it.

use crate::health::Health;
use crate::plan::{DependencyEdge, Id};
use crate::service::{Cause, Exit, Failure, Goal, RequestOrigin, StartedBy, State};
use crate::time::Moment;
use alloc::string::String;
use alloc::sync::Arc;

/// One service at this moment. The daemon adds facts about the machine (pid, memory, wall clock).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The service.
    pub id: Id,
    /// The goal.
    pub goal: Goal,
    /// The state.
    pub state: State,
    /// The health.
    pub health: Health,
    /// The coarse status.
    pub status: Status,
    /// Number of the last run.
    pub run: u64,
    /// When the process of this run was launched, while it exists.
    pub launched: Option<Moment>,
    /// The origin of that run.
    pub starter: StartedBy,
    /// The exit status of the last run; during a run, of the previous run. `None` if that run never began.
    pub last_exit: Option<Exit>,
    /// The number of the run with this exit status.
    pub exit_run: Option<u64>,
    /// The number of restarts by the policy since the last request.
    pub restarts: u32,
    /// The reason of the state, if it is not evident from the state.
    pub reason: Option<String>,
    /// The awaited dependency, if the goal is up and the service cannot start yet.
    pub waits_for: Option<DependencyEdge>,
    /// The origin of the goal.
    pub asked: Option<Arc<RequestOrigin>>,
    /// Why the orchestrator ended the last run; `None` if the run ended by itself.
    pub ended: Option<Arc<str>>,
    /// When the last run was launched, ended or not.
    pub began: Option<Moment>,
}

/// The guide's coarse status of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// The service has a process, or its manager reports it running.
    Running,
    /// The service has no process, as intended.
    Stopped,
    /// The service has no process, because of a failure.
    Failed,
    /// The status is unknown.
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
    /// The cause of the state; `None` if the service changed by itself.
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
                self.asked.as_ref().map(|asked| &*asked.requester.by)
            }
            State::Ready { .. } | State::Completed { .. } | State::Unknown { .. } => None,
        }
    }

    /// The name of the state.
    pub fn state_word(&self) -> &'static str {
        self.state.as_str(self.goal)
    }
}
