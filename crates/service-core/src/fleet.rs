//! [`Fleet`]: all services together. It moves wishes and events along the graph and hands out what is to be done.
//!
//! Two steps, as in dinit: a wish first sets goals, then whatever has its way clear moves. Whenever a service changes,
//! it and its neighbours are *touched*; [`Fleet::settle`] looks at each touched service once:
//!
//! - goal up, stopped, every need satisfied: it is cleared to start;
//! - goal not up, running, no dependent on its way down before it: it is cleared to stop;
//! - running, and a need is no longer satisfied: `when_lost` decides.
//!
//! So a service starts the moment its own conditions hold, whatever its level.

mod asking;
mod changed;
mod describe;
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
    touched: Vec<Id>,
    changed: Changed,
    orders: Vec<ServiceEffect>,
    random: u64,
    asking: Asking,
}

/// The order that is being carried out.
#[derive(Debug, Clone, Default)]
struct Asking {
    asker: Option<Requester>,
    /// For each service the one that was named, by which it is meant.
    named: BTreeMap<Id, Id>,
}

/// What is to be done, and for which run of which service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceEffect {
    /// The service.
    pub id: Id,
    /// Number of its run.
    pub run: u64,
    /// What to do.
    pub effect: Effect,
}

/// Whether the relatives of a service come along: dependencies on a start, dependents on a stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagate {
    /// They do.
    Yes,
    /// Only what is named.
    No,
}

impl Fleet {
    /// Everything at rest. `seed` makes the jitter of pauses.
    pub fn new(plan: Arc<Plan>, seed: u64) -> Self {
        let machines: Vec<Machine> =
            plan.ids().map(|id| Machine::new(Arc::clone(plan.service(id)))).collect();
        let armed = alloc::vec![None; machines.len()];
        let changed = Changed::all(plan.ids());
        let (deadlines, touched, orders) = Default::default();
        let mut fleet = Self {
            plan,
            machines,
            deadlines,
            armed,
            touched,
            changed,
            orders,
            random: seed,
            asking: Asking::default(),
        };
        fleet.plan.ids().for_each(|id| fleet.schedule(id));
        fleet
    }

    /// The graph.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// One service.
    pub fn machine(&self, id: Id) -> &Machine {
        &self.machines[id.index()]
    }

    /// When [`Fleet::elapsed`] should be called.
    pub fn next_deadline(&self) -> Option<Moment> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// What is to be done, in order; empties the list.
    pub fn take_effects(&mut self) -> Vec<ServiceEffect> {
        core::mem::take(&mut self.orders)
    }

    /// The services that look different since the last call, in the order of their ids.
    pub fn take_changed(&mut self) -> Vec<Id> {
        self.changed.drain()
    }

    /// A fleet of another plan in which every service that is in both goes on where it is.
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

    /// Tells with which definition the present run of a service was started. Comes before [`Fleet::recall`].
    pub fn set_running_definition(&mut self, id: Id, definition: Arc<Service>) {
        self.machines[id.index()].set_running_definition(definition);
    }

    /// Lets services go on under the definitions of the plan, as far as that can be done under way.
    pub fn update(&mut self, ids: &[Id], now: Moment) {
        for id in ids {
            self.machines[id.index()].update(self.plan.service(*id), now);
            self.mark_dirty(*id);
        }
        self.reconcile(now);
    }

    /// Lets the present run of a service be its last, however it ends.
    pub fn decommission(&mut self, id: Id) {
        self.machines[id.index()].decommission();
        self.mark_dirty(id);
    }

    /// Takes up what a former daemon left. Call [`Fleet::resume`] when every service has been recalled.
    pub fn restore(&mut self, id: Id, memory: PersistedState, found: Discovered, now: Moment) {
        let machine = &mut self.machines[id.index()];
        let effects = machine.restore(memory, &found, now);
        let run = machine.run();
        self.orders.extend(effects.into_iter().map(|effect| ServiceEffect { id, run, effect }));
        let is_left = machine.state().is_alive();
        match found {
            Discovered::Exited { run: ended, event } if ended == run => self.step(id, event, now),
            // The record of an earlier run says nothing of how this one has ended.
            Discovered::Exited { .. } | Discovered::Absent if is_left => {
                self.step(id, Event::TreeExited(Exit::Unknown), now);
            }
            _ => {
                machine.redefine(self.plan.service(id));
                self.mark_dirty(id);
            }
        }
    }

    /// Lets recalled services go on.
    pub fn resume(&mut self, now: Moment) {
        self.reconcile(now);
    }

    /// The first need of one of `ids` that is neither satisfied nor among them.
    pub fn missing_dependency(&self, ids: &[Id]) -> Option<(Id, Id)> {
        let among: BTreeSet<Id> = ids.iter().copied().collect();
        ids.iter()
            .flat_map(|id| self.plan.dependencies(*id).iter().map(|need| (*id, need)))
            .find(|(_, need)| !among.contains(&need.on) && !self.is_satisfied(**need))
            .map(|(id, need)| (id, need.on))
    }

    /// Wishes that these services run. Returns all that the wish is about, in start order. A one-shot that has completed
    /// is as wished; a restart runs it again.
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

    /// Wishes that these services do not run. Returns all that the wish is about, in stop order.
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

    /// Wishes that these services stop and start, and with them their running dependents. Services that do not run are
    /// started, and with them their dependencies. A one-shot that has completed is run again only if it is named. Returns
    /// all that the wish is about, in start order.
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

    /// What a restart of these services would stop and start, and all that it would start; both in start order.
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

    /// Whoever made a wish is answered also about a service that the wish has not changed.
    fn answer(&mut self, wanted: &[Id]) {
        for id in wanted {
            self.changed.insert(*id);
        }
    }

    /// The named services and those dependents that run or want to, in start order.
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

    /// Whether it is a one-shot that has done its work.
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
        self.note_asker(id, goal);
        self.machines[id.index()].set_goal(goal);
        self.mark_dirty(id);
    }

    /// Takes in what happened to run number `run` of a service. A word about another run is dropped.
    pub fn handle_event(&mut self, id: Id, run: u64, event: Event, now: Moment) {
        if self.machines.get(id.index()).is_some_and(|machine| machine.run() == run) {
            self.step(id, event, now);
            self.reconcile(now);
        }
    }

    /// Takes in that it is later now.
    pub fn handle_timeouts(&mut self, now: Moment) {
        let due: Vec<Id> =
            self.deadlines.iter().take_while(|(at, _)| *at <= now).map(|(_, id)| *id).collect();
        // What is due at one time has happened at one time: all of it, before anything follows from it.
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

    /// Something about this service changed: it and its neighbours must be looked at.
    fn mark_dirty(&mut self, id: Id) {
        self.schedule(id);
        self.touched.push(id);
        self.touched.extend(self.plan.dependents(id));
        self.touched.extend(self.plan.dependencies(id).iter().map(|need| need.on));
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
            // First wishes move along the graph, so that a service sees a loss before what it lost is started again,
            // and waits for dependents that are to go down before it.
            while let Some(id) = self.touched.pop() {
                looked_at.insert(id);
                self.changed.insert(id);
                self.apply_lost_dependencies(id);
            }
            // Then one service whose way is clear moves.
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
            // Nobody can tell when one ends that may run or not.
            dependent.goal() != Goal::Up && is_ours && dependent.state().unknown_because().is_none()
        };
        machine.goal() != Goal::Up
            && machine.state().is_active()
            && !machine.is_unmanaged()
            && !self.plan.dependents(id).iter().any(|id| holds_back(&id))
    }

    /// Whether what an edge asks is true now, and meant to stay so.
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

    /// Whether what an edge asks was true and is not any more. A dependency on its way up is not lost: a daemon that
    /// comes back looks at its services anew, and that must disturb nobody. What may run or not is not lost either.
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

    /// The first need of a waiting service that is not satisfied.
    pub fn unmet_dependency(&self, id: Id) -> Option<DependencyEdge> {
        self.plan.dependencies(id).iter().copied().find(|need| !self.is_satisfied(*need))
    }

    /// `SplitMix64`, <https://prng.di.unimi.it/splitmix64.c>: it spreads pauses, it protects nothing.
    fn jitter(&mut self) -> u32 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed >> 32) as u32
    }
}
