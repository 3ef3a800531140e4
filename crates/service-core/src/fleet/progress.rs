//! How far a wish has come: is it done, may it still be, can it never be?

use super::Fleet;
use crate::health::Health;
use crate::plan::Id;
use crate::service::{Cause, Failure, Goal, State};
use alloc::collections::BTreeSet;

/// How far a wish has come for one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Not there yet.
    Pending,
    /// As wished.
    Done,
    /// It will not come to that, unless somebody wishes anew.
    Never(Obstacle),
}

/// Why a wish comes to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// The service itself has failed.
    Failed,
    /// This dependency has failed, or ended, or is not wanted.
    Dependency(Id),
    /// Somebody wished the opposite.
    Countermanded,
    /// Its policy starts it again whenever it ends.
    Endless,
}

impl Fleet {
    /// How far the wish for up has come.
    pub fn start_progress(&self, id: Id) -> Progress {
        let machine = self.machine(id);
        match (machine.state(), machine.goal()) {
            (State::Completed { exit, .. }, _) if machine.definition().oneshot && exit.is_success() => {
                Progress::Done
            }
            (State::Failed { .. } | State::Completed { .. }, _) => Progress::Never(Obstacle::Failed),
            (State::Ready { .. }, Goal::Down) if machine.is_left_alone() => Progress::Done,
            (_, Goal::Down) => Progress::Never(Obstacle::Countermanded),
            (state, Goal::Up) if timed_out(state) => Progress::Never(Obstacle::Failed),
            (State::Ready { .. }, Goal::Up) => Progress::Done,
            (State::Stopped, Goal::Up) => {
                self.dead_end(id).map_or(Progress::Pending, |id| Progress::Never(Obstacle::Dependency(id)))
            }
            _ => Progress::Pending,
        }
    }

    /// How far a service has come whose endpoint is asked in another way since its definition was changed: whether it is
    /// healthy by that.
    pub fn update_progress(&self, id: Id) -> Progress {
        let machine = self.machine(id);
        match (machine.state(), machine.health()) {
            (State::Ready { .. }, Health::Pending) => Progress::Pending,
            (State::Ready { .. }, Health::Unhealthy)
            | (State::Stopping { cause: Cause::Failure(_), .. } | State::Backoff { .. }, _) => {
                Progress::Never(Obstacle::Failed)
            }
            _ => self.start_progress(id),
        }
    }

    /// How far the wish for down has come.
    pub fn stop_progress(&self, id: Id) -> Progress {
        let machine = self.machine(id);
        match machine.goal() {
            Goal::Down if machine.state().is_alive() => Progress::Pending,
            Goal::Down => Progress::Done,
            Goal::Up | Goal::Again => Progress::Never(Obstacle::Countermanded),
        }
    }

    /// Whether this service may be one that others wait for in vain.
    pub fn may_be_dead_end(&self, id: Id) -> bool {
        let machine = self.machine(id);
        match machine.state() {
            State::Failed { .. }
            | State::Completed { .. }
            | State::Stopping { .. }
            | State::Backoff { .. } => true,
            State::Stopped => machine.goal() == Goal::Down,
            State::Launching { .. } | State::Starting { .. } | State::Ready { .. } => false,
        }
    }

    /// The service, somewhere below a waiting one, that will not satisfy it unless somebody does something.
    pub fn dead_end(&self, id: Id) -> Option<Id> {
        let mut seen = BTreeSet::from([id]);
        let mut open = alloc::vec![id];
        while let Some(waiting) = open.pop() {
            for need in self.plan.needs(waiting).iter().filter(|need| !self.is_satisfied(**need)) {
                let machine = self.machine(need.on);
                match (machine.state(), machine.goal()) {
                    (State::Failed { .. } | State::Completed { .. }, _) | (State::Stopped, Goal::Down) => {
                        return Some(need.on);
                    }
                    (state, Goal::Up) if timed_out(state) => return Some(need.on),
                    (State::Stopped, _) if seen.insert(need.on) => open.push(need.on),
                    _ => {}
                }
            }
        }
        None
    }
}

/// A start that took too long is an answer to whoever waits for it, although the policy tries again: a crash shows
/// within seconds whether it was the last, a start that hangs may hang each time.
fn timed_out(state: &State) -> bool {
    matches!(
        state,
        State::Stopping { cause: Cause::Failure(Failure::StartTimeout), .. }
            | State::Backoff { failure: Failure::StartTimeout, .. }
    )
}
