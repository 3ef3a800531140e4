//! Carries out what the fleet decides. Nothing is waited for here: whatever takes time is a task that reports back.

use super::task::Task;
use super::{is_managed, ran};
use crate::board::Entry;
use crate::{manager, probe, process};
use service_core::Id;
use service_core::config::{Service, Settings};
use service_core::fleet::Order;
use service_core::service::Effect;
use std::sync::Arc;
use tokio::task::AbortHandle;

impl Task {
    pub(super) fn perform(&mut self, order: Order) {
        let definition = Arc::clone(self.fleet.machine(order.id).definition());
        // What was started with a keeper is stopped by it, whatever the definition says by now.
        let managed = is_managed(&definition) && !self.keepers.contains_key(&definition.name);
        if order.effect == Effect::Spawn {
            ran::keep(&self.world.places, &definition, order.run);
            self.ran.insert(definition.name.clone(), Arc::clone(&definition));
        }
        match order.effect {
            Effect::Spawn if managed => {
                let name = definition.name.clone();
                let call =
                    tokio::spawn(manager::start(self.world.clone(), self.settings(), definition, order.run));
                self.calls.insert(name, call.abort_handle());
            }
            Effect::Spawn => {
                if definition.ready.log.is_some() {
                    let place = probe::log::Follower::at_end(self.world.places.files(&definition.name));
                    self.log_places.insert(definition.name.clone(), place);
                }
                let missing = self.entries[order.id.index()].missing;
                let keeper = process::launch(self.world.clone(), Arc::clone(&definition), order.run, missing);
                self.keepers.insert(definition.name.clone(), keeper);
            }
            Effect::Probe => {
                // The entry may be of the turn before: what a check needs of it is the pid.
                let entry = Entry { definition, ..Entry::clone(&self.entries[order.id.index()]) };
                tokio::spawn(probe::report(self.world.clone(), self.settings(), entry, order.run));
            }
            Effect::Listen => self.listen(order.id, &definition, order.run),
            Effect::Terminate if managed => self.have_stopped(definition, order.run),
            // A call that is under way has its own deadline; another one beside it would help nobody.
            Effect::Kill if managed => {
                if self.calls.get(&definition.name).is_none_or(AbortHandle::is_finished) {
                    self.have_stopped(definition, order.run);
                }
            }
            Effect::Terminate => match (own_stop_command(&definition), self.keepers.get(&definition.name)) {
                (Some(_), Some(keeper)) => {
                    let (world, keeper) = (self.world.clone(), keeper.clone());
                    tokio::spawn(process::stop_by_command(world, definition, keeper));
                }
                (None, Some(keeper)) => keeper.signal(definition.stop_signal),
                (_, None) => {}
            },
            Effect::Kill => {
                if let Some(keeper) = self.keepers.get(&definition.name) {
                    keeper.signal(nix::libc::SIGKILL);
                    wake(self.entries[order.id.index()].keeper);
                }
            }
        }
    }

    /// Has a manager stop a service; a start that is still under way ends first.
    fn have_stopped(&mut self, definition: Arc<Service>, run: u64) {
        if let Some(call) = self.calls.remove(&definition.name) {
            call.abort();
        }
        let name = definition.name.clone();
        let call = tokio::spawn(manager::stop(self.world.clone(), self.settings(), definition, run));
        self.calls.insert(name, call.abort_handle());
    }

    fn settings(&self) -> Settings {
        self.fleet.plan().settings().clone()
    }

    /// `READY=1` comes through the keeper by itself; a line in the log must be looked for.
    fn listen(&mut self, id: Id, definition: &Arc<Service>, run: u64) {
        let launched = self.fleet.machine(id).state().launched();
        let place = self.log_places.remove(&definition.name);
        if let (Some(_), Some(launched)) = (&definition.ready.log, launched) {
            let (world, service) = (self.world.clone(), Arc::clone(definition));
            let task = tokio::spawn(probe::log::listen(world, service, run, launched, place));
            self.listeners.insert(definition.name.clone(), task.abort_handle());
        }
    }
}

/// A manager's stop command is not for a process that we keep, although the definition may have changed to one.
fn own_stop_command(definition: &Service) -> Option<&String> {
    definition.stop_command.as_ref().filter(|_| !is_managed(definition))
}

/// A keeper that somebody has stopped (`SIGSTOP`) hears no order.
fn wake(keeper: Option<u32>) {
    if let Some(pid) = keeper.and_then(|pid| i32::try_from(pid).ok()) {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGCONT);
    }
}
