//! [`Comparison`]: what runs, and what another plan would change about it.

use super::request_log::RequestLog;
use service_api::{Code, Problem};
use service_core::change::{Change, RunningDefinitions, compare};
use service_core::config::Origin;
use service_core::{Name, Plan};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What runs, and what another plan would change about it.
pub(crate) struct Comparison {
    pub(crate) changes: Vec<Change>,
    /// What is up or meant to be, by its last definition.
    pub(crate) present: RunningDefinitions,
    /// The plan of now.
    pub(crate) plan: Arc<Plan>,
    /// What was wished so far, but by an apply.
    pub(crate) requests: RequestLog,
    /// Of which nobody can tell whether they run, and why.
    pub(crate) unclear: BTreeMap<Name, String>,
}

/// What runs, as far as another plan may change something about it.
pub(crate) struct Presence {
    pub(crate) present: RunningDefinitions,
    /// The services that are no news.
    pub(super) known: BTreeSet<Name>,
    /// The one-shots that have done their work.
    pub(super) done: BTreeSet<Name>,
    pub(crate) plan: Arc<Plan>,
    pub(crate) requests: RequestLog,
    pub(super) unclear: BTreeMap<Name, String>,
}

impl Presence {
    /// As [`Self::compare`], where nobody is kept waiting by it.
    pub(crate) async fn compared(self, next: Plan) -> Result<Comparison, Problem> {
        let compared = tokio::task::spawn_blocking(move || self.compare(&next)).await;
        compared.map_err(|error| Problem::new(Code::Internal, format!("cannot compare the plans: {error}")))
    }

    /// What another plan would change. Where many are needed by many it takes a while, which the owner has not.
    fn compare(self, next: &Plan) -> Comparison {
        let Self { present, known, done, plan, requests, unclear } = self;
        // What was added follows no file, so a changed one asks nothing of it.
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

/// Whether what is new is started, and not only defined.
pub(crate) fn starts(change: &Change, all: bool) -> bool {
    change.needed || all
}
