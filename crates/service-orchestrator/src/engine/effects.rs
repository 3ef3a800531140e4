//! Performs the fleet's effects. Nothing blocks here: a slow effect runs as a task that reports back.

use super::runtime::{AbortOnDrop, LastRun, RunTasks, Saved, ServiceRuntime};
use super::task::Engine;
use crate::snapshot::ServiceSnapshot;
use service_core::change::changed_keys;
use service_core::config::{Service, Settings};
use service_core::fleet::ServiceEffect;
use service_core::service::{Effect, Event, Exit, Goal, State};
use service_core::{Id, Name};
use service_host::clock;
use service_host::report::ManagerInfo;
use service_process::ShimHandle;
use service_shim::Files;
use service_store::run_definition;
use std::io;
use std::sync::Arc;
use tokio::task::AbortHandle;

/// The maximum number of definitions that are saved on the engine's thread.
const MAX_INLINE_COUNT: usize = 8;

impl Engine {
    pub(super) fn perform(&mut self, order: ServiceEffect) {
        let definition = Arc::clone(self.fleet.machine(order.id).definition());
        let service = &mut self.services[order.id.index()];
        service.run.enter_run(order.run);
        // The shim stops a service that it runs, even if the definition has changed to a manager.
        let managed = definition.is_managed() && service.run.shim.is_none();
        match order.effect {
            Effect::Spawn if managed => {
                if let Some(info) = service.run.restarted_by_manager.take() {
                    return self.drivers.managers.report_started(&definition, order.run, info);
                }
                let call =
                    tokio::spawn(self.drivers.managers.clone().start(self.settings(), definition, order.run));
                self.runtime(order.id).manager_call = Some(call.abort_handle());
            }
            Effect::Spawn => {
                let missing = service.snapshot.missing;
                let shim = self.drivers.shims.launch(Arc::clone(&definition), order.run, missing);
                service.run.shim = Some(shim);
            }
            Effect::Probe => {
                let starting = matches!(self.fleet.machine(order.id).state(), State::Starting { .. });
                if starting && service.run.readiness.is_none() {
                    let task = self.drivers.watch_port(&definition, order.run);
                    service.run.readiness = task.map(AbortOnDrop::from);
                }
                // The snapshot may be from the previous turn. A check uses only its pid.
                let entry = ServiceSnapshot { definition, ..ServiceSnapshot::clone(&service.snapshot) };
                let left = self.fleet.machine(order.id).start_ends().map(|end| end.since(clock::now()));
                let check = self.drivers.clone().check_and_report(self.settings(), entry, order.run, left);
                tokio::spawn(check);
            }
            Effect::CheckPresence => {
                tokio::spawn(self.drivers.managers.clone().check_presence(
                    self.settings(),
                    definition,
                    order.run,
                ));
            }
            Effect::WatchReadiness => self.listen(order.id, &definition, order.run),
            Effect::Terminate if managed => {
                self.have_stopped(order.id, definition, order.run, self.only_again(order.id));
            }
            // A manager is called to stop again, because it cannot kill. A running stop call has its own deadline, so a
            // second call would not help.
            Effect::Kill if managed => {
                if service.run.manager_call.as_ref().is_none_or(AbortHandle::is_finished) {
                    self.have_stopped(order.id, definition, order.run, Then::Rest);
                }
            }
            Effect::Terminate => match (own_stop_command(&definition), &service.run.shim) {
                (Some(_), Some(shim)) => {
                    let (shims, shim) = (self.drivers.shims.clone(), shim.clone());
                    tokio::spawn(shims.stop_with_command(definition, shim, order.run));
                }
                (None, Some(shim)) => shim.request_stop(&definition),
                (_, None) => {}
            },
            Effect::Kill => {
                self.killed(order.id);
                let service = &self.services[order.id.index()];
                if let Some(shim) = &service.run.shim {
                    shim.signal(nix::libc::SIGKILL);
                    wake(service.snapshot.shim);
                }
            }
        }
    }

    fn runtime(&mut self, id: Id) -> &mut RunTasks {
        &mut self.services[id.index()].run
    }

    /// Saves the definitions of the runs that begin now. For many runs, another thread saves them.
    pub(super) async fn save_begun_definitions(&mut self, orders: &[ServiceEffect]) {
        let begins = |order: &&ServiceEffect| order.effect == Effect::Spawn;
        let begun: Vec<_> = orders
            .iter()
            .filter(begins)
            .map(|order| (order.id, Arc::clone(self.fleet.machine(order.id).definition()), order.run))
            .collect();
        if begun.len() <= MAX_INLINE_COUNT {
            return begun
                .iter()
                .for_each(|(id, definition, run)| self.save_definition(*id, definition, *run));
        }
        let begun: Vec<_> = begun
            .into_iter()
            .map(|(id, definition, run)| {
                let same = self.enter_definition(id, &definition);
                (id, definition, run, same)
            })
            .collect();
        let paths = Arc::clone(&self.drivers.paths);
        let kept = tokio::task::spawn_blocking(move || {
            let keep = |(id, definition, run, same): (Id, Arc<Service>, u64, bool)| {
                (id, run_definition::save(&paths, &definition, run, same))
            };
            begun.into_iter().map(keep).collect::<Vec<_>>()
        });
        match self.slice.release_while(kept).await {
            Ok(kept) => kept.into_iter().for_each(|(id, kept)| self.record_saved(id, kept)),
            Err(error) => tracing::error!(%error, "cannot save definitions"),
        }
    }

    /// Saves the definition of a run.
    pub(super) fn save_definition(&mut self, id: Id, definition: &Arc<Service>, run: u64) {
        let same = self.enter_definition(id, definition);
        self.record_saved(id, run_definition::save(&self.drivers.paths, definition, run, same));
    }

    /// Records the definition of a run. Returns whether the same definition is saved already.
    fn enter_definition(&mut self, id: Id, definition: &Arc<Service>) -> bool {
        let now = LastRun { definition: Arc::clone(definition), saved: Saved::Yes };
        let last = self.services[id.index()].last_run.replace(now);
        last.is_some_and(|last| last.saved == Saved::Yes && last.definition == *definition)
    }

    fn record_saved(&mut self, id: Id, saved: io::Result<()>) {
        let service = &mut self.services[id.index()];
        if let (Err(error), Some(last)) = (saved, &mut service.last_run) {
            tracing::warn!(service = %last.definition.name, %error, "cannot save its definition");
            last.saved = Saved::No;
        }
    }

    /// Prepares the starts of waiting services: idle shims, and the files of services that have just begun to wait.
    pub(super) fn prepare(&self, waiting: Vec<Files>) {
        let waits = |service: &&ServiceRuntime| {
            service.snapshot.snapshot.waits_for.is_some() && !service.snapshot.definition.is_managed()
        };
        self.drivers.shims.zygote().set_idle_target(self.services.iter().filter(waits).count());
        if !waiting.is_empty() {
            tokio::task::spawn_blocking(move || waiting.iter().for_each(run_definition::prepare));
        }
    }

    /// Stops a service through its manager, after a start call that is still running.
    fn have_stopped(&mut self, id: Id, definition: Arc<Service>, run: u64, then: Then) {
        if let Some(call) = self.runtime(id).manager_call.take() {
            call.abort();
        }
        let (managers, settings) = (self.drivers.managers.clone(), self.settings());
        let call = match then {
            Then::Rest => tokio::spawn(managers.stop(settings, definition, run)),
            Then::Start => tokio::spawn(managers.restart(settings, definition, run)),
        };
        self.runtime(id).manager_call = Some(call.abort_handle());
    }

    /// Whether a stop is followed by a start of the same definition, without dependents in between; a manager can then
    /// restart the service in one call.
    fn only_again(&self, id: Id) -> Then {
        let machine = self.fleet.machine(id);
        let same = changed_keys(machine.definition(), self.fleet.plan().service(id)).is_empty();
        match machine.goal() == Goal::Restart && same && self.fleet.unmet_dependency(id).is_none() {
            true => Then::Start,
            false => Then::Rest,
        }
    }

    /// Handles a restart that a manager performed in one call. If the goal has changed meanwhile, the new run is
    /// stopped.
    pub(super) fn restarted(&mut self, name: &Name, run: u64, told: ManagerInfo) {
        let Some(id) = self.fleet.plan().id(name).filter(|id| self.fleet.machine(*id).run() == run) else {
            return;
        };
        let machine = self.fleet.machine(id);
        if !matches!(machine.state(), State::Stopping { .. }) {
            return;
        }
        match self.only_again(id) {
            Then::Rest => self.have_stopped(id, Arc::clone(machine.definition()), run, Then::Rest),
            Then::Start => {
                self.runtime(id).restarted_by_manager = Some(told);
                // The event makes the service inactive and startable in the same turn. The start effect that follows
                // completes at once, because the manager has already started the run.
                self.fleet.handle_event(id, run, Event::TreeExited(Exit::Unreported), clock::now());
            }
        }
    }

    fn settings(&self) -> Settings {
        self.fleet.plan().settings().clone()
    }

    /// Begins to watch for readiness. The shim itself reports `READY=1` and matching log lines; only an older shim does
    /// not match log lines.
    fn listen(&mut self, id: Id, definition: &Arc<Service>, run: u64) {
        if self.runtime(id).shim.as_ref().is_some_and(ShimHandle::matches_log) {
            return;
        }
        let launched = self.fleet.machine(id).state().launched();
        if let (Some(_), Some(launched)) = (&definition.ready.log, launched) {
            let task = self.drivers.watch_log(definition, run, launched);
            self.runtime(id).readiness = Some(task.into());
        }
    }
}

/// The manager call that follows a stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Rest,
    Start,
}

/// The stop command of a run without a manager. If the definition has changed to a manager since the start, its stop
/// command does not apply to this run.
fn own_stop_command(definition: &Service) -> Option<&String> {
    definition.stop_command.as_ref().filter(|_| !definition.is_managed())
}

/// Continues a shim that was stopped by `SIGSTOP` and therefore receives no requests.
fn wake(shim: Option<u32>) {
    if let Some(pid) = shim.and_then(|pid| i32::try_from(pid).ok()) {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGCONT);
    }
}
