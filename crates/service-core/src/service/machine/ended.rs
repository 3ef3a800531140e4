//! The origin of a service's goal, and the reason why the orchestrator ended a run.

use super::Machine;
use crate::service::request_origin::RequestOrigin;
use crate::service::state::{Cause, Failure, Goal, State};
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;

impl Machine {
    /// Records the origin of the following goal. A request for the present goal changes nothing.
    pub fn asked(&mut self, goal: Goal, asked: RequestOrigin) {
        let memory = &self.memory;
        let is_news = match goal {
            Goal::Restart => true,
            Goal::Up => {
                memory.goal == Goal::Down
                    || !matches!(memory.state, State::Stopped) && memory.state.is_inactive()
            }
            Goal::Down => memory.goal != Goal::Down || memory.state.is_active(),
        };
        if is_news || memory.asked.is_none() {
            self.memory.asked = Some(Arc::new(asked));
        }
    }

    /// The description of a failure, with the numbers of this service.
    pub fn describe(&self, failure: &Failure) -> String {
        match (failure, self.definition.start_timeout()) {
            (Failure::StartTimeout, Some(limit)) => format!("was not ready within {limit:?}"),
            _ => format!("{failure}"),
        }
    }

    /// Why the orchestrator ends the present run; `None` if the run has ended by itself.
    pub(super) fn ended(&self, cause: &Cause) -> Option<Arc<str>> {
        let why = match cause {
            Cause::Requested => {
                let done = if self.memory.goal == Goal::Down { "stopped" } else { "restarted" };
                self.memory
                    .asked
                    .as_ref()
                    .map_or_else(|| format!("{done} on request"), |asked| asked.describe(done))
            }
            Cause::Failure(failure @ (Failure::StartTimeout | Failure::Unhealthy)) => {
                format!("ended by the orchestrator, because it {}", self.describe(failure))
            }
            Cause::Failure(Failure::Exited(_) | Failure::LaunchFailed(_)) => return None,
        };
        let killed = matches!(self.memory.state, State::Stopping { kills: 1.., .. });
        let limit = self.definition.stop_timeout;
        Some(if killed {
            format!("{why}; killed after {limit:?}, because it had not ended").into()
        } else {
            why.into()
        })
    }
}
