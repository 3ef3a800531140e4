//! Performs the fleet's effects. Nothing blocks here: a slow effect runs as a task that reports back.

use super::runtime::{AbortOnDrop, LastRun, RunTasks, Saved, ServiceRuntime};
use super::task::Engine;
use crate::snapshot::ServiceSnapshot;
use service_core::change::changed_keys;
use service_core::config::{Service, Settings};
use service_core::explain::STATE_NOT_WRITTEN;
use service_core::fleet::ServiceEffect;
use service_core::service::{Effect, Event, Exit, Goal, State};
use service_core::{Id, Name};
use service_host::clock;
use service_host::report::ManagerInfo;
use service_process::ShimHandle;
use service_store::BegunRun;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use tokio::task::AbortHandle;

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

    /// Saves the definitions of the runs that begin with these effects. Returns why no run can begin: an error that is not
    /// temporary. A full disk prevents no run.
    pub(super) fn save_begun_definitions(&mut self, effects: &[ServiceEffect]) -> Option<String> {
        let begins = |effect: &&ServiceEffect| effect.effect == Effect::Spawn;
        let begun = effects
            .iter()
            .filter(begins)
            .map(|effect| (effect.id, Arc::clone(self.fleet.machine(effect.id).definition()), effect.run));
        let begun = begun.collect();
        let error = self.save_definitions(begun).err()?;
        let is_final = matches!(error.kind(), ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied);
        let state_dir = self.drivers.paths.state_dir.display();
        is_final.then(|| format!("{STATE_NOT_WRITTEN} `{state_dir}` cannot be written: {error}"))
    }

    /// Saves the definitions of runs.
    pub(super) fn save_definitions(&mut self, runs: Vec<(Id, Arc<Service>, u64)>) -> io::Result<()> {
        if runs.is_empty() {
            return Ok(());
        }
        let is_repeated = |last: Option<LastRun>, definition: &Arc<Service>| {
            last.is_some_and(|last| last.saved == Saved::Yes && last.definition == *definition)
        };
        let repeated: Vec<bool> = runs
            .iter()
            .map(|(id, definition, _)| {
                let now = LastRun { definition: Arc::clone(definition), saved: Saved::Yes };
                is_repeated(self.services[id.index()].last_run.replace(now), definition)
            })
            .collect();
        let begun: Vec<BegunRun<'_>> = runs
            .iter()
            .zip(repeated)
            .map(|((_, definition, run), is_repeated)| BegunRun { definition, run: *run, is_repeated })
            .collect();
        let saved = self.drivers.definitions.save(&begun);
        if let Err(error) = &saved {
            tracing::warn!(%error, "cannot save the definitions of runs");
            for (id, _, _) in runs {
                if let Some(last) = &mut self.services[id.index()].last_run {
                    last.saved = Saved::No;
                }
            }
        }
        saved
    }

    /// Prepares the starts of waiting services: forks idle shims.
    pub(super) fn prepare(&self) {
        let waits = |service: &&ServiceRuntime| {
            service.snapshot.snapshot.waits_for.is_some() && !service.snapshot.definition.is_managed()
        };
        self.drivers.shims.zygote().set_idle_target(self.services.iter().filter(waits).count());
    }

    /// Reports runs that cannot begin. A service of a manager needs no file.
    pub(super) fn refuse_launch(&self, effect: &ServiceEffect, why: &str) -> bool {
        let definition = self.fleet.machine(effect.id).definition();
        let is_refused = effect.effect == Effect::Spawn && !definition.is_managed();
        if is_refused {
            let failed = Event::LaunchFailed(why.to_owned());
            self.drivers.reports.event(&definition.name, effect.run, failed);
        }
        is_refused
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
