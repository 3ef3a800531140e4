//! [`Comparison`]: the running services, and the changes that another plan would make.

use super::request_log::RequestLog;
use service_api::{Code, Problem};
use service_core::change::{Change, RunningDefinitions, compare};
use service_core::config::Origin;
use service_core::{Name, Plan};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The running services, and the changes that another plan would make.
pub(crate) struct Comparison {
    pub(crate) changes: Vec<Change>,
    /// The last definitions of services that run or should run.
    pub(crate) present: RunningDefinitions,
    /// The present plan.
    pub(crate) plan: Arc<Plan>,
    /// The requests so far, without requests of an apply.
    pub(crate) requests: RequestLog,
    /// The services in an unknown state, with the reason.
    pub(crate) unclear: BTreeMap<Name, String>,
}

/// The running services that another plan may change.
pub(crate) struct RunningServices {
    pub(crate) present: RunningDefinitions,
    /// The services in the last applied file.
    pub(super) known: BTreeSet<Name>,
    /// The completed one-shots.
    pub(super) done: BTreeSet<Name>,
    pub(crate) plan: Arc<Plan>,
    pub(crate) requests: RequestLog,
    pub(super) unclear: BTreeMap<Name, String>,
}

impl RunningServices {
    /// Calls [`Self::compare`] on another thread.
    pub(crate) async fn compared(self, next: Plan) -> Result<Comparison, Problem> {
        let compared = tokio::task::spawn_blocking(move || self.compare(&next)).await;
        compared.map_err(|error| Problem::new(Code::Internal, format!("cannot compare the plans: {error}")))
    }

    /// Computes the changes. With many dependencies, this takes longer than the engine may be blocked.
    fn compare(self, next: &Plan) -> Comparison {
        let Self { present, known, done, plan, requests, unclear } = self;
        // An added service is not in the file, so a changed file does not affect it.
        let follows = |change: &Change| match next.id(&change.name) {
            Some(id) => next.service(id).origin == Origin::File,
            None => present.get(&change.name).is_none_or(|last| last.origin == Origin::File),
        };
        let mut changes = compare(&present, &known, next);
        changes.retain(follows);
        for change in &mut changes {
            change.affects.retain(|name| !done.contains(name));
        }
        Comparison { changes, present, plan, requests, unclear }
    }
}

/// Whether an apply starts this new service, instead of only defining it.
pub(crate) fn starts(change: &Change, all: bool) -> bool {
    change.needed || all
}
