//! The engine's writes to the journal, and its subscriptions.

use super::task::Engine;
use crate::lookup::not_found;
use service_api::Problem;
use service_core::{Id, Plan};
use service_host::clock;
use service_store::journal::{ObservedState, Subscription};

impl Engine {
    /// Records the state of a service, with the reason that its status shows.
    pub(super) fn record(&mut self, id: Id) {
        let entry = &self.services[id.index()].snapshot;
        let plan = self.fleet.plan();
        let need = self.fleet.unmet_dependency(id).map(|need| &*plan.service(need.on).name);
        let observed = ObservedState::new(&entry.snapshot, entry.ending(), entry.reason(), need);
        self.journal.observe(&plan.service(id).name, observed);
    }

    /// Records the defined services.
    pub(super) fn record_definitions(&mut self) {
        let plan = self.fleet.plan();
        let orphaned = plan.ids().filter(|id| self.is_orphaned(*id));
        let orphaned = orphaned.map(|id| plan.service(id).name.clone()).collect();
        self.journal.defined(plan.ids().map(|id| &plan.service(id).name), &orphaned, self.by.as_deref());
    }

    /// Records the services that another plan changes.
    pub(super) fn record_changes(&mut self, next: &Plan) {
        let (plan, services) = (self.fleet.plan(), &self.services);
        let defined = plan.ids().filter(|id| !services[id.index()].is_orphaned());
        for service in defined.map(|id| plan.service(id)) {
            if next.id(&service.name).is_some_and(|id| next.service(id) != service) {
                self.journal.changed(&service.name, self.by.as_deref());
            }
        }
    }

    /// Subscribes a reader to events of these services.
    pub(super) fn read(&mut self, names: &[String]) -> Result<Subscription, Problem> {
        let plan = self.fleet.plan();
        match names.iter().find(|name| plan.id(name).is_none() && !self.journal.has_service(name)) {
            Some(unknown) => Err(not_found(plan, unknown)),
            None => Ok(self.journal.subscribe(clock::now())),
        }
    }
}
