//! The engine's part of an apply: the running services, and changes of their definitions.

use super::comparison::{Comparison, RunningServices};
use super::last_good::last_good;
use super::task::Engine;
use service_api::Problem;
use service_core::service::Goal;
use service_core::{Id, Moment, Name, Plan};
use service_store::applied_names;
use std::collections::BTreeSet;
use std::sync::Arc;

impl Engine {
    pub(super) fn presence(&self) -> RunningServices {
        let plan = self.fleet.plan();
        let is_present = |id: &Id| {
            let machine = self.fleet.machine(*id);
            let is_left_over = || self.is_orphaned(*id);
            machine.goal() != Goal::Down || (machine.state().is_alive() && is_left_over())
        };
        let definition = |id: Id| {
            let machine = self.fleet.machine(id);
            let name = machine.definition().name.clone();
            let last = self.services[id.index()].last_definition().unwrap_or(machine.definition());
            (name, Arc::clone(last))
        };
        let done = plan.ids().filter(|id| self.fleet.is_done(*id));
        let unclear = |id: Id| {
            let machine = self.fleet.machine(id);
            Some((machine.definition().name.clone(), machine.state().unknown_because()?.to_owned()))
        };
        RunningServices {
            present: plan.ids().filter(is_present).map(definition).collect(),
            known: self.applied.clone(),
            done: done.map(|id| plan.service(id).name.clone()).collect(),
            plan: Arc::clone(plan),
            requests: self.requests.clone(),
            unclear: plan.ids().filter_map(unclear).collect(),
        }
    }

    /// Restores the definitions before an apply, with the present added services and goals. Returns the running
    /// services and the plan.
    pub(super) async fn roll_back(
        &mut self,
        before: &Comparison,
    ) -> Result<(RunningServices, Plan), Problem> {
        let presence = self.presence();
        let plan = last_good(before, &presence)?;
        self.replan(plan.clone()).await;
        Ok((presence, plan))
    }

    /// Updates services to their new definitions without a restart. Returns these services.
    pub(super) fn update(&mut self, ids: &[Id], now: Moment) -> Vec<Id> {
        self.fleet.update(ids, now);
        let run = |id: &Id| (*id, Arc::clone(self.fleet.plan().service(*id)), self.fleet.machine(*id).run());
        // An error is logged. The runs go on.
        let _ = self.save_definitions(ids.iter().map(run).collect());
        ids.to_vec()
    }

    /// Marks all present definitions as applied.
    pub(super) fn applied(&mut self) {
        let plan = self.fleet.plan();
        let names: BTreeSet<Name> = plan.ids().map(|id| plan.service(id).name.clone()).collect();
        applied_names::save(&self.drivers.paths, &names);
        self.applied = names;
    }
}
