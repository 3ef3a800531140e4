//! The owner's part in a changed file: what runs, and definitions that change under way.

use super::apply::last_good;
use super::ran;
use super::task::Task;
use super::wishes::Wishes;
use service_api::{Code, Problem};
use service_core::change::{Change, Present, compare};
use service_core::config::Origin;
use service_core::service::Goal;
use service_core::{Id, Moment, Name, Plan};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What runs, and what another plan would change about it.
pub(crate) struct Comparison {
    pub(crate) changes: Vec<Change>,
    /// What is up or meant to be, by its last definition.
    pub(crate) present: Present,
    /// The plan of now.
    pub(crate) plan: Arc<Plan>,
    /// What was wished so far, but by an apply.
    pub(crate) wishes: Wishes,
    /// Of which nobody can tell whether they run, and why.
    pub(crate) unclear: BTreeMap<Name, String>,
}

/// What runs, as far as another plan may change something about it.
pub(crate) struct Presence {
    pub(super) present: Present,
    /// The services that are no news.
    known: BTreeSet<Name>,
    /// The one-shots that have done their work.
    done: BTreeSet<Name>,
    pub(super) plan: Arc<Plan>,
    pub(super) wishes: Wishes,
    unclear: BTreeMap<Name, String>,
}

impl Presence {
    /// As [`Self::compare`], where nobody is kept waiting by it.
    pub(super) async fn compared(self, next: Plan) -> Result<Comparison, Problem> {
        let compared = tokio::task::spawn_blocking(move || self.compare(&next)).await;
        compared.map_err(|error| Problem::new(Code::Internal, format!("cannot compare the plans: {error}")))
    }

    /// What another plan would change. Where many are needed by many it takes a while, which the owner has not.
    fn compare(self, next: &Plan) -> Comparison {
        let Self { present, known, done, plan, wishes, unclear } = self;
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
        Comparison { changes, present, plan, wishes, unclear }
    }
}

impl Task {
    pub(super) fn presence(&self) -> Presence {
        let plan = self.fleet.plan();
        let is_present = |id: &Id| {
            let machine = self.fleet.machine(*id);
            let is_left_over = || self.left_over.contains(&machine.definition().name);
            machine.goal() != Goal::Down || (machine.state().is_alive() && is_left_over())
        };
        let definition = |id: Id| {
            let machine = self.fleet.machine(id);
            let name = machine.definition().name.clone();
            let last = self.ran.get(&name).unwrap_or(machine.definition());
            (name, Arc::clone(last))
        };
        let done = plan.ids().filter(|id| self.fleet.is_done(*id));
        let unclear = |id: Id| {
            let machine = self.fleet.machine(id);
            Some((machine.definition().name.clone(), machine.state().unknown_because()?.to_owned()))
        };
        Presence {
            present: plan.ids().filter(is_present).map(definition).collect(),
            known: self.known.clone(),
            done: done.map(|id| plan.service(id).name.clone()).collect(),
            plan: Arc::clone(plan),
            wishes: self.wishes.clone(),
            unclear: plan.ids().filter_map(unclear).collect(),
        }
    }

    /// Changes to the definitions that ran before an apply, with what is defined and wanted at this moment; tells what ran until
    /// now, and the plan.
    pub(super) async fn go_back(&mut self, before: &Comparison) -> Result<(Presence, Plan), Problem> {
        let presence = self.presence();
        let plan = last_good(before, &presence)?;
        self.replan(plan.clone()).await;
        Ok((presence, plan))
    }

    /// Lets services go on under their new definitions; tells which.
    pub(super) fn update(&mut self, ids: &[Id], now: Moment) -> Vec<Id> {
        self.fleet.update(ids, now);
        for id in ids {
            let definition = Arc::clone(self.fleet.plan().service(*id));
            self.keep(&definition, self.fleet.machine(*id).run());
        }
        ids.to_vec()
    }

    /// From now on all that is defined is no news.
    pub(super) fn applied(&mut self) {
        let plan = self.fleet.plan();
        let names: BTreeSet<Name> = plan.ids().map(|id| plan.service(id).name.clone()).collect();
        ran::know(&self.world.paths, &names);
        self.known = names;
    }
}
