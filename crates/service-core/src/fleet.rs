//! [`Fleet`]: all services of a project. It propagates requests and events along the graph, and returns effects.
//!
//! As in dinit, there are two steps: a request first sets goals, and then every unblocked service starts or stops. When
//! a service changes, it and its neighbours become *dirty*, and each dirty service is then reconciled once:
//!
//! - A stopped service with goal up starts if every dependency is satisfied.
//! - A running service with another goal stops if no running dependent must stop first.
//! - If a dependency of a running service is no longer satisfied, `when_lost` decides.
//!
//! A service therefore starts as soon as its own dependencies are satisfied, whatever its level.

mod changed;
mod describe;
mod origins;
pub mod progress;
mod wait;
mod wait_progress;

pub use wait::{Blocker, Progress, WaitCondition};

use crate::config::{Condition, Service};
use crate::health::Health;
use crate::plan::{DependencyEdge, Id, Plan};
use crate::service::{Discovered, Effect, Event, Exit, Goal, Machine, PersistedState, Requester, State};
use crate::time::Moment;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;
use changed::Changed;

/// Every service of a project.
#[derive(Debug, Clone)]
pub struct Fleet {
    plan: Arc<Plan>,
    machines: Vec<Machine>,
    deadlines: BTreeSet<(Moment, Id)>,
    armed: Vec<Option<Moment>>,
    dirty: Vec<Id>,
    changed: Changed,
    orders: Vec<ServiceEffect>,
    random: u64,
    asking: Asking,
}

/// The request that is being carried out.
#[derive(Debug, Clone, Default)]
struct Asking {
    requester: Option<Requester>,
    /// For each included service, the named service that includes it.
    named: BTreeMap<Id, Id>,
}

/// An effect, with its service and run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceEffect {
    /// The service.
    pub id: Id,
    /// Number of its run.
    pub run: u64,
    /// The effect.
    pub effect: Effect,
}

/// Whether a request includes related services: dependencies of a start, dependents of a stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagate {
    /// The request includes related services.
    Yes,
    /// The request includes only the named services.
    No,
}

impl Fleet {
    /// A fleet of inactive services. `seed` determines the jitter of delays.
    pub fn new(plan: Arc<Plan>, seed: u64) -> Self {
        let machines: Vec<Machine> =
            plan.ids().map(|id| Machine::new(Arc::clone(plan.service(id)))).collect();
        let armed = alloc::vec![None; machines.len()];
        let changed = Changed::all(plan.ids());
        let (deadlines, dirty, orders) = Default::default();
        let mut fleet = Self {
            plan,
            machines,
            deadlines,
            armed,
            dirty,
            changed,
            orders,
            random: seed,
            asking: Asking::default(),
        };
        fleet.plan.ids().for_each(|id| fleet.schedule(id));
        fleet
    }

    /// The plan.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// One service.
    pub fn machine(&self, id: Id) -> &Machine {
        &self.machines[id.index()]
    }

    /// When [`Fleet::handle_timeouts`] must be called next.
    pub fn next_deadline(&self) -> Option<Moment> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Returns the effects in order, and empties the list.
    pub fn take_effects(&mut self) -> Vec<ServiceEffect> {
        core::mem::take(&mut self.orders)
    }

    /// The services whose snapshot has changed since the last call, in the order of their ids.
    pub fn take_changed(&mut self) -> Vec<Id> {
        self.changed.drain()
    }

    /// Replaces the plan. A service in both plans keeps its state.
    pub fn replan(&mut self, plan: Arc<Plan>, now: Moment) {
        let mut next = Self::new(plan, self.random);
        for id in next.plan.ids() {
            let definition = next.plan.service(id);
            if let Some(old) = self.plan.id(&definition.name) {
                let mut machine = self.machines[old.index()].clone();
                machine.redefine(definition);
                next.machines[id.index()] = machine;
                next.mark_dirty(id);
            }
        }
        next.reconcile(now);
        *self = next;
    }

    /// Sets the definition of a service's present run. Must precede [`Fleet::restore`].
    pub fn set_running_definition(&mut self, id: Id, definition: Arc<Service>) {
        self.machines[id.index()].set_running_definition(definition);
    }

    /// Updates running services to the definitions of the plan, if only live keys differ.
    pub fn update(&mut self, ids: &[Id], now: Moment) {
        for id in ids {
            self.machines[id.index()].update(self.plan.service(*id), now);
            self.mark_dirty(*id);
        }
        self.reconcile(now);
    }

    /// Makes the present run of a service its last run: the service is not started again.
    pub fn decommission(&mut self, id: Id) {
        self.machines[id.index()].decommission();
        self.mark_dirty(id);
    }

    /// Restores the state of a former daemon. Call [`Fleet::resume`] after the last service.
    pub fn restore(&mut self, id: Id, memory: PersistedState, found: Discovered, now: Moment) {
        let machine = &mut self.machines[id.index()];
        let effects = machine.restore(memory, &found, now);
        let run = machine.run();
        self.orders.extend(effects.into_iter().map(|effect| ServiceEffect { id, run, effect }));
        let is_left = machine.state().is_alive();
        match found {
            Discovered::Exited { run: ended, event } if ended == run => self.step(id, event, now),
            // The record of an earlier run does not have the exit status of this run.
            Discovered::Exited { .. } | Discovered::Absent if is_left => {
                self.step(id, Event::TreeExited(Exit::Unknown), now);
            }
            _ => {
                machine.redefine(self.plan.service(id));
                self.mark_dirty(id);
            }
        }
    }

    /// Reconciles the restored services.
    pub fn resume(&mut self, now: Moment) {
        self.reconcile(now);
    }

    /// The first service in `ids` with a dependency that is neither satisfied nor in `ids`; and this dependency.
    pub fn missing_dependency(&self, ids: &[Id]) -> Option<(Id, Id)> {
        let among: BTreeSet<Id> = ids.iter().copied().collect();
        ids.iter()
            .flat_map(|id| self.plan.dependencies(*id).iter().map(|need| (*id, need)))
            .find(|(_, need)| !among.contains(&need.on) && !self.is_satisfied(**need))
            .map(|(id, need)| (id, need.on))
    }

    /// Requests that these services run. Returns all included services in start order. A completed one-shot counts as
    /// started; a restart runs it again.
    pub fn start(&mut self, ids: &[Id], relatives: Propagate, now: Moment) -> Vec<Id> {
        let wanted = match relatives {
            Propagate::Yes => self.plan.with_dependencies(ids),
            Propagate::No => self.plan.sorted(ids.iter().copied()),
        };
        self.trace(ids, &wanted);
        for id in &wanted {
            if !self.is_done(*id) {
                self.set_goal(*id, Goal::Up);
            }
        }
        self.reconcile(now);
        self.answer(&wanted);
        wanted
    }

    /// Requests that these services stop. Returns all included services in stop order.
    pub fn stop(&mut self, ids: &[Id], relatives: Propagate, now: Moment) -> Vec<Id> {
        let mut wanted = self.stop_set(ids, relatives);
        self.trace(ids, &wanted);
        for id in &wanted {
            self.set_goal(*id, Goal::Down);
        }
        self.reconcile(now);
        self.answer(&wanted);
        wanted.reverse();
        wanted
    }

    /// Requests that these services and their running dependents restart. Inactive services are started with their
    /// dependencies. A completed one-shot runs again only if it is named. Returns all included services in start order.
    pub fn restart(&mut self, ids: &[Id], relatives: Propagate, now: Moment) -> Vec<Id> {
        let (again, wanted) = self.restarted(ids, relatives);
        self.trace(ids, &again);
        for id in &again {
            self.set_goal(*id, Goal::Restart);
        }
        let stops: BTreeSet<Id> = again.iter().copied().collect();
        self.trace(ids, &wanted);
        for id in wanted.iter().filter(|id| !stops.contains(id)) {
            self.set_goal(*id, Goal::Up);
        }
        self.reconcile(now);
        self.answer(&wanted);
        wanted
    }

    /// The services that a restart of these would both stop and start, and all services that it would start; each in
    /// start order.
    pub fn restarted(&self, ids: &[Id], relatives: Propagate) -> (Vec<Id>, Vec<Id>) {
        let mut again = self.stop_set(ids, relatives);
        let named: BTreeSet<Id> = ids.iter().copied().collect();
        again.retain(|id| named.contains(id) || !self.is_done(*id));
        let stops: BTreeSet<Id> = again.iter().copied().collect();
        let mut wanted = match relatives {
            Propagate::Yes => self.plan.with_dependencies(&again),
            Propagate::No => again.clone(),
        };
        wanted.retain(|id| {
            stops.contains(id) || self.machines[id.index()].goal() != Goal::Up || !self.is_up(*id)
        });
        (again, wanted)
    }

    /// Marks requested services as changed, so that a waiter gets a row for an unchanged service, too.
    fn answer(&mut self, wanted: &[Id]) {
        for id in wanted {
            self.changed.insert(*id);
        }
    }

    /// The named services, and their dependents that run or have goal up, in start order.
    fn stop_set(&self, ids: &[Id], relatives: Propagate) -> Vec<Id> {
        match relatives {
            Propagate::No => self.plan.sorted(ids.iter().copied()),
            Propagate::Yes => {
                let mut wanted = self.plan.with_dependents(ids);
                let named: BTreeSet<Id> = ids.iter().copied().collect();
                wanted.retain(|id| {
                    named.contains(id)
                        || self.machine(*id).goal() != Goal::Down
                        || self.machine(*id).state().is_alive()
                });
                wanted
            }
        }
    }

    /// Whether the service is a completed one-shot.
    pub fn is_done(&self, id: Id) -> bool {
        let machine = self.machine(id);
        machine.definition().oneshot
            && machine.goal() == Goal::Up
            && matches!(machine.state(), State::Completed { .. })
    }

    fn is_up(&self, id: Id) -> bool {
        matches!(self.machine(id).state(), State::Ready { .. } | State::Completed { .. })
    }

    fn set_goal(&mut self, id: Id, goal: Goal) {
        if self.machine(id).state().unknown_because().is_some() {
            return;
        }
        self.record_requester(id, goal);
        self.machines[id.index()].set_goal(goal);
        self.mark_dirty(id);
    }

    /// Handles an event of run number `run` of a service. An event of another run is dropped.
    pub fn handle_event(&mut self, id: Id, run: u64, event: Event, now: Moment) {
        if self.machines.get(id.index()).is_some_and(|machine| machine.run() == run) {
            self.step(id, event, now);
            self.reconcile(now);
        }
    }

    /// Handles the timeouts that are due.
    pub fn handle_timeouts(&mut self, now: Moment) {
        let due: Vec<Id> =
            self.deadlines.iter().take_while(|(at, _)| *at <= now).map(|(_, id)| *id).collect();
        // Simultaneous timeouts are all handled before their consequences.
        for id in due {
            self.step(id, Event::TimerElapsed, now);
        }
        self.reconcile(now);
    }

    fn step(&mut self, id: Id, event: Event, now: Moment) {
        let jitter = self.jitter();
        let machine = &mut self.machines[id.index()];
        let effects = machine.step(event, now, jitter);
        let run = machine.run();
        machine.redefine(self.plan.service(id));
        self.orders.extend(effects.into_iter().map(|effect| ServiceEffect { id, run, effect }));
        self.mark_dirty(id);
    }

    /// Marks this service and its neighbours for reconciliation.
    fn mark_dirty(&mut self, id: Id) {
        self.schedule(id);
        self.dirty.push(id);
        self.dirty.extend(self.plan.dependents(id));
        self.dirty.extend(self.plan.dependencies(id).iter().map(|need| need.on));
    }

    fn schedule(&mut self, id: Id) {
        let due = self.machine(id).deadline();
        let armed = core::mem::replace(&mut self.armed[id.index()], due);
        if armed != due {
            armed.map(|at| self.deadlines.remove(&(at, id)));
            due.map(|at| self.deadlines.insert((at, id)));
        }
    }

    fn reconcile(&mut self, now: Moment) {
        let mut looked_at = BTreeSet::new();
        loop {
            // Goals propagate along the graph first. A service therefore notices a lost dependency before the
            // dependency is started again, and waits for dependents that must stop first.
            while let Some(id) = self.dirty.pop() {
                looked_at.insert(id);
                self.changed.insert(id);
                self.apply_lost_dependencies(id);
            }
            // Then one service that may start or stop does so.
            let Some(id) = looked_at.pop_first() else { break };
            if self.can_start(id) || self.can_stop(id) {
                self.step(id, Event::Unblocked, now);
            }
        }
    }

    fn can_start(&self, id: Id) -> bool {
        let machine = self.machine(id);
        machine.goal() == Goal::Up
            && *machine.state() == State::Stopped
            && self.plan.dependencies(id).iter().all(|need| self.is_satisfied(*need))
    }

    fn can_stop(&self, id: Id) -> bool {
        let machine = self.machine(id);
        let holds_back = |dependent: &&Id| {
            let dependent = self.machine(**dependent);
            let is_ours = dependent.state().is_alive() && !dependent.is_unmanaged();
            // The end of a dependent in an unknown state cannot be detected.
            dependent.goal() != Goal::Up && is_ours && dependent.state().unknown_because().is_none()
        };
        machine.goal() != Goal::Up
            && machine.state().is_active()
            && !machine.is_unmanaged()
            && !self.plan.dependents(id).iter().any(|id| holds_back(&id))
    }

    /// Whether the condition of an edge holds now, and the dependency's goal keeps it so.
    pub fn is_satisfied(&self, need: DependencyEdge) -> bool {
        let machine = self.machine(need.on);
        let wanted = machine.goal() == Goal::Up || machine.is_unmanaged();
        match (need.condition, machine.state()) {
            (Condition::Completed, State::Completed { exit, .. }) => exit.is_success(),
            (Condition::Started, State::Starting { .. } | State::Ready { .. })
            | (Condition::Ready, State::Ready { .. }) => wanted,
            (Condition::Healthy, State::Ready { .. }) => wanted && machine.health().is_good(),
            (Condition::Started | Condition::Ready | Condition::Healthy, State::Completed { exit, .. }) => {
                machine.definition().oneshot && exit.is_success()
            }
            _ => false,
        }
    }

    /// Whether the condition of an edge no longer holds. A starting dependency is not lost, because a new daemon checks
    /// its services again, which must not affect dependents. A dependency in an unknown state is not lost either.
    fn is_lost(&self, need: DependencyEdge) -> bool {
        let machine = self.machine(need.on);
        match (machine.state(), machine.goal()) {
            (State::Unknown { .. }, _) => false,
            (State::Launching { .. } | State::Starting { .. }, Goal::Up) => false,
            (State::Ready { .. }, Goal::Up) => {
                need.condition == Condition::Healthy && machine.health() == Health::Unhealthy
            }
            _ => !self.is_satisfied(need),
        }
    }

    /// The first unsatisfied dependency of a waiting service.
    pub fn unmet_dependency(&self, id: Id) -> Option<DependencyEdge> {
        self.plan.dependencies(id).iter().copied().find(|need| !self.is_satisfied(*need))
    }

    /// `SplitMix64`, <https://prng.di.unimi.it/splitmix64.c>: used to spread delays, not for security.
    fn jitter(&mut self) -> u32 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed >> 32) as u32
    }
}
