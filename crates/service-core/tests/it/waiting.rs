//! Waiters of requests, evaluated like in the daemon: only when a concerned service has changed.

use service_core::fleet::{Fleet, Progress};
use service_core::service::Goal;
use service_core::{Id, Name};

/// Unanswered requests, each for one service.
#[derive(Default)]
pub(crate) struct Waiting(Vec<(Name, Goal)>);

impl Waiting {
    /// Adds a request for these services.
    pub(crate) fn add(&mut self, fleet: &Fleet, goal: Goal, about: &[Id]) {
        self.0.extend(about.iter().map(|id| (fleet.plan().service(*id).name.clone(), goal)));
    }

    /// The services with unanswered requests.
    pub(crate) fn services(&self, fleet: &Fleet) -> Vec<Id> {
        self.0.iter().filter_map(|(name, _)| fleet.plan().id(name)).collect()
    }

    /// Invariant: every request is answered as soon as its result is known.
    pub(crate) fn answer(&mut self, fleet: &mut Fleet) {
        let changed = fleet.take_changed();
        let concerned = fleet.concerned(&changed);
        let is_open = |id: Id, goal: Goal| {
            let progress =
                if goal == Goal::Down { fleet.stop_progress(id) } else { fleet.start_progress(id) };
            progress == Progress::Pending
        };
        self.0.retain(|(name, goal)| {
            let Some(id) = fleet.plan().id(name) else { return false };
            let looked_at = concerned.contains(&id);
            assert!(looked_at || is_open(id, *goal), "a request for {name} to be {goal:?} is never answered");
            is_open(id, *goal)
        });
    }
}
