//! The plan that a failed apply returns to.

use super::comparison::{Comparison, RunningServices};
use service_api::{Code, Problem};
use service_core::change::RunningDefinitions;
use service_core::config::{Config, Origin, Service};
use service_core::{Name, Plan};
use service_store::fingerprint;
use std::sync::Arc;

/// The definitions before an apply: of the previously running services and of the inactive ones, in the order of the
/// file. Definitions that other requests have changed since are kept, because a rollback does not undo them.
pub(super) fn last_good(before: &Comparison, now: &RunningServices) -> Result<Plan, Problem> {
    let of_file = |service: &&Arc<Service>| service.origin == Origin::File;
    let defined = before.plan.ids().map(|id| before.plan.service(id));
    let last = |service: &Arc<Service>| match before.present.get(&service.name) {
        Some(ran) => Service::clone(ran),
        None => Service::clone(service),
    };
    let mut all: Vec<Service> = defined.filter(of_file).map(last).collect();
    let gone = before.present.values().filter(of_file);
    all.extend(gone.filter(|ran| before.plan.id(&ran.name).is_none()).map(|ran| Service::clone(ran)));
    // A service that the new file removed may have been added again since.
    let is_added =
        |name: &Name| now.plan.id(name).is_some_and(|id| now.plan.service(id).origin != Origin::File);
    all.retain(|service| !is_added(&service.name));
    let planned = before.requests.count();
    let stays = |service: &&Arc<Service>| {
        let name = &service.name;
        let is_wanted = now.requests.has_since(name, planned) && now.present.contains_key(name);
        service.origin != Origin::File || (is_wanted && before.plan.id(name).is_none())
    };
    all.extend(
        now.plan.ids().map(|id| now.plan.service(id)).filter(stays).map(|service| Service::clone(service)),
    );
    let settings = || before.plan.settings().clone();
    let compile = |services| {
        Plan::compile(Config { settings: settings(), services: drop_missing_dependencies(services) })
    };
    if let Some((name, _)) = before.present.iter().find(|(_, service)| fingerprint::is_incomplete(service)) {
        let message = format!("cannot roll back: only a former daemon knew the environment of `{name}`");
        return Err(Problem::new(Code::BadDefinition, message).help("the new definitions stay in force"));
    }
    // Definitions from different times may be inconsistent. The previously running ones are consistent.
    compile(all).or_else(|_| compile(runs(&before.present).collect())).map_err(|errors| {
        let message = format!("cannot roll back: {}", errors[0]);
        Problem::new(Code::BadDefinition, message).help("the new definitions stay in force")
    })
}

fn runs(present: &RunningDefinitions) -> impl Iterator<Item = Service> {
    present.values().map(|service| Arc::unwrap_or_clone(Arc::clone(service)))
}

/// Removes dependencies on services outside this list.
fn drop_missing_dependencies(mut services: Vec<Service>) -> Vec<Service> {
    let names: Vec<Name> = services.iter().map(|service| service.name.clone()).collect();
    for service in &mut services {
        service.dependencies.retain(|need| names.contains(&need.name));
    }
    services
}
