//! Details of a stop for the journal: a stop command that failed or had no effect, and a kill.

use super::task::Engine;
use crate::explain::short;
use service_core::service::{State, signal_name};
use service_core::{Id, Name};
use service_host::report::Observation;
use service_host::text::CommandFailure;
use std::sync::Arc;

/// The journal's value for a failed stop command.
const FAILED: &str = "failed";
/// The journal's value for a kill.
const KILLED: &str = "killed";

impl Engine {
    /// Whether this is the result of a check that the end of the run has interrupted. Such a result is not the
    /// service's.
    pub(super) fn is_cut_off(&self, name: &Name, what: &Observation) -> bool {
        let Some(id) = self.fleet.plan().id(name) else { return false };
        let state = self.fleet.machine(id).state();
        let may_check = state.is_active() || matches!(state, State::Unknown { .. });
        matches!(what, Observation::Checked(_)) && !may_check
    }

    /// Handles the end of the stop command. After a failure, the stop signal follows.
    pub(super) fn stop_command_ended(&mut self, id: Id, ended: Result<(), CommandFailure>) {
        let is_stopping = matches!(self.fleet.machine(id).state(), State::Stopping { .. });
        let entry = self.services[id.index()].edit();
        entry.stopped_by = Some(ended.is_ok());
        let Err(CommandFailure(message)) = ended else { return };
        let message = short(&message, &entry.definition.env);
        let signal = signal_name(entry.definition.stop_signal).unwrap_or("its stop signal");
        let then = if is_stopping { format!(", so it got {signal}") } else { String::new() };
        self.record_stop(id, FAILED, format!("its stop command failed{then}: {message}"));
    }

    /// Records that a run did not end in time and is killed.
    pub(super) fn killed(&mut self, id: Id) {
        let State::Stopping { kills: 1, .. } = self.fleet.machine(id).state() else { return };
        let entry = &self.services[id.index()].snapshot;
        let definition = Arc::clone(self.fleet.machine(id).definition());
        let signal = signal_name(definition.stop_signal).unwrap_or("its stop signal");
        let why = match (&definition.stop_command, entry.stopped_by) {
            (Some(_), Some(true)) => {
                "its stop command ended with code 0, but the service did not end".to_owned()
            }
            (Some(_), None) => "its stop command had not ended".to_owned(),
            (Some(_), Some(false)) | (None, _) => format!("it did not end on {signal}"),
        };
        self.record_stop(id, KILLED, format!("killed after {:?}: {why}", definition.stop_timeout));
    }

    fn record_stop(&mut self, id: Id, to: &'static str, note: String) {
        let entry = self.services[id.index()].edit();
        let (name, run) = (entry.definition.name.clone(), entry.snapshot.run);
        entry.stop = Some(match entry.stop.take() {
            Some(before) => format!("{before}; {note}"),
            None => note.clone(),
        });
        self.journal.stop(&name, run, to, note);
    }
}
