//! Adds and removes single definitions.

use super::task::Engine;
use service_api::{Code, Problem};
use service_core::config::{Config, Origin, Service};
use service_core::service::{Goal, State};
use service_core::{Id, Name, Plan};
use std::collections::BTreeSet;

impl Engine {
    /// Defines the services in `added`. A defined service replaces a service of the same name. Removes the services in
    /// `removed` that are in no file and inactive. Returns the removed services.
    pub(super) async fn redefine(
        &mut self,
        added: Vec<Service>,
        mut removed: Vec<Name>,
    ) -> Result<Vec<Name>, Problem> {
        let old = self.fleet.plan();
        removed.retain(|name| self.can_remove(name));
        let replaced: BTreeSet<&Name> = removed.iter().chain(added.iter().map(|fresh| &fresh.name)).collect();
        let goes = |id: Id, service: &Service| self.is_orphaned(id) || replaced.contains(&service.name);
        let stay = old.ids().map(|id| (id, old.service(id))).filter(|(id, service)| !goes(*id, service));
        let mut services: Vec<Service> = stay.map(|(_, service)| Service::clone(service)).collect();
        services.extend(added);
        let config = Config { settings: old.settings().clone(), services };
        // Compiling thousands of services takes long.
        let compile = tokio::task::spawn_blocking(|| Plan::compile(config));
        let compiled = self.slice.release_while(compile).await;
        let compiled = compiled.map_err(|error| {
            Problem::new(Code::Internal, format!("cannot put the services in order: {error}"))
        })?;
        let plan = compiled.map_err(|errors| {
            let error = &errors[0];
            let mut problem = Problem::new(Code::BadDefinition, error.to_string());
            problem.help = error.help();
            problem
        })?;
        self.replan(plan).await;
        Ok(removed)
    }

    /// A service that no longer exists counts as removable.
    fn can_remove(&self, name: &Name) -> bool {
        let Some(id) = self.fleet.plan().id(name) else { return true };
        let machine = self.fleet.machine(id);
        let is_over = match machine.state() {
            State::Failed { .. } | State::Completed { .. } => true,
            State::Stopped | State::Backoff { .. } => machine.goal() == Goal::Down,
            _ => false,
        };
        self.fleet.plan().service(id).origin != Origin::File && is_over
    }

    /// Whether a request for all services includes this one. Transient services are not run again.
    pub(super) fn may_be_meant(&self, id: Id) -> bool {
        let is_over = self.fleet.plan().service(id).origin == Origin::Transient
            && !self.fleet.machine(id).state().is_alive();
        !self.is_orphaned(id) && !is_over
    }
}
