//! The progress of a request: done, pending, or impossible.

use super::Fleet;
use crate::fleet::wait::{Blocker, Progress};
use crate::health::Health;
use crate::plan::Id;
use crate::service::{Cause, Failure, Goal, State};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::cell::RefCell;
use hashbrown::HashMap;

impl Fleet {
    /// Queries about many services, which share intermediate results.
    pub fn prospects(&self) -> Prospects<'_> {
        Prospects { fleet: self, ends: Default::default() }
    }

    /// The progress of a start. A crash counts as failure, even if the restart policy starts the service again.
    pub fn start_progress(&self, id: Id) -> Progress {
        self.prospects().start(id)
    }

    /// The progress of an update that changes the health check of a service. The update is done when the service is
    /// healthy by the new check.
    pub fn update_progress(&self, id: Id) -> Progress {
        let machine = self.machine(id);
        match (machine.state(), machine.health()) {
            (State::Ready { .. }, Health::Pending) => Progress::Pending,
            (State::Ready { .. }, Health::Unhealthy)
            | (State::Stopping { cause: Cause::Failure(_), .. } | State::Backoff { .. }, _) => {
                Progress::Impossible(Blocker::Failed)
            }
            _ => self.start_progress(id),
        }
    }

    /// The progress of a stop.
    pub fn stop_progress(&self, id: Id) -> Progress {
        let machine = self.machine(id);
        match machine.goal() {
            _ if machine.state().unknown_because().is_some() => Progress::Impossible(Blocker::Unclear),
            Goal::Down if machine.state().is_alive() => Progress::Pending,
            Goal::Down => Progress::Done,
            Goal::Up | Goal::Restart => Progress::Impossible(Blocker::Superseded),
        }
    }

    /// Whether this service may block its dependents until another request.
    pub fn may_be_dead_end(&self, id: Id) -> bool {
        let machine = self.machine(id);
        match machine.state() {
            State::Failed { .. }
            | State::Completed { .. }
            | State::Stopping { .. }
            | State::Backoff { .. }
            | State::Unknown { .. } => true,
            State::Stopped => machine.goal() == Goal::Down,
            State::Launching { .. } | State::Starting { .. } | State::Ready { .. } => false,
        }
    }

    /// The services whose progress depends on the changed services: the changed services, and all services that wait
    /// directly or indirectly for a changed service that has ended.
    pub fn concerned(&self, changed: &[Id]) -> BTreeSet<Id> {
        let mut hindered = BTreeSet::new();
        let mut open: Vec<Id> = changed.iter().copied().filter(|id| self.may_be_dead_end(*id)).collect();
        while let Some(end) = open.pop() {
            for id in self.plan.dependents(end) {
                let waits = *self.machine(*id).state() == State::Stopped
                    && self
                        .plan
                        .dependencies(*id)
                        .iter()
                        .any(|need| need.on == end && !self.is_satisfied(*need));
                if waits && hindered.insert(*id) {
                    open.push(*id);
                }
            }
        }
        hindered.extend(changed);
        hindered
    }
}

/// The progress of many requests at one moment.
pub struct Prospects<'f> {
    pub(super) fleet: &'f Fleet,
    /// Intermediate results for each [`Crash`]: the dependency that blocks a waiting service until another request.
    ends: [RefCell<HashMap<Id, Option<Id>>>; 2],
}

impl<'f> Prospects<'f> {
    /// The evaluated fleet.
    pub fn fleet(&self) -> &'f Fleet {
        self.fleet
    }
}

impl Prospects<'_> {
    /// The progress of a start.
    pub fn start(&self, id: Id) -> Progress {
        self.up(id, Crash::Answers)
    }

    /// The progress towards ready.
    pub(super) fn up(&self, id: Id, crash: Crash) -> Progress {
        let machine = self.fleet.machine(id);
        match (machine.state(), machine.goal()) {
            (State::Completed { exit, .. }, _) if machine.definition().oneshot && exit.is_success() => {
                Progress::Done
            }
            (State::Failed { .. } | State::Completed { .. }, _) => Progress::Impossible(Blocker::Failed),
            (State::Unknown { .. }, _) if crash == Crash::Answers => Progress::Impossible(Blocker::Unclear),
            (State::Unknown { .. }, _) => Progress::Pending,
            (State::Ready { .. }, Goal::Down) if machine.is_unmanaged() => Progress::Done,
            (_, Goal::Down) => Progress::Impossible(Blocker::Superseded),
            (state, Goal::Up) if is_answer(state, crash) => Progress::Impossible(Blocker::Failed),
            (State::Ready { .. }, Goal::Up) => Progress::Done,
            (State::Stopped, Goal::Up) => self.blocked_by(id, crash),
            _ => Progress::Pending,
        }
    }

    pub(super) fn blocked_by(&self, id: Id, crash: Crash) -> Progress {
        self.dead_end(id, crash).map_or(Progress::Pending, |id| Progress::Impossible(Blocker::Dependency(id)))
    }

    /// The direct or indirect dependency that blocks a waiting service until another request. Each service is evaluated
    /// only once.
    fn dead_end(&self, id: Id, crash: Crash) -> Option<Id> {
        let mut ends = self.ends[crash as usize].borrow_mut();
        let mut open = alloc::vec![id];
        while let Some(waiting) = open.last().copied() {
            if ends.contains_key(&waiting) {
                open.pop();
                continue;
            }
            let unsatisfied = || {
                self.fleet.plan.dependencies(waiting).iter().filter(|need| !self.fleet.is_satisfied(**need))
            };
            let mut found = unsatisfied().map(|need| need.on).find(|on| self.is_end(*on, crash));
            if found.is_none() {
                let below = || unsatisfied().filter(|need| self.waits(need.on)).map(|need| need.on);
                let before = open.len();
                open.extend(below().filter(|on| !ends.contains_key(on)));
                if open.len() > before {
                    continue;
                }
                found = below().find_map(|on| ends.get(&on).copied().flatten());
            }
            ends.insert(waiting, found);
        }
        ends.get(&id).copied().flatten()
    }

    fn is_end(&self, id: Id, crash: Crash) -> bool {
        let machine = self.fleet.machine(id);
        match (machine.state(), machine.goal()) {
            (State::Failed { .. } | State::Completed { .. }, _) | (State::Stopped, Goal::Down) => true,
            (State::Unknown { .. }, _) => crash == Crash::Answers,
            (state, Goal::Up) => is_answer(state, crash),
            _ => false,
        }
    }

    fn waits(&self, id: Id) -> bool {
        *self.fleet.machine(id).state() == State::Stopped
    }
}

/// Whether a crash that the restart policy handles ends a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Crash {
    /// The crash ends the wait of a start request.
    Answers,
    /// The crash does not end a wait for a state.
    Passes,
}

/// Whether this state ends a wait for the start, even if the policy retries. A start timeout always ends it, because
/// every retry may hang as well.
fn is_answer(state: &State, crash: Crash) -> bool {
    match state {
        // The result of a run with leftover processes is known only after their end, when the restart policy has
        // decided.
        State::Backoff { failure, .. } => crash == Crash::Answers || *failure == Failure::StartTimeout,
        State::Stopping { cause: Cause::Failure(failure), .. } => *failure == Failure::StartTimeout,
        _ => false,
    }
}
