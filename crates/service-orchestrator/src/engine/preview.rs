//! Determines the services that a restart would start, before it stops any.

use super::task::Engine;
use crate::request::{Propagate, Request};
use service_core::{Id, Plan};
use std::sync::Arc;

impl Engine {
    /// The services that a restart would start; none if it would stop none. Errors of the request itself are reported
    /// when it is accepted.
    pub(super) fn preview_restart(&self, request: &Request) -> (Arc<Plan>, Vec<Id>) {
        let plan = self.fleet.plan();
        let mut ids = self.meant(request).unwrap_or_default();
        if !plan.settings().manager_enabled {
            ids.clear();
        }
        if request.all && !request.oneshots {
            ids.retain(|id| !self.fleet.is_done(*id));
        }
        let (again, wanted) = self.fleet.restarted(&ids, request.relatives.unwrap_or(Propagate::Yes));
        let takes_down = again.iter().any(|id| self.fleet.machine(*id).state().is_alive());
        (Arc::clone(plan), if takes_down { wanted } else { Vec::new() })
    }
}
