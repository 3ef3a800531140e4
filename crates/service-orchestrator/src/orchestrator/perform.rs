//! Carries out what the fleet decides. Nothing is waited for here: whatever takes time is a task that reports back.

use super::is_managed;
use super::task::Task;
use crate::board::Entry;
use crate::{manager, probe, process};
use service_core::Id;
use service_core::config::{Service, Settings};
use service_core::fleet::Order;
use service_core::service::Effect;
use std::sync::Arc;

impl Task {
    pub(super) fn perform(&mut self, order: Order) {
        let definition = Arc::clone(self.fleet.machine(order.id).definition());
        let managed = is_managed(&definition);
        match order.effect {
            Effect::Spawn if managed => {
                tokio::spawn(manager::start(self.world.clone(), self.settings(), definition, order.run));
            }
            Effect::Spawn => {
                let keeper = process::launch(self.world.clone(), Arc::clone(&definition), order.run);
                self.keepers.insert(definition.name.clone(), keeper);
            }
            Effect::Probe => {
                // The entry may be of the turn before: what a check needs of it is the pid.
                let entry = Entry { definition, ..Entry::clone(&self.entries[order.id.index()]) };
                tokio::spawn(probe::report(self.world.clone(), self.settings(), entry, order.run));
            }
            Effect::Listen => self.listen(order.id, &definition, order.run),
            Effect::Terminate | Effect::Kill if managed => {
                tokio::spawn(manager::stop(self.world.clone(), self.settings(), definition, order.run));
            }
            Effect::Terminate => match (&definition.stop_command, self.keepers.get(&definition.name)) {
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
                }
            }
        }
    }

    fn settings(&self) -> Settings {
        self.fleet.plan().settings().clone()
    }

    /// `READY=1` comes through the keeper by itself; a line in the log must be looked for.
    fn listen(&mut self, id: Id, definition: &Arc<Service>, run: u64) {
        let launched = self.fleet.machine(id).state().launched();
        if let (Some(_), Some(launched)) = (&definition.ready.log, launched) {
            let task =
                tokio::spawn(probe::log::listen(self.world.clone(), Arc::clone(definition), run, launched));
            self.listeners.insert(definition.name.clone(), task.abort_handle());
        }
    }
}
