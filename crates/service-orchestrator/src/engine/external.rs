//! The owner's part in what others start: it becomes a run that is known like any other.

use super::task::Engine;
use service_core::Name;
use service_core::service::{Event, Presence, StartedBy};
use service_host::report::ManagerReport;
use service_host::report::Observation;
use service_manager as manager;
use std::sync::Arc;

impl Engine {
    /// Takes in whether a service runs that was at rest here since this run. What was reported of it belongs to the run that
    /// begins with that.
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
        // By which definition others did so nobody knows; most likely by that of the last start.
        let last = Arc::clone(self.services[id.index()].last_definition().unwrap_or(&definition));
        self.keep(id, &last, run);
        self.refresh(id);
        self.apply_observation(name, run, Observation::Manager(reported.info));
        if manager::decides(&definition) {
            self.apply_observation(name, run, Observation::Checked(reported.check));
            self.handle_event(name, run, reported.event);
        }
    }
}
