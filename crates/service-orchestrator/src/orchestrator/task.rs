//! The owner: one task that holds the fleet. Letters come in, orders go out, the board is published after each turn.

use super::lookout::Lookout;
use super::message::{Message, Report};
use super::waiters::Waiter;
use super::wishes::Wishes;
use super::{ran, recall, stops};
use crate::board::{Board, Entry};
use crate::host::clock;
use crate::host::time_slice::TimeSlice;
use crate::journal::Journal;
use crate::manager::Told;
use crate::process::Keeper;
use crate::store::Store;
use crate::tally::Tally;
use crate::world::World;

use service_api::redact;
use service_core::Config;
use service_core::config::Service;
use service_core::fleet::Fleet;
use service_core::health::Health;
use service_core::service::{Event, Goal, Machine, State};
use service_core::{Id, Moment, Name, Plan};
use service_shim::{DroppedLines, Files};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// So many orders are prepared together.
const BATCH_COUNT: usize = 64;
/// How long the disk may take when the daemon ends.
const LAST_SYNC: Duration = Duration::from_secs(5);

/// Everything the owner owns.
pub(super) struct Task {
    pub(super) world: World,
    pub(super) fleet: Fleet,
    pub(super) entries: Vec<Arc<Entry>>,
    pub(super) keepers: BTreeMap<Name, Keeper>,
    /// Tasks that wait for a sign that a service is ready, in its log or on its port; ended with the run.
    pub(super) listeners: BTreeMap<Name, AbortHandle>,
    /// The last call of a manager for each service.
    pub(super) calls: BTreeMap<Name, AbortHandle>,
    /// What a manager has restarted in one go, until the order to start it comes.
    pub(super) restarted: BTreeMap<Name, Told>,
    pub(super) waiters: Vec<Waiter>,
    pub(super) wishes: Wishes,
    lookouts: Vec<Lookout>,
    /// Services that run although the plan does not define them any more; they go when they have stopped.
    pub(super) left_over: BTreeSet<Name>,
    /// The definition of the last run of each service.
    pub(super) ran: BTreeMap<Name, Arc<Service>>,
    /// Those of which that could not be written down.
    pub(super) unkept: BTreeSet<Name>,
    /// The services that were defined when the file was last applied.
    pub(super) known: BTreeSet<Name>,
    /// Of services that have just begun to wait.
    pub(super) ahead: Vec<Files>,
    /// Those of which a manager has just complained.
    complained: BTreeSet<Id>,
    /// A left-over has stopped.
    has_gone: bool,
    /// How many applies are on their way: what one has stopped it may bring back.
    pub(super) walks: usize,
    pub(super) slice: TimeSlice,
    store: Store,
    pub(super) journal: Journal,
    /// On whose word definitions change.
    pub(super) by: Option<String>,
    board: watch::Sender<Arc<Board>>,
}

/// Whether the owner goes on after a letter.
enum Turn {
    Next,
    /// What was learned can be shown together with what comes next.
    Learned,
    Last,
}

/// Takes up what is in the state directory and starts the owner; the board is filled when this returns.
///
/// # Errors
/// Why nobody knows what is in the state directory.
pub(super) async fn run(
    world: World,
    plan: Plan,
    letters: UnboundedReceiver<Message>,
) -> std::io::Result<watch::Receiver<Arc<Board>>> {
    let (store, memories) = Store::open(&world.paths)?;
    let journal = Journal::open(&world.paths, store.last_event());
    let known = ran::known(&world.paths, &plan);
    let found = recall::look(&world.paths, plan, &memories).await;
    let heard = recall::hear(&world, &found, &memories).await;
    let fleet = Fleet::new(Arc::new(found.plan), clock::now().as_nanos());
    let entries = fleet.plan().ids().map(|id| Arc::new(Entry::new(&fleet, id))).collect::<Vec<_>>();
    let board = Board { plan: Arc::clone(fleet.plan()), entries: entries.clone() };
    let (board, reader) = watch::channel(Arc::new(board));
    let (keepers, listeners, calls, restarted) = Default::default();
    let (waiters, lookouts, ran, unkept, ahead) = Default::default();
    let left_over = found.left_over;
    let slice = TimeSlice::new(Arc::clone(&world.turns));
    let mut task = Task {
        world,
        fleet,
        entries,
        keepers,
        listeners,
        calls,
        restarted,
        waiters,
        wishes: Wishes::default(),
        lookouts,
        left_over,
        ran,
        unkept,
        known,
        ahead,
        complained: BTreeSet::new(),
        has_gone: false,
        walks: 0,
        slice,
        store,
        journal,
        by: None,
        board,
    };
    task.note_definitions();
    task.note_unasked();
    let known = task.recall(memories, found.runs, heard);
    task.after().await;
    for (name, run, report) in known {
        task.learned(&name, run, report);
    }
    task.after().await;
    tokio::spawn(found.unclear.find_out(task.world.clone()));
    tokio::spawn(task.work(letters));
    Ok(reader)
}

impl Entry {
    pub(super) fn new(fleet: &Fleet, id: Id) -> Self {
        Self {
            snapshot: fleet.snapshot(id),
            definition: Arc::clone(fleet.machine(id).definition()),
            since: clock::now(),
            pid: None,
            keeper: None,
            check: None,
            complaint: None,
            out_of_reach: None,
            ending: None,
            told: Told::default(),
            missing: DroppedLines::default(),
            said: None,
            left: None,
            stop: None,
            stopped_by: None,
            tally: Tally::default(),
            unasked: false,
        }
    }
}

impl Task {
    async fn work(mut self, mut letters: UnboundedReceiver<Message>) {
        loop {
            let turn = tokio::select! {
                letter = letters.recv() => {
                    self.slice.begin();
                    match letter {
                        Some(letter) => self.receive(letter).await,
                        None => Turn::Last,
                    }
                }
                () = clock::sleep_until(self.next_deadline()) => self.wake(),
            };
            if matches!(turn, Turn::Learned) && !letters.is_empty() {
                self.slice.end();
                continue;
            }
            self.after().await;
            self.let_go().await;
            self.slice.end();
            if let Turn::Last = turn {
                break;
            }
        }
        self.store.flush(&self.fleet, &mut self.slice).await;
    }

    fn next_deadline(&self) -> Option<Moment> {
        let patience = self.waiters.iter().filter_map(Waiter::deadline);
        let limits = self.lookouts.iter().filter_map(Lookout::deadline);
        let files = self.store.due().into_iter().chain(self.journal.due());
        self.fleet.next_deadline().into_iter().chain(patience).chain(limits).chain(files).min()
    }

    fn wake(&mut self) -> Turn {
        self.slice.begin();
        self.fleet.elapsed(clock::now());
        Turn::Next
    }

    async fn receive(&mut self, letter: Message) -> Turn {
        match letter {
            Message::Wish { wish, rows, reply } => {
                let _ = reply.send(self.wish(&wish, rows));
            }
            Message::Foresee { wish, reply } => {
                let _ = reply.send(self.foresee(&wish));
            }
            Message::Watch { watch, rows, reply } => {
                let lookout = Lookout::new(&watch, self.fleet.plan(), rows, clock::now());
                let _ = reply.send(lookout.map(|lookout| self.lookouts.push(lookout)));
            }
            Message::Happened { name, run, event } => self.happened(&name, run, told(event)),
            Message::Restarted { name, run, told } => self.restarted(&name, run, told),
            Message::Looked { name, run, found } => self.looked(&name, run, found),
            Message::Learned { name, run, report } => {
                self.learned(&name, run, report);
                return Turn::Learned;
            }
            Message::Found { name, trace } => self.found(&name, *trace).await,
            Message::Accepted => self.note_unasked(),
            Message::Replan { plan, by, reply } => {
                self.by = by;
                self.replan(plan).await;
                let _ = reply.send(());
            }
            Message::GoBack { before, by, reply } => {
                self.by = by;
                let _ = reply.send(self.go_back(&before).await);
            }
            Message::Present { reply } => {
                let _ = reply.send(self.presence());
            }
            Message::Walk { begins, reply } => {
                self.walks = if begins { self.walks + 1 } else { self.walks.saturating_sub(1) };
                if !begins {
                    self.let_go().await;
                }
                let _ = reply.send(());
            }
            Message::Applied { reply } => {
                self.applied();
                let _ = reply.send(());
            }
            Message::Redefine { added, removed, by, reply } => {
                self.by = by;
                let _ = reply.send(self.redefine(added, removed).await);
            }
            Message::Read { names, reply } => {
                let _ = reply.send(self.read(&names));
            }
            Message::Examine { reply } => {
                let _ = reply.send(self.journal.trouble().map(str::to_owned));
            }
            Message::Finish { reply } => {
                self.journal.end(clock::now());
                let board = Arc::clone(&self.board.borrow());
                self.waiters.drain(..).for_each(|mut waiter| waiter.abandon(&board, clock::now()));
                self.lookouts.drain(..).for_each(|mut lookout| lookout.abandon(&board, clock::now()));
                self.store.flush(&self.fleet, &mut self.slice).await;
                self.world.paths.disk.finish(LAST_SYNC);
                let _ = reply.send(());
                return Turn::Last;
            }
        }
        Turn::Next
    }

    /// What every turn ends with: remember, act, show, answer. Where much has changed others have their turn in between, while no
    /// letter is taken.
    async fn after(&mut self) {
        let now = clock::now();
        let changed = self.fleet.take_changed();
        // Whoever was answered that there is another plan finds it.
        if !Arc::ptr_eq(&self.board.borrow().plan, self.fleet.plan()) {
            self.publish();
        }
        for id in &changed {
            self.refresh(*id);
            self.slice.yield_if_spent().await;
        }
        self.store.write_if_due(&self.fleet, self.journal.last(), now, &mut self.slice).await;
        self.slice.yield_if_spent().await;
        // Before a run begins, how the one before has ended is written down; and before anybody is told.
        self.journal.commit(now);
        // Nobody has a turn between these two: who hears of an event finds it in the picture.
        let board = self.publish();
        let orders = self.fleet.take_orders();
        for orders in orders.chunks(BATCH_COUNT) {
            self.keep_begun(orders).await;
            for order in orders {
                self.slice.yield_if_spent().await;
                self.perform(*order);
            }
        }
        self.slice.yield_if_spent().await;
        if !changed.is_empty() {
            self.prepare();
        }
        self.answer(&changed, &board, now).await;
    }

    /// Answers whoever waits for one of these, or for what follows from it.
    async fn answer(&mut self, changed: &[Id], board: &Board, now: Moment) {
        let mut concerned = self.fleet.concerned(changed);
        concerned.extend(std::mem::take(&mut self.complained));
        self.slice.yield_if_spent().await;
        let mut prospects = self.fleet.prospects();
        for mut waiter in std::mem::take(&mut self.waiters) {
            if waiter.look(&mut prospects, board, now, &concerned, &mut self.slice).await {
                self.waiters.push(waiter);
            }
        }
        for mut lookout in std::mem::take(&mut self.lookouts) {
            if lookout.look(&mut prospects, board, now, &concerned, &mut self.slice).await {
                self.lookouts.push(lookout);
            }
        }
    }

    /// Forgets left-overs that have stopped; all at once, where more are about to, since each time takes as long as there are
    /// services.
    async fn let_go(&mut self) {
        let is_ending = |name: &Name| {
            let machine = self.fleet.plan().id(name).map(|id| self.fleet.machine(id));
            machine.is_some_and(|machine| machine.goal() == Goal::Down && machine.state().is_alive())
        };
        if !self.has_gone || self.walks > 0 || self.left_over.iter().any(is_ending) {
            return;
        }
        let plan = self.fleet.plan();
        let defined =
            plan.ids().map(|id| plan.service(id)).filter(|service| !self.left_over.contains(&service.name));
        let services = defined.map(|service| Service::clone(service)).collect();
        self.slice.yield_if_spent().await;
        match Plan::compile(Config { settings: plan.settings().clone(), services }) {
            Ok(plan) => self.replan(plan).await,
            Err(errors) => tracing::error!(?errors, "cannot forget services that are no longer defined"),
        }
        self.after().await;
    }

    fn publish(&self) -> Arc<Board> {
        let board = Arc::new(Board { plan: Arc::clone(self.fleet.plan()), entries: self.entries.clone() });
        self.board.send_replace(Arc::clone(&board));
        board
    }

    /// Brings one entry up to date with the fleet.
    pub(super) fn refresh(&mut self, id: Id) {
        let snapshot = self.fleet.snapshot(id);
        let entry = Arc::make_mut(&mut self.entries[id.index()]);
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
        if snapshot.waits_for.is_some() && entry.snapshot.waits_for.is_none() {
            self.ahead.push(self.world.paths.files(name));
        }
        if !snapshot.state.is_alive() {
            self.has_gone |= self.left_over.contains(name);
            (entry.pid, entry.keeper, entry.told) = (None, None, Told::default());
            entry.tally.settle();
            self.keepers.remove(name);
            if let Some(listener) = self.listeners.remove(name) {
                listener.abort();
            }
        }
        self.store.changed(&entry.snapshot, &snapshot, clock::now());
        entry.tally.changed(&entry.snapshot, &snapshot);
        entry.snapshot = snapshot;
        entry.definition = Arc::clone(self.fleet.machine(id).definition());
        self.note(id);
    }

    pub(super) fn happened(&mut self, name: &Name, run: u64, event: Event) {
        if let Some(id) = self.fleet.plan().id(name) {
            self.fleet.happened(id, run, event, clock::now());
        }
    }

    pub(super) fn learned(&mut self, name: &Name, run: u64, report: Report) {
        let Some(id) = self.fleet.plan().id(name).filter(|id| self.fleet.machine(*id).run() == run) else {
            return;
        };
        let entry = Arc::make_mut(&mut self.entries[id.index()]);
        match report {
            Report::Processes { leader, keeper } => {
                entry.pid = leader.map(|leader| leader.pid);
                entry.keeper = Some(keeper.pid);
            }
            Report::Told(told) => {
                entry.pid = told.pid;
                entry.told = told;
            }
            Report::Checked(check) => {
                let deciding = entry.snapshot.health == Health::Pending;
                self.journal.checked(name, run, &check, deciding);
                entry.tally.checked(&check);
                entry.check = Some(Arc::new(check));
            }
            Report::Left(left) => entry.left = Some(stops::in_words(&left)),
            Report::OutOfReach(why) => entry.out_of_reach = why,
            Report::StopCommand(ended) => self.stop_command_ended(id, ended),
            Report::Missing(missing) => entry.missing = missing,
            Report::Said(said) => entry.said = said,
            Report::Desk(desk) => entry.tally.counts_at(desk),
            Report::Complaint(complaint) => {
                let env = &entry.definition.env;
                entry.complaint = complaint.map(|complaint| redact::without(&complaint, env));
                self.complained.insert(id);
                if let Some(message) = entry.complaint.clone() {
                    let board = Arc::clone(&self.board.borrow());
                    self.waiters
                        .iter_mut()
                        .for_each(|waiter| waiter.refused(name, &message, &board, clock::now()));
                }
            }
        }
    }

    pub(super) fn is_left_over(&self, id: Id) -> bool {
        self.left_over.contains(&self.fleet.plan().service(id).name)
    }

    /// Changes the plan. What runs and is no longer defined stays, without dependencies, until it is stopped. Others have their
    /// turn in between, and see the plan before until all of this one is in place.
    pub(super) async fn replan(&mut self, plan: Plan) {
        let machines = self.fleet.plan().ids().map(|id| self.fleet.machine(id));
        // What others run here is theirs.
        let is_ours = |machine: &&Machine| machine.state().is_alive() && !machine.is_left_alone();
        let names = machines.filter(is_ours).map(|machine| &machine.definition().name);
        let left_over = names.filter(|name| plan.id(name).is_none()).cloned().collect();
        let defined_again = std::mem::replace(&mut self.left_over, left_over);
        self.has_gone = false;
        let plan = Arc::new(recall::with_left_overs(plan, &self.left_over));
        self.slice.yield_if_spent().await;
        let old: BTreeMap<Name, Arc<Entry>> =
            self.entries.drain(..).map(|entry| (entry.definition.name.clone(), entry)).collect();
        self.complained.clear();
        self.store.planned_anew();
        self.note_changes(&plan);
        self.slice.yield_if_spent().await;
        self.fleet.replan(plan, clock::now());
        self.slice.yield_if_spent().await;
        self.note_definitions();
        self.slice.yield_if_spent().await;
        for id in self.left_over.iter().filter_map(|name| self.fleet.plan().id(name)).collect::<Vec<_>>() {
            self.fleet.retire(id);
        }
        self.fleet.resume(clock::now());
        for name in defined_again.difference(&self.left_over) {
            // They were to end for good, and are not any more.
            let id = self.fleet.plan().id(name).filter(|id| self.fleet.machine(*id).state().is_alive());
            if let (Some(id), Some(definition)) = (id, self.ran.get(name)) {
                self.fleet.remember(id, Arc::clone(definition));
            }
        }
        self.number_runs(&old);
        let fresh = |id: Id| {
            let known = old.get(&self.fleet.plan().service(id).name).map(Arc::clone);
            known.unwrap_or_else(|| Arc::new(Entry::new(&self.fleet, id)))
        };
        self.entries = self.fleet.plan().ids().map(fresh).collect();
        let plan = Arc::clone(self.fleet.plan());
        for id in plan.ids() {
            self.slice.yield_if_spent().await;
            self.refresh(id);
        }
        self.slice.yield_if_spent().await;
        self.note_unasked();
        let board = Board { plan: Arc::clone(self.fleet.plan()), entries: self.entries.clone() };
        self.waiters.iter_mut().for_each(|waiter| waiter.replan(&board, clock::now()));
        self.lookouts.iter_mut().for_each(|lookout| lookout.replan(&board, clock::now()));
    }
}

/// What may be written down and told of it: why something cannot be launched may speak of its command line.
fn told(event: Event) -> Event {
    match event {
        Event::Refused(why) => Event::Refused(redact(&why).into_owned()),
        event => event,
    }
}
