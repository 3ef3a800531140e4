//! [`Engine`]: the task that owns the fleet. It receives commands and reports, performs effects, and publishes a
//! snapshot after each turn.

use super::drivers::Drivers;
use super::inbox::{Inbox, Input};
use super::leftover::with_orphaned;
use super::message::EngineCommand;
use super::request_log::RequestLog;
use super::runtime::{Orphaned, RetiredRuns, ServiceRuntime};
use super::waiters::Waiter;
use crate::metrics::ServiceMetrics;
use crate::snapshot::{FleetSnapshot, ServiceSnapshot, describe_left};
use service_host::clock;
use service_host::report::ManagerInfo;
use service_host::report::Observation;
use service_host::report::{ReportContent, RunReport};
use service_host::time_slice::TimeSlice;
use service_store::Store;
use service_store::journal::Journal;

use service_api::redact;
use service_core::Config;
use service_core::config::Service;
use service_core::fleet::{Fleet, ServiceEffect};
use service_core::health::Health;
use service_core::service::{Effect, Event, Goal, Machine, State};
use service_core::{Id, Moment, Name, Plan};
use service_shim::DroppedLines;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{oneshot, watch};

/// The number of effects in one batch. A smaller batch starts the first service sooner, with more writes for the rest.
const BATCH_COUNT: usize = 16;
/// The time limit of the last sync when the daemon ends.
const LAST_SYNC: Duration = Duration::from_secs(5);

/// All data of the engine.
pub(super) struct Engine {
    pub(super) drivers: Drivers,
    pub(super) fleet: Fleet,
    /// By the service's id in the plan.
    pub(super) services: Vec<ServiceRuntime>,
    pub(super) waiters: Vec<Waiter>,
    pub(super) requests: RequestLog,
    /// The services that were defined when the file was last applied.
    pub(super) applied: BTreeSet<Name>,
    /// The services whose manager has failed to stop them in this turn.
    pub(super) stop_failed: BTreeSet<Id>,
    /// The numbers of the last runs of services that are no longer defined.
    pub(super) retired: RetiredRuns,
    /// Whether an orphaned service has stopped.
    pub(super) has_removals: bool,
    /// The number of running applies. An apply may restart services that it has stopped.
    pub(super) running_applies: usize,
    pub(super) slice: TimeSlice,
    pub(super) store: Store,
    pub(super) journal: Journal,
    /// The actor of the present change of definitions.
    pub(super) by: Option<String>,
    pub(super) snapshots: watch::Sender<Arc<FleetSnapshot>>,
}

/// Whether the engine continues after an input.
enum LoopAction {
    Next,
    /// The input was an observation, which is published with the next turn.
    Learned,
    Last,
}

impl ServiceSnapshot {
    pub(super) fn new(fleet: &Fleet, id: Id) -> Self {
        Self {
            snapshot: fleet.snapshot(id),
            definition: Arc::clone(fleet.machine(id).definition()),
            since: clock::now(),
            pid: None,
            shim: None,
            check: None,
            stop_error: None,
            out_of_reach: None,
            ending: None,
            manager_info: ManagerInfo::default(),
            missing: DroppedLines::default(),
            said: None,
            left: None,
            stop: None,
            stopped_by: None,
            metrics: ServiceMetrics::default(),
            unqueried: false,
        }
    }
}

impl Engine {
    pub(super) async fn work(mut self, mut inbox: Inbox) {
        // Later changes are appended to this file, so that a start creates none.
        self.store.flush(&self.fleet, &mut self.slice).await;
        loop {
            let input = inbox.next(self.next_deadline()).await;
            self.slice.begin();
            let turn = match input {
                Input::Report(report) => self.receive(report),
                Input::Command(EngineCommand::Finish { reply }) => {
                    for report in inbox.drain_reports() {
                        self.receive(report);
                    }
                    self.after().await;
                    self.finish(reply).await
                }
                Input::Command(command) => self.execute(command).await,
                Input::Deadline => LoopAction::Next,
            };
            if inbox.is_behind() || matches!(turn, LoopAction::Next) {
                self.fleet.handle_timeouts(clock::now());
            }
            if matches!(turn, LoopAction::Learned) && !inbox.is_empty() {
                self.slice.end();
                continue;
            }
            self.after().await;
            self.prune_orphaned().await;
            self.slice.end();
            if let LoopAction::Last = turn {
                break;
            }
        }
        self.store.flush(&self.fleet, &mut self.slice).await;
    }

    fn next_deadline(&self) -> Option<Moment> {
        let wait = self.waiters.iter().filter_map(Waiter::deadline);
        let files = self.store.next_deadline().into_iter().chain(self.journal.next_deadline());
        self.fleet.next_deadline().into_iter().chain(wait).chain(files).min()
    }

    fn receive(&mut self, report: RunReport) -> LoopAction {
        let RunReport { name, run, content } = report;
        match content {
            ReportContent::Event(event) => self.handle_event(&name, run, redact_event(event)),
            ReportContent::ManagerRestarted(info) => self.restarted(&name, run, info),
            ReportContent::FoundRunning(report) => self.handle_presence(&name, run, report),
            ReportContent::Observation(observation) => {
                if !self.is_cut_off(&name, &observation) {
                    self.apply_observation(&name, run, observation);
                }
                return LoopAction::Learned;
            }
        }
        LoopAction::Next
    }

    async fn execute(&mut self, command: EngineCommand) -> LoopAction {
        match command {
            EngineCommand::Request { request, rows, reply } => {
                let _ = reply.send(self.accept(&request, rows));
            }
            EngineCommand::PreviewRestart { request, reply } => {
                let _ = reply.send(self.preview_restart(&request));
            }
            EngineCommand::Wait { watch, rows, reply } => {
                let waiter = Waiter::for_state(&watch, self.fleet.plan(), rows, clock::now());
                let _ = reply.send(waiter.map(|waiter| self.waiters.push(waiter)));
            }
            EngineCommand::Reexamined { name, trace } => self.handle_trace(&name, *trace).await,
            EngineCommand::Accepted => self.record_unqueried(),
            EngineCommand::Replan { plan, by, reply } => {
                self.by = by;
                self.replan(plan).await;
                let _ = reply.send(());
            }
            EngineCommand::RollBack { before, by, reply } => {
                self.by = by;
                let _ = reply.send(self.roll_back(&before).await);
            }
            EngineCommand::ReadPresence { reply } => {
                let _ = reply.send(self.presence());
            }
            EngineCommand::SetApplying { begins, reply } => {
                self.running_applies =
                    if begins { self.running_applies + 1 } else { self.running_applies.saturating_sub(1) };
                if !begins {
                    self.prune_orphaned().await;
                }
                let _ = reply.send(());
            }
            EngineCommand::Applied { reply } => {
                self.applied();
                let _ = reply.send(());
            }
            EngineCommand::Redefine { added, removed, by, reply } => {
                self.by = by;
                let _ = reply.send(self.redefine(added, removed).await);
            }
            EngineCommand::SubscribeJournal { names, reply } => {
                let _ = reply.send(self.read(&names));
            }
            EngineCommand::Finish { reply } => return self.finish(reply).await,
            EngineCommand::CheckHealth { reply } => {
                let _ = reply.send(self.journal.last_error().map(str::to_owned));
            }
        }
        LoopAction::Next
    }

    /// Writes all data and answers all waiters.
    async fn finish(&mut self, reply: oneshot::Sender<()>) -> LoopAction {
        self.journal.close(clock::now());
        let published = Arc::clone(&self.snapshots.borrow());
        self.waiters.drain(..).for_each(|mut waiter| waiter.cancel(&published, clock::now()));
        self.store.flush(&self.fleet, &mut self.slice).await;
        self.drivers.paths.disk.finish(LAST_SYNC);
        let _ = reply.send(());
        LoopAction::Last
    }

    /// Ends a turn: saves, publishes, performs effects and answers. The effects are performed in batches, so that the first
    /// services start while the later ones are saved. Other tasks run in between, but no input is accepted.
    pub(super) async fn after(&mut self) {
        let now = clock::now();
        let changed = self.fleet.take_changed();
        // A client that has the reply to a change of the plan must find the new plan.
        if !Arc::ptr_eq(&self.snapshots.borrow().plan, self.fleet.plan()) {
            self.publish();
        }
        let mut pending: BTreeSet<Id> = changed.iter().copied().collect();
        let effects = self.fleet.take_effects();
        // Signals are sent in one sweep.
        let starts = effects.iter().any(|effect| effect.effect == Effect::Spawn);
        let mut batches = effects.chunks(if starts { BATCH_COUNT } else { usize::MAX }).peekable();
        let published = loop {
            let batch = batches.next().unwrap_or_default();
            let is_last = batches.peek().is_none();
            let concerned = match is_last {
                true => std::mem::take(&mut pending),
                false => batch.iter().map(|effect| effect.id).filter(|id| pending.remove(id)).collect(),
            };
            for id in concerned {
                self.refresh(id);
                self.slice.yield_if_spent().await;
            }
            self.save(now).await;
            self.journal.publish(now);
            // No other task runs between these calls, so that the snapshot contains every published event.
            let published = self.publish();
            self.perform_all(batch).await;
            if is_last {
                break published;
            }
            self.slice.release_while(tokio::task::yield_now()).await;
        };
        self.slice.yield_if_spent().await;
        if !changed.is_empty() {
            self.prepare();
        }
        self.answer(&changed, &published, now).await;
    }

    /// Saves states and events. New goals and runs are saved before they take effect, and the end of a run before the next
    /// run begins and before it is published.
    async fn save(&mut self, now: Moment) {
        // The changes of this turn are due, although they are later than its beginning.
        let numbered = self.journal.last_assigned_number();
        self.store.write_if_due(&self.fleet, numbered, clock::now(), &mut self.slice).await;
        self.slice.yield_if_spent().await;
        self.journal.save(now);
        if self.journal.is_lagging() {
            // If the journal cannot be written, the state file stores the number of the last delivered event.
            self.store
                .write_numbers(&self.fleet, self.journal.last_assigned_number(), now, &mut self.slice)
                .await;
        }
    }

    /// Performs effects, after the definitions of the runs that begin are saved.
    async fn perform_all(&mut self, effects: &[ServiceEffect]) {
        let refusal = self.save_begun_definitions(effects);
        for effect in effects {
            self.slice.yield_if_spent().await;
            if !refusal.as_ref().is_some_and(|why| self.refuse_launch(effect, why)) {
                self.perform(*effect);
            }
        }
    }

    /// Answers the waiters for these services and their dependents.
    async fn answer(&mut self, changed: &[Id], published: &FleetSnapshot, now: Moment) {
        let mut concerned = self.fleet.concerned(changed);
        concerned.extend(std::mem::take(&mut self.stop_failed));
        self.slice.yield_if_spent().await;
        let mut prospects = self.fleet.prospects();
        for mut waiter in std::mem::take(&mut self.waiters) {
            if waiter.answer(&mut prospects, published, now, &concerned, &mut self.slice).await {
                self.waiters.push(waiter);
            }
        }
    }

    /// Removes orphaned services that have stopped, all at once, because each removal takes time proportional to the
    /// number of services.
    async fn prune_orphaned(&mut self) {
        let plan = self.fleet.plan();
        let is_ending = |id: Id| {
            let machine = self.fleet.machine(id);
            self.is_orphaned(id) && machine.goal() == Goal::Down && machine.state().is_alive()
        };
        if !self.has_removals || self.running_applies > 0 || plan.ids().any(is_ending) {
            return;
        }
        let defined = plan.ids().filter(|id| !self.is_orphaned(*id));
        let services = defined.map(|id| Service::clone(plan.service(id))).collect();
        self.slice.yield_if_spent().await;
        match Plan::compile(Config { settings: plan.settings().clone(), services }) {
            Ok(plan) => self.replan(plan).await,
            Err(errors) => tracing::error!(?errors, "cannot delete services that are no longer defined"),
        }
        self.after().await;
    }

    fn publish(&self) -> Arc<FleetSnapshot> {
        let published = Arc::new(self.snapshot());
        self.snapshots.send_replace(Arc::clone(&published));
        published
    }

    fn snapshot(&self) -> FleetSnapshot {
        let entries = self.services.iter().map(|service| Arc::clone(&service.snapshot)).collect();
        FleetSnapshot { plan: Arc::clone(self.fleet.plan()), entries }
    }

    /// Updates one snapshot from the fleet.
    pub(super) fn refresh(&mut self, id: Id) {
        let snapshot = self.fleet.snapshot(id);
        let service = &mut self.services[id.index()];
        let is_orphaned = service.is_orphaned();
        service.run.enter_run(snapshot.run);
        let entry = Arc::make_mut(&mut service.snapshot);
        if entry.snapshot.run != snapshot.run {
            entry.begin_run();
        }
        let name = &entry.definition.name;
        if snapshot.state_word() != entry.snapshot.state_word() {
            entry.since = clock::now();
            if let State::Stopping { .. } = snapshot.state {
                (entry.stop, entry.stopped_by) = (None, None);
            }
            let (from, to, run) = (entry.snapshot.state_word(), snapshot.state_word(), snapshot.run);
            tracing::info!(service = %name, from, to, run, reason = snapshot.reason, "changed");
        }
        if !snapshot.state.is_alive() {
            self.has_removals |= is_orphaned;
            (entry.pid, entry.shim, entry.manager_info) = (None, None, ManagerInfo::default());
            entry.metrics.settle();
            service.run.end();
        }
        self.store.changed(&entry.snapshot, &snapshot, clock::now());
        entry.metrics.changed(&entry.snapshot, &snapshot);
        entry.snapshot = snapshot;
        entry.definition = Arc::clone(self.fleet.machine(id).definition());
        self.record(id);
    }

    pub(super) fn handle_event(&mut self, name: &Name, run: u64, event: Event) {
        if let Some(id) = self.fleet.plan().id(name) {
            self.fleet.handle_event(id, run, event, clock::now());
        }
    }

    pub(super) fn apply_observation(&mut self, name: &Name, run: u64, report: Observation) {
        let Some(id) = self.fleet.plan().id(name).filter(|id| self.fleet.machine(*id).run() == run) else {
            return;
        };
        let entry = self.services[id.index()].edit();
        match report {
            Observation::Processes { leader, shim } => {
                entry.pid = leader.map(|leader| leader.pid);
                entry.shim = Some(shim.pid);
            }
            Observation::Manager(told) => {
                entry.pid = told.pid;
                entry.manager_info = told;
            }
            Observation::Checked(check) => {
                let deciding = entry.snapshot.health == Health::Pending;
                self.journal.checked(name, run, &check, deciding);
                entry.metrics.checked(&check);
                entry.check = Some(Arc::new(check));
            }
            Observation::Left(left) => entry.left = Some(describe_left(&left)),
            Observation::Unreachable(why) => entry.out_of_reach = why,
            Observation::StopCommand(ended) => self.stop_command_ended(id, ended),
            Observation::Missing(missing) => entry.missing = missing,
            Observation::Status(said) => entry.said = said,
            Observation::SharedBuffer(buffer) => entry.metrics.counts_at(buffer),
            Observation::StopError(stop_error) => {
                let env = &entry.definition.env;
                entry.stop_error = stop_error.map(|stop_error| redact::without(&stop_error, env));
                self.stop_failed.insert(id);
                if let Some(message) = entry.stop_error.clone() {
                    let published = Arc::clone(&self.snapshots.borrow());
                    self.waiters
                        .iter_mut()
                        .for_each(|waiter| waiter.refused(name, &message, &published, clock::now()));
                }
            }
        }
    }

    pub(super) fn is_orphaned(&self, id: Id) -> bool {
        self.services[id.index()].is_orphaned()
    }

    /// Replaces the plan. A running service without a definition remains, without dependencies, until it has stopped.
    /// Other tasks may run in between; they see the old plan until the new one is complete.
    pub(super) async fn replan(&mut self, plan: Plan) {
        let machines = self.fleet.plan().ids().map(|id| self.fleet.machine(id));
        // An external run is not stopped, so it does not become an orphaned service.
        let is_ours = |machine: &&Machine| machine.state().is_alive() && !machine.is_unmanaged();
        let names = machines.filter(is_ours).map(|machine| &machine.definition().name);
        let orphaned: BTreeSet<Name> = names.filter(|name| plan.id(name).is_none()).cloned().collect();
        self.has_removals = false;
        let plan = Arc::new(with_orphaned(plan, &orphaned));
        self.retire_runs(&plan);
        self.slice.yield_if_spent().await;
        self.stop_failed.clear();
        self.store.planned_anew();
        self.record_changes(&plan);
        self.slice.yield_if_spent().await;
        let mut old: BTreeMap<Name, ServiceRuntime> = self
            .services
            .drain(..)
            .map(|service| (service.snapshot.definition.name.clone(), service))
            .collect();
        self.fleet.replan(plan, clock::now());
        self.requests.retain(self.fleet.plan());
        let (mut defined_again, mut returned) = (Vec::new(), Vec::new());
        for id in self.fleet.plan().ids() {
            let name = &self.fleet.plan().service(id).name;
            let is_orphaned = if orphaned.contains(name) { Orphaned::Yes } else { Orphaned::No };
            let mut service = old.remove(name).unwrap_or_else(|| {
                returned.push(id);
                ServiceRuntime::new(ServiceSnapshot::new(&self.fleet, id), is_orphaned)
            });
            if service.is_orphaned() && is_orphaned == Orphaned::No {
                defined_again.push(id);
            }
            service.orphaned = is_orphaned;
            self.services.push(service);
        }
        // The runtime of a removed service is dropped.
        drop(old);
        self.slice.yield_if_spent().await;
        self.record_definitions();
        self.slice.yield_if_spent().await;
        for id in orphaned.iter().filter_map(|name| self.fleet.plan().id(name)).collect::<Vec<_>>() {
            self.fleet.decommission(id);
        }
        self.fleet.resume(clock::now());
        for id in defined_again {
            // These services are defined again, so they are no longer orphaned.
            let last = self.services[id.index()].last_definition().map(Arc::clone);
            if let Some(definition) = last.filter(|_| self.fleet.machine(id).state().is_alive()) {
                self.fleet.set_running_definition(id, definition);
            }
        }
        self.number_runs(&returned);
        for id in returned {
            self.services[id.index()].snapshot = Arc::new(ServiceSnapshot::new(&self.fleet, id));
        }
        let plan = Arc::clone(self.fleet.plan());
        for id in plan.ids() {
            self.slice.yield_if_spent().await;
            self.refresh(id);
        }
        self.slice.yield_if_spent().await;
        self.prepare();
        self.record_unqueried();
        let published = self.snapshot();
        self.waiters.iter_mut().for_each(|waiter| waiter.replan(&published, clock::now()));
    }
}

/// Removes secrets from an event: the reason of a failed launch may contain a command line.
fn redact_event(event: Event) -> Event {
    match event {
        Event::LaunchFailed(why) => Event::LaunchFailed(redact(&why).into_owned()),
        event => event,
    }
}
