//! A simulated world: processes with various behaviour, on a clock that a test moves. It asserts the invariants.

use super::waiting::Waiting;
use service_core::config::{Condition, Config, Service};
use service_core::fleet::{Fleet, Propagate, ServiceEffect};
use service_core::health::ProbeResult;
use service_core::service::{Cause, Discovered, Effect, Event, Exit, Goal, PersistedState, Presence, State};
use service_core::{Id, Moment, Name, Plan};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// The behaviour of one service's processes.
#[derive(Debug, Clone)]
pub(crate) struct Manners {
    /// The time from the launch to the first passed check.
    pub(crate) boots_in: Duration,
    /// The time after which the process ends by itself, and its exit status.
    pub(crate) lives_for: Option<(Duration, Exit)>,
    /// Whether the process ignores the stop signal.
    pub(crate) ignores_term: bool,
    /// Whether the launch fails.
    pub(crate) refuses: bool,
    /// Whether all checks fail.
    pub(crate) sick: bool,
}

impl Default for Manners {
    fn default() -> Self {
        Self {
            boots_in: Duration::from_millis(20),
            lives_for: None,
            ignores_term: false,
            refuses: false,
            sick: false,
        }
    }
}

#[derive(Debug, Clone)]
struct Process {
    run: u64,
    launched: Moment,
}

pub(crate) struct World {
    pub(crate) fleet: Fleet,
    pub(crate) now: Moment,
    pub(crate) manners: Vec<Manners>,
    processes: BTreeMap<Id, Process>,
    /// External starts that have not been detected.
    strangers: BTreeSet<Id>,
    coming: Vec<(Moment, Id, u64, Event)>,
    /// Ends of runs that no daemon has observed.
    unseen: BTreeMap<Id, (u64, Event)>,
    /// Runs whose end was requested; a new daemon repeats the request.
    asked: BTreeSet<(Id, u64)>,
    /// Requests that have not been answered.
    pub(crate) waiting: Waiting,
    /// The effects, for stories: `+a` a launch, `-a` a stop request.
    pub(crate) diary: Vec<String>,
}

/// The state of a running service without a persisted goal.
fn memory_for(memory: PersistedState, found: &Discovered) -> PersistedState {
    let is_stranger = memory == PersistedState::default()
        && !matches!(found, Discovered::Absent | Discovered::Unclear { .. });
    if is_stranger { PersistedState::unknown_run() } else { memory }
}

/// A service called `a`, `b`, ...
pub(crate) fn service(name: &str) -> Service {
    Service::new(Name::new(name).unwrap())
}

impl World {
    pub(crate) fn new(services: Vec<Service>) -> Self {
        let plan = Plan::compile(Config { services, ..Config::default() }).unwrap();
        let manners = vec![Manners::default(); plan.len()];
        let fleet = Fleet::new(Arc::new(plan), 7);
        let now = Moment::from_nanos(1_000_000_000_000);
        Self {
            fleet,
            now,
            manners,
            processes: BTreeMap::new(),
            strangers: BTreeSet::new(),
            coming: Vec::new(),
            unseen: BTreeMap::new(),
            asked: BTreeSet::new(),
            waiting: Waiting::default(),
            diary: Vec::new(),
        }
    }

    pub(crate) fn id(&self, name: &str) -> Id {
        self.fleet.plan().id(name).unwrap()
    }

    pub(crate) fn state(&self, name: &str) -> &'static str {
        self.fleet.snapshot(self.id(name)).state_word()
    }

    pub(crate) fn start(&mut self, name: &str) {
        let id = self.id(name);
        self.fleet.start(&[id], Propagate::Yes, self.now);
        self.act();
    }

    pub(crate) fn stop(&mut self, name: &str) {
        let id = self.id(name);
        self.fleet.stop(&[id], Propagate::Yes, self.now);
        self.act();
    }

    pub(crate) fn restart(&mut self, name: &str) {
        let id = self.id(name);
        self.fleet.restart(&[id], Propagate::Yes, self.now);
        self.act();
    }

    /// Starts a service from outside.
    pub(crate) fn start_elsewhere(&mut self, name: &str) {
        self.strangers.insert(self.id(name));
    }

    /// Ends a service's process from outside.
    pub(crate) fn crash(&mut self, id: Id) {
        if let Some(process) = self.processes.get(&id) {
            let run = process.run;
            self.coming.push((self.now, id, run, Event::TreeExited(Exit::Signal(9))));
            self.pass(Duration::ZERO);
        }
    }

    pub(crate) fn is_alive(&self, id: Id) -> bool {
        self.processes.contains_key(&id)
    }

    /// The daemon dies, and later another one takes over, with persisted state or without, and with its findings.
    pub(crate) fn change_daemon(&mut self, remembers: bool, absent: Duration) {
        self.change_daemon_that_sees(remembers, absent, |_| true);
    }

    /// Like [`Self::change_daemon`], with a daemon that can examine only some of the services.
    pub(crate) fn change_daemon_that_sees(
        &mut self,
        remembers: bool,
        absent: Duration,
        sees: impl Fn(Id) -> bool,
    ) {
        self.now = self.now.plus(absent);
        self.pass_unseen();
        let plan = Arc::clone(self.fleet.plan());
        let mut next = Fleet::new(Arc::clone(&plan), 7);
        for id in plan.ids() {
            let memory = if remembers {
                self.fleet.machine(id).memory().last_known()
            } else {
                PersistedState::default()
            };
            let found = if sees(id) { self.discover(id) } else { Discovered::Unclear { why: "dark".into() } };
            next.restore(id, memory_for(memory, &found), found, self.now);
        }
        next.resume(self.now);
        // The waiters end with the daemon.
        self.waiting = Waiting::default();
        let looked_at: Vec<Id> = plan.ids().filter(|id| sees(*id)).collect();
        self.watch_ends(&next, &looked_at);
        self.fleet = next;
        // Running checks end with the daemon; a shim repeats its reports.
        self.coming.retain(|(.., event)| matches!(event, Event::TreeExited(_)));
        for (id, process) in &self.processes {
            self.coming.push((self.now, *id, process.run, Event::Launched));
        }
        self.act();
    }

    /// The other services become readable.
    pub(crate) fn see(&mut self) {
        let is_unknown = |id: &Id| self.fleet.machine(*id).state().unknown_because().is_some();
        let unknown: Vec<Id> = self.fleet.plan().ids().filter(is_unknown).collect();
        let before = self.fleet.clone();
        for id in &unknown {
            let found = self.discover(*id);
            let memory = memory_for(before.machine(*id).memory().last_known(), &found);
            self.fleet.restore(*id, memory, found, self.now);
            if let Some(process) = self.processes.get(id) {
                self.coming.push((self.now, *id, process.run, Event::Launched));
            }
        }
        self.fleet.resume(self.now);
        let now = std::mem::replace(&mut self.fleet, before);
        self.watch_ends(&now, &unknown);
        self.fleet = now;
        self.act();
    }

    fn discover(&self, id: Id) -> Discovered {
        match (self.processes.get(&id), self.unseen.get(&id)) {
            (Some(process), _) => Discovered::Running { run: process.run, launched: process.launched },
            (None, Some((run, event))) => Discovered::Exited { run: *run, event: event.clone() },
            (None, None) => Discovered::Absent,
        }
    }

    /// Events without a daemon: runs end, and their shims record the exit statuses.
    fn pass_unseen(&mut self) {
        let (mut due, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.coming).into_iter().partition(|(at, ..)| *at <= self.now);
        self.coming = later;
        due.sort_by_key(|(at, ..)| *at);
        for (_, id, run, event) in due {
            let runs = self.processes.get(&id).is_some_and(|process| process.run == run);
            match event {
                Event::TreeExited(_) if runs => drop(self.processes.remove(&id)),
                Event::LaunchFailed(_) => {}
                _ => continue,
            }
            self.unseen.insert(id, (run, event));
        }
    }

    /// Invariant: the exit status of a run is known, also if no daemon observed it; and a completed one-shot is not run
    /// again.
    fn watch_ends(&mut self, next: &Fleet, seen: &[Id]) {
        let ended: Vec<_> = seen.iter().filter_map(|id| Some((*id, self.unseen.remove(id)?))).collect();
        for (id, (run, event)) in &ended {
            let (Event::TreeExited(exit), machine, before) =
                (event, next.machine(*id), self.fleet.machine(*id))
            else {
                continue;
            };
            assert_eq!(machine.memory().last_exit, Some(*exit), "the end of a run of {id:?} is not known");
            // The definition of the run counts, and the definition may have changed since.
            let is_oneshot = machine.definition().oneshot && before.definition().oneshot;
            let did_its_work = exit.is_success() && is_oneshot && machine.run() == *run;
            if did_its_work && machine.goal() == Goal::Up && before.state().last_known().is_active() {
                assert!(
                    matches!(machine.state(), State::Completed { .. }),
                    "{id:?} is {:?}, to be run twice",
                    machine.state()
                );
            }
        }
    }

    /// The definitions change during runs. A running service without a definition remains, without dependencies.
    pub(crate) fn replan(&mut self, mut services: Vec<Service>) {
        let old = Arc::clone(self.fleet.plan());
        let name = |id: Id| old.service(id).name.clone();
        for id in old.ids().filter(|id| self.fleet.machine(*id).state().is_alive()) {
            if !services.iter().any(|service| service.name == name(id)) {
                services.push(Service { dependencies: Vec::new(), ..Service::clone(old.service(id)) });
            }
        }
        let plan = Arc::new(Plan::compile(Config { services, ..Config::default() }).unwrap());
        self.fleet.replan(Arc::clone(&plan), self.now);
        let new = |id: Id| plan.id(&name(id));
        let manners = |id: Id| old.id(&plan.service(id).name).map(|old| self.manners[old.index()].clone());
        self.manners = plan.ids().map(|id| manners(id).unwrap_or_default()).collect();
        let processes = std::mem::take(&mut self.processes).into_iter();
        self.processes =
            processes.map(|(id, process)| (new(id).expect("what runs stays"), process)).collect();
        let coming = std::mem::take(&mut self.coming).into_iter();
        self.coming = coming.filter_map(|(at, id, run, event)| Some((at, new(id)?, run, event))).collect();
        let unseen = std::mem::take(&mut self.unseen).into_iter();
        self.unseen = unseen.filter_map(|(id, end)| Some((new(id)?, end))).collect();
        let asked = std::mem::take(&mut self.asked).into_iter();
        self.asked = asked.filter_map(|(id, run)| Some((new(id)?, run))).collect();
        self.act();
    }

    /// Ends all faults: processes start quickly, keep running, and end on request; one-shots complete, including
    /// running ones.
    pub(crate) fn calm(&mut self) {
        let work = (Duration::from_millis(30), Exit::Code(0));
        for id in self.fleet.plan().ids().filter(|id| self.fleet.machine(*id).definition().oneshot) {
            if let Some(process) = self.processes.get(&id) {
                self.coming.push((self.now.plus(work.0), id, process.run, Event::TreeExited(work.1)));
            }
        }
        for (manners, id) in self.manners.iter_mut().zip(self.fleet.plan().ids()) {
            let lives_for = self.fleet.plan().service(id).oneshot.then_some(work);
            *manners = Manners { lives_for, ..Manners::default() };
        }
    }

    /// Lets time pass, event by event.
    pub(crate) fn pass(&mut self, span: Duration) {
        let end = self.now.plus(span);
        self.act();
        loop {
            let event = self.coming.iter().map(|(at, ..)| *at).chain(self.fleet.next_deadline()).min();
            let Some(at) = event.filter(|at| *at <= end) else { break };
            self.now = self.now.max(at);
            self.fleet.handle_timeouts(self.now);
            self.act();
            self.deliver();
        }
        self.now = end;
    }

    fn deliver(&mut self) {
        while let Some(at) = self.coming.iter().position(|(at, ..)| *at <= self.now) {
            let (_, id, run, event) = self.coming.remove(at);
            if let Event::TreeExited(_) = event {
                // A process ends once.
                if self.processes.get(&id).is_none_or(|process| process.run != run) {
                    continue;
                }
                self.processes.remove(&id);
                if self.fleet.machine(id).state().unknown_because().is_some() {
                    self.unseen.insert(id, (run, event.clone()));
                }
            }
            let looked = event == Event::PresenceChecked(Presence::Running);
            self.fleet.handle_event(id, run, event, self.now);
            if looked && self.fleet.machine(id).run() > run {
                self.processes.insert(id, Process { run: run + 1, launched: self.now });
            }
            self.act();
        }
    }

    fn act(&mut self) {
        for order in self.fleet.take_effects() {
            match order.effect {
                Effect::Spawn => self.spawn(order),
                Effect::Probe => self.probe(order),
                Effect::CheckPresence => {
                    let there = self.strangers.remove(&order.id);
                    let presence = if there { Presence::Running } else { Presence::Absent };
                    self.coming.push((self.now, order.id, order.run, Event::PresenceChecked(presence)));
                }
                Effect::WatchReadiness => {
                    let ready = self.now.plus(self.manners[order.id.index()].boots_in);
                    self.coming.push((ready, order.id, order.run, Event::ReadyNotified));
                }
                Effect::Terminate => self.terminate(order),
                Effect::Kill => self.end(order, Exit::Signal(9)),
            }
        }
        for id in self.fleet.plan().ids() {
            let alive = self.fleet.machine(id).state().is_alive();
            assert!(alive || !self.is_alive(id), "{id:?} runs, and the fleet has it as inactive");
        }
        self.waiting.answer(&mut self.fleet);
    }

    fn name(&self, id: Id) -> String {
        self.fleet.plan().service(id).name.to_string()
    }

    fn spawn(&mut self, order: ServiceEffect) {
        let ServiceEffect { id, run, .. } = order;
        assert!(!self.is_alive(id), "{} runs twice", self.name(id));
        self.watch_needs(id);
        self.diary.push(format!("+{}", self.name(id)));
        let manners = self.manners[id.index()].clone();
        if manners.refuses {
            self.coming.push((self.now, id, run, Event::LaunchFailed("no such program".into())));
            return;
        }
        self.processes.insert(id, Process { run, launched: self.now });
        self.coming.push((self.now, id, run, Event::Launched));
        if let Some((span, exit)) = manners.lives_for {
            self.coming.push((self.now.plus(span), id, run, Event::TreeExited(exit)));
        }
    }

    /// Invariant: no service is spawned before its conditions hold, in the simulated world and not only in the fleet.
    fn watch_needs(&self, id: Id) {
        for need in self.fleet.plan().dependencies(id) {
            let machine = self.fleet.machine(need.on);
            let completed = matches!(machine.state(), State::Completed { exit, .. } if exit.is_success());
            let holds = match need.condition {
                Condition::Completed => completed,
                _ if completed && machine.definition().oneshot => true,
                Condition::Started => self.is_alive(need.on),
                Condition::Ready | Condition::Healthy => {
                    self.is_alive(need.on) && matches!(machine.state(), State::Ready { .. })
                }
            };
            assert!(
                holds,
                "{} was started before {} was {:?}",
                self.name(id),
                self.name(need.on),
                need.condition
            );
        }
    }

    fn probe(&mut self, order: ServiceEffect) {
        let manners = &self.manners[order.id.index()];
        let up = self.processes.get(&order.id).is_some_and(|process| {
            process.run == order.run && self.now.since(process.launched) >= manners.boots_in && !manners.sick
        });
        let verdict = if up { ProbeResult::Success } else { ProbeResult::Failure };
        self.coming.push((
            self.now.plus(Duration::from_micros(200)),
            order.id,
            order.run,
            Event::Probed(verdict),
        ));
    }

    fn terminate(&mut self, order: ServiceEffect) {
        // Invariant: a service is not stopped before its dependents that stop as well have ended.
        let state = self.fleet.machine(order.id).state();
        let first = self.asked.insert((order.id, order.run));
        let asked = first && matches!(state, State::Stopping { cause: Cause::Requested, .. });
        for dependent in self.fleet.plan().dependents(order.id) {
            let dependent_machine = self.fleet.machine(*dependent);
            // The end of a dependent in an unknown state cannot be detected.
            let is_known = dependent_machine.state().unknown_because().is_none();
            let goes_down =
                is_known && dependent_machine.goal() != Goal::Up && !dependent_machine.is_unmanaged();
            assert!(
                !(asked && goes_down && self.is_alive(*dependent)),
                "{} was stopped before {}",
                self.name(order.id),
                self.name(*dependent)
            );
        }
        self.diary.push(format!("-{}", self.name(order.id)));
        if !self.manners[order.id.index()].ignores_term {
            self.end(order, Exit::Signal(15));
        }
    }

    fn end(&mut self, order: ServiceEffect, exit: Exit) {
        self.coming.push((
            self.now.plus(Duration::from_millis(1)),
            order.id,
            order.run,
            Event::TreeExited(exit),
        ));
    }
}
