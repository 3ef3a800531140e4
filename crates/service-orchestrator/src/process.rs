//! The daemon's side of a shim: launching one, following it, taking one up again.
//!
//! One task follows one run. It ends when the shim has: either with a record that says how the run ended, or without
//! one, and then what the shim kept is ended too, what its service had still said is written down, and the exit is
//! unknown.

mod cgroup;
mod launch;
pub(crate) mod limits;
pub(crate) mod orphans;
mod surroundings;
mod talk;
pub(crate) mod template;

pub(crate) use launch::{environment, identity};
pub(crate) use surroundings::{RESERVED, surroundings};
pub(crate) use talk::Talk;

use crate::orchestrator::{Message, Report};
use crate::probe::exec;
use crate::world::World;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use service_core::config::{KillMode, Service};
use service_core::service::{Event, Exit};
use service_core::{Moment, Name};
use service_shim::desk::counted;
use service_shim::{Files, Heritage, LogLimits, Missing, Order, PROTOCOL_VERSION, Phase, Process, Record};
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// How long a shim may be silent after its launch before it is seen to that nobody has stopped its template.
const SILENCE: Duration = Duration::from_secs(1);
/// Until a shim that lives and cannot be reached is tried again.
const REACH_AGAIN: Duration = Duration::from_millis(200);
/// How often a shim is launched that ends before it has begun anything.
const LAUNCHES: usize = 3;
/// The first version of shims that lend their [`Heritage`].
const LENDS: u32 = 2;
/// The first version of those that look for the line of `ready.log`, and signal the first process alone.
const HEARS: u32 = 3;

/// Reaches the shim of one run.
#[derive(Debug, Clone)]
pub(crate) struct Keeper {
    orders: UnboundedSender<Order>,
    /// The shim itself, once it has said a word.
    direct: Arc<OnceLock<Arc<OwnedWriteHalf>>>,
    /// The version of the shim.
    version: u32,
}

impl Keeper {
    /// Whether it looks for the line of `ready.log` by itself.
    pub(crate) fn hears_log(&self) -> bool {
        self.version >= HEARS
    }

    /// Sends a signal to the whole tree. A shim that is gone has no tree.
    pub(crate) fn signal(&self, signal: i32) {
        self.order(Order::Signal(signal));
    }

    /// Asks the service to end with this signal.
    pub(crate) fn ask_to_end(&self, definition: &Service) {
        let signal = definition.stop_signal;
        // Those of former versions know no other way than to signal all.
        self.order(match definition.kill_mode {
            KillMode::Main if self.version >= HEARS => Order::SignalFirst(signal),
            KillMode::Main | KillMode::Tree => Order::Signal(signal),
        });
    }

    fn order(&self, order: Order) {
        // A hundred that are stopped at once all hear it before the first of them has ended.
        if self.direct.get().is_none_or(|shim| try_send((**shim).as_ref(), order).is_err()) {
            let _ = self.orders.send(order);
        }
    }
}

/// Starts a run.
pub(crate) fn launch(world: World, definition: Arc<Service>, run: u64, missing: Missing) -> Keeper {
    let (keeper, mut orders) = keeper(PROTOCOL_VERSION);
    let direct = Arc::clone(&keeper.direct);
    tokio::spawn(async move {
        let life = Life { name: definition.name.clone(), run, log: launch::log_limits(&definition), world };
        for _ in 0..LAUNCHES {
            match begin(&life.world, &definition, run, missing).await {
                Ok((talk, heritage)) => {
                    if life.follow(talk, Some(heritage), &mut orders, &direct).await == End::Told {
                        return;
                    }
                }
                Err(message) => {
                    limits::leave(&life.world.places, &life.name, run).await;
                    return life.report(Event::Refused(message));
                }
            }
        }
        life.report(Event::Refused("its keeper ends before it has said a word".to_owned()));
    });
    keeper
}

/// One that reaches nobody yet, and where its orders come.
fn keeper(version: u32) -> (Keeper, UnboundedReceiver<Order>) {
    let (orders, receiver) = unbounded_channel();
    (Keeper { orders, direct: Arc::default(), version }, receiver)
}

/// Takes up a run whose shim lives, and goes on with the talk in which it was found, if there was one.
pub(crate) fn adopt(world: World, definition: &Service, record: Record, talk: Option<Talk>) -> Keeper {
    let (keeper, mut orders) = keeper(record.version);
    let direct = Arc::clone(&keeper.direct);
    let life =
        Life { name: definition.name.clone(), run: record.run, log: launch::log_limits(definition), world };
    tokio::spawn(async move {
        let talk = match talk {
            Some(talk) => Some(talk),
            None => life.reach(record.shim, &mut orders).await,
        };
        match talk {
            Some(mut talk) => {
                let heritage =
                    if record.version >= LENDS { borrow(&life.name, &mut talk).await } else { None };
                life.follow(talk, heritage, &mut orders, &direct).await;
            }
            None => drop(life.conclude(Some(record), None).await), // it has ended just now
        }
    });
    keeper
}

async fn borrow(name: &Name, talk: &mut Talk) -> Option<Heritage> {
    let lent = talk.borrow().await;
    lent.inspect_err(|error| tracing::warn!(service = %name, %error, "its shim does not lend its output"))
        .ok()
}

/// What the shim of a run that goes on has to say, and how to go on talking with it.
pub(crate) async fn ask(files: &Files) -> io::Result<(Record, Talk)> {
    let mut talk = Talk::with(files)?;
    Ok((talk.record().await?, talk))
}

async fn begin(
    world: &World,
    definition: &Service,
    run: u64,
    missing: Missing,
) -> Result<(Talk, Heritage), String> {
    let mut launch = launch::compose(&world.places, definition, run)?;
    launch.missing = missing;
    let cannot = |error: io::Error| format!("its keeper cannot be started: {error}");
    let mut line = serde_json::to_vec(&launch).map_err(|error| cannot(error.into()))?;
    line.push(b'\n');
    let (mut stream, heritage) = world.templates.shim().await.map_err(cannot)?;
    // A shim that is gone shows when it is listened to.
    let _ = stream.write_all(&line).await;
    Ok((Talk::over(stream), heritage))
}

/// One run, followed.
struct Life {
    world: World,
    name: Name,
    run: u64,
    log: LogLimits,
}

/// What became known of the end of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It was reported.
    Told,
    /// There was no run: the shim ended before it began one.
    Stillborn,
}

impl Life {
    fn report(&self, event: Event) {
        self.world.report(&self.name, self.run, event);
    }

    fn learned(&self, report: Report) {
        let letter = Message::Learned { name: self.name.clone(), run: self.run, report };
        // When the owner of the fleet is gone nobody needs to know.
        let _ = self.world.mailbox.send(letter);
    }

    /// A connection to a shim that lives. While it cannot be reached, because its socket's file was removed or no descriptor is
    /// left, it is tried again, and told the little that a process can be told by signals.
    async fn reach(&self, shim: Process, orders: &mut UnboundedReceiver<Order>) -> Option<Talk> {
        let files = self.world.places.files(&self.name);
        let mut complained = false;
        loop {
            let error = match Talk::with(&files) {
                Ok(talk) => return Some(talk),
                Err(error) => error,
            };
            if !shim.is_alive() {
                return None;
            }
            if !std::mem::replace(&mut complained, true) {
                tracing::warn!(service = %self.name, %error, "cannot reach its shim, which lives; trying again");
            }
            tokio::select! {
                () = tokio::time::sleep(REACH_AGAIN) => {}
                Some(order) = orders.recv() => by_signal(shim, order),
            }
        }
    }

    /// Passes on what the shim says until it ends.
    async fn follow(
        &self,
        talk: Talk,
        heritage: Option<Heritage>,
        orders: &mut UnboundedReceiver<Order>,
        direct: &OnceLock<Arc<OwnedWriteHalf>>,
    ) -> End {
        let (mut lines, writer) = talk.split();
        let writer = Arc::new(writer);
        let mut last = None;
        if let Some(heritage) = &heritage {
            self.learned(Report::Desk(Arc::clone(&heritage.desk)));
        }
        let silence = tokio::time::sleep(SILENCE);
        tokio::pin!(silence);
        loop {
            tokio::select! {
                line = lines.next_line() => match line {
                    Ok(Some(line)) => {
                        last = self.note(&line).or(last);
                        let _ = direct.set(Arc::clone(&writer)); // the first word only
                    }
                    Ok(None) | Err(_) => break,
                },
                // Before its first word it is not known whether this shim will ever hear one.
                Some(order) = orders.recv(), if last.is_some() => send(&writer, order).await,
                () = &mut silence, if last.is_none() && !silence.is_elapsed() => self.world.templates.wake(),
            }
        }
        self.conclude(last, heritage).await
    }

    /// Reports one record, unless it says how the run ended: that is for [`Life::conclude`].
    fn note(&self, line: &str) -> Option<Record> {
        let record: Record = match serde_json::from_str(line) {
            Ok(record) => record,
            Err(error) => {
                tracing::warn!(service = %self.name, %error, "cannot understand its shim");
                return None;
            }
        };
        // Before an end, whose error speaks of it.
        if record.dropped > 0 {
            self.learned(Report::Missing(record.missing()));
        }
        if let Some(left) = &record.left {
            self.learned(Report::Left(left.clone()));
        }
        match &record.phase {
            Phase::Running { leader, .. } => {
                self.learned(Report::Processes { leader: Some(*leader), keeper: record.shim });
                self.report(Event::Launched);
            }
            Phase::Exited { exit, .. } => {
                self.learned(Report::Processes { leader: None, keeper: record.shim });
                self.report(Event::Exited(self.exit(*exit)));
            }
            Phase::Gone { .. } | Phase::Refused { .. } => self.end(&record.phase),
        }
        if record.said != service_shim::Said::default() {
            self.learned(Report::Said(record.said.status.clone()));
        }
        if let Some(to) = record.said.extended_to {
            self.report(Event::Extended(Moment::from_nanos(to)));
        }
        if record.notified {
            self.report(Event::Announced);
        }
        Some(record)
    }

    fn end(&self, phase: &Phase) {
        match phase {
            Phase::Gone { exit, .. } => self.report(Event::Gone(self.exit(*exit))),
            Phase::Refused { message, .. } => self.report(Event::Refused(message.clone())),
            Phase::Running { .. } | Phase::Exited { .. } => {}
        }
    }

    /// How the service ended, and whether a limit had to do with it.
    fn exit(&self, exit: service_shim::Exit) -> Exit {
        limits::exit(&self.world.places, &self.name, self.run, exit)
    }

    /// The shim has ended.
    async fn conclude(&self, last: Option<Record>, heritage: Option<Heritage>) -> End {
        let end = self.find_out(last, heritage).await;
        limits::leave(&self.world.places, &self.name, self.run).await;
        end
    }

    /// The record of a shim that has ended says how the run did, or else nobody knows.
    async fn find_out(&self, last: Option<Record>, heritage: Option<Heritage>) -> End {
        let is_end = |record: &Record| matches!(record.phase, Phase::Gone { .. } | Phase::Refused { .. });
        if last.as_ref().is_some_and(is_end) {
            return End::Told;
        }
        let places = &self.world.places;
        let on_disk = places.files(&self.name).read_record().ok().flatten();
        let record = on_disk.filter(|record| record.run == self.run).or(last);
        let (leader, exit) = match record.as_ref().map(|record| &record.phase) {
            Some(phase @ (Phase::Gone { .. } | Phase::Refused { .. })) => {
                self.end(phase);
                return End::Told;
            }
            Some(Phase::Running { leader, .. }) => (Some(*leader), Exit::Unknown),
            Some(Phase::Exited { leader, exit, .. }) => (Some(*leader), self.exit(*exit)),
            None => (None, Exit::Unknown),
        };
        // A shim says on its desk whose output lies there just before it begins the service. Killed before that, it has begun
        // nothing; after that it may have, and nothing is begun twice.
        let may_have_begun = heritage.as_ref().is_some_and(|heritage| counted(&heritage.desk).is_some());
        limits::kill(places, &self.name, self.run);
        orphans::end(places, &self.name, self.run, leader).await;
        if let Some(heritage) = heritage {
            self.write_down(heritage, record.as_ref().map(Record::missing).unwrap_or_default()).await;
        }
        if record.is_none() && !may_have_begun {
            return End::Stillborn;
        }
        self.report(Event::Gone(exit));
        End::Told
    }

    /// Brings into the log what a dead shim had not.
    async fn write_down(&self, heritage: Heritage, missing: Missing) {
        let (files, limits) = (self.world.places.files(&self.name), self.log);
        match tokio::task::spawn_blocking(move || heritage.write_down(&files, limits, missing)).await {
            Ok(Ok(now)) if now == missing => {}
            Ok(Ok(now)) => self.learned(Report::Missing(now)),
            Ok(Err(error)) => {
                tracing::error!(service = %self.name, %error, "cannot write down the last words of a service");
            }
            Err(error) => tracing::error!(service = %self.name, %error, "writing down its last words failed"),
        }
    }
}

/// What `order` asks, as far as it can be had without a word: a shim passes a `SIGTERM` on, and takes its service along when
/// it is killed.
fn by_signal(shim: Process, order: Order) {
    let signal = match order {
        Order::Signal(nix::libc::SIGKILL) => Signal::SIGKILL,
        Order::Signal(_) | Order::SignalFirst(_) => Signal::SIGTERM,
        Order::Lend => return,
    };
    if let Ok(pid) = shim.pid.try_into() {
        let _ = kill(Pid::from_raw(pid), signal);
    }
}

/// A shim that is gone shows at the other half of the stream.
async fn send(writer: &OwnedWriteHalf, order: Order) {
    while try_send(writer.as_ref(), order).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
        if writer.writable().await.is_err() {
            return;
        }
    }
}

/// An order is so short that it is sent whole or not at all.
fn try_send(shim: &UnixStream, order: Order) -> io::Result<()> {
    let mut line = serde_json::to_vec(&order)?;
    line.push(b'\n');
    shim.try_write(&line).map(drop)
}

/// Asks a service of ours to end with its own stop command; if that fails, with its stop signal.
pub(crate) async fn stop_by_command(world: World, definition: Arc<Service>, keeper: Keeper, run: u64) {
    let Some(text) = &definition.stop_command else { return };
    let ended = exec::run(&world, &definition, text, definition.stop_timeout).await.map(drop);
    let (name, ended) = (definition.name.clone(), ended.map_err(|said| said.told(&definition.env)));
    if let Err(message) = &ended {
        tracing::warn!(service = %name, message, "its stop command failed; sending its stop signal");
        keeper.ask_to_end(&definition);
    }
    let report = Report::StopCommand(ended);
    let _ = world.mailbox.send(Message::Learned { name, run, report });
}
