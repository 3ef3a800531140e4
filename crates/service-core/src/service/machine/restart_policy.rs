//! The state after a run: the goal and the restart policy decide whether the service starts again.

use super::Machine;
use crate::config::Restart;
use crate::service::event::Effect;
use crate::service::restart::RestartDecision;
use crate::service::state::{Cause, Failure, Goal, State};
use crate::time::Moment;
use alloc::vec::Vec;

impl Machine {
    /// Enters the state after a run whose processes have all ended. `was_ready` is the time when the run became ready.
    pub(super) fn rest_after(
        &mut self,
        cause: &Cause,
        was_ready: Option<Moment>,
        now: Moment,
        jitter: u32,
    ) -> Vec<Effect> {
        self.schedule_presence_check(now.plus(self.definition.health.interval));
        self.memory.ended = self.ended(cause);
        self.memory.state = match (self.memory.goal, cause) {
            (Goal::Down | Goal::Restart, _) | (Goal::Up, Cause::Requested) => State::Stopped,
            (Goal::Up, Cause::Failure(failure)) => {
                self.after_failure(failure.clone(), was_ready, now, jitter)
            }
        };
        if self.memory.goal == Goal::Restart {
            self.memory.goal = Goal::Up;
        }
        Vec::new()
    }

    /// Applies the restart policy to a failure.
    fn after_failure(&mut self, failure: Failure, ready: Option<Moment>, now: Moment, jitter: u32) -> State {
        let one_shot = self.definition.oneshot;
        match (&failure, self.definition.restart) {
            (Failure::Exited(exit), policy)
                if exit.is_success() && (one_shot || matches!(policy, Restart::No | Restart::OnFailure)) =>
            {
                State::Completed { at: now, exit: *exit }
            }
            (_, Restart::No) => State::Failed { at: now, failure, attempts: 1 },
            // After a request, a failed launch is a failure at once. After a restart by the policy, the policy retries,
            // because the obstacle may be temporary.
            (Failure::LaunchFailed(_), _) if self.memory.restarts == 0 => {
                State::Failed { at: now, failure, attempts: 1 }
            }
            (_, Restart::OnFailure | Restart::Always | Restart::UnlessStopped) => {
                self.retry(failure, ready, now, jitter)
            }
        }
    }

    fn retry(&mut self, failure: Failure, was_ready: Option<Moment>, now: Moment, jitter: u32) -> State {
        match self.memory.backoff.crashed(&self.definition.backoff, was_ready, now, jitter) {
            RestartDecision::Retry(pause) => {
                self.memory.restarts = self.memory.restarts.saturating_add(1);
                // A run that was never ready is in backoff for a moment even without a delay, so that its failure is
                // reported.
                if pause.is_zero() && was_ready.is_some() {
                    State::Stopped
                } else {
                    State::Backoff { until: now.plus(pause), failure }
                }
            }
            RestartDecision::GiveUp { attempts } => State::Failed { at: now, failure, attempts },
        }
    }
}
