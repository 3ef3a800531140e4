//! Orphaned services: they run and are no longer defined. The plan contains them until they have stopped.

use service_core::config::{Command, Config, Restart, Service};
use service_core::{Name, Plan};
use std::collections::BTreeSet;

/// Adds orphaned services to the plan. Orphaned services can only be displayed and stopped.
pub(super) fn with_orphaned(plan: Plan, names: &BTreeSet<Name>) -> Plan {
    let orphaned = |name: Name| {
        let mut service = Service::new(name);
        service.description = "no longer defined; removed when it is stopped".to_owned();
        service.restart = Restart::No;
        service.start_command = Command { text: "true".to_owned(), argv: vec!["true".to_owned()] };
        service
    };
    if names.is_empty() {
        return plan;
    }
    let defined = plan.ids().map(|id| Service::clone(plan.service(id)));
    let services = defined.chain(names.iter().cloned().map(orphaned)).collect();
    Plan::compile(Config { settings: plan.settings().clone(), services })
        .expect("services without dependencies, with names that are not in the plan, cannot make it invalid")
}
