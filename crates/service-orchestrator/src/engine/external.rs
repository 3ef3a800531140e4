//! Handles external starts. Each external start begins a new run.

use super::task::Engine;
use service_core::Name;
use service_core::service::{Event, Presence, StartedBy};
use service_host::report::ManagerReport;
use service_host::report::Observation;
use service_manager as manager;
use std::sync::Arc;

impl Engine {
    /// Handles the result of a presence check of an inactive service. If the service runs, a new run begins with this
    /// report.
    pub(super) fn handle_presence(&mut self, name: &Name, run: u64, found: Option<Box<ManagerReport>>) {
        let Some(reported) = found else {
            return self.handle_event(name, run, Event::PresenceChecked(Presence::Absent));
        };
        self.handle_event(name, run, Event::PresenceChecked(Presence::Running));
        let Some(id) = self.fleet.plan().id(name) else { return };
        let machine = self.fleet.machine(id);
        let run = run + 1;
        if machine.run() != run || machine.starter() != StartedBy::External {
            return;
        }
        let definition = Arc::clone(machine.definition());
        tracing::info!(service = %name, run, "was started outside the orchestrator");
        // The definition of an external run is unknown. The last definition is the most likely one.
        let last = Arc::clone(self.services[id.index()].last_definition().unwrap_or(&definition));
        // An error is logged. The run goes on.
        let _ = self.save_definitions(vec![(id, last, run)]);
        self.refresh(id);
        self.apply_observation(name, run, Observation::Manager(reported.info));
        if manager::decides(&definition) {
            self.apply_observation(name, run, Observation::Checked(reported.check));
            self.handle_event(name, run, reported.event);
        }
    }
}
