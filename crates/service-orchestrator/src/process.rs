//! The daemon's side of a shim: launching one, following it, taking one up again.
//!
//! One task follows one run. It ends when the shim has: either with a record that says how the run ended, or without
//! one, and then what the shim kept is ended too and the exit is unknown.

mod cgroup;
mod launch;
pub(crate) mod limits;
pub(crate) mod orphans;

pub(crate) use launch::{environment, identity};

use crate::orchestrator::{Message, Report};
use crate::probe::exec;
use crate::world::World;
use service_core::Name;
use service_core::config::Service;
use service_core::service::{Event, Exit};
use service_shim::{Files, Order, Phase, Record};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// How long a shim may take to say its record to somebody who connects.
const ANSWER: Duration = Duration::from_millis(500);

/// Reaches the shim of one run.
#[derive(Debug, Clone)]
pub(crate) struct Keeper {
    orders: UnboundedSender<Order>,
}

impl Keeper {
    /// Sends a signal to the whole tree. A shim that is gone has no tree.
    pub(crate) fn signal(&self, signal: i32) {
        let _ = self.orders.send(Order::Signal(signal));
    }
}

/// Starts a run.
pub(crate) fn launch(world: World, definition: Arc<Service>, run: u64) -> Keeper {
    let (orders, receiver) = unbounded_channel();
    tokio::spawn(async move {
        match begin(&world, &definition, run).await {
            Ok((shim, stream)) => {
                follow(world, definition.name.clone(), run, stream, Some(shim), receiver).await;
            }
            Err(message) => {
                limits::leave(&world.places, &definition.name, run).await;
                world.report(&definition.name, run, Event::Refused(message));
            }
        }
    });
    Keeper { orders }
}

/// Takes up a run whose shim lives.
pub(crate) fn adopt(world: World, name: Name, record: Record) -> Keeper {
    let (orders, receiver) = unbounded_channel();
    tokio::spawn(async move {
        let files = world.places.files(&name);
        match connect(&files) {
            Ok(stream) => follow(world, name, record.run, stream, None, receiver).await,
            Err(error) => {
                // It has ended just now, or it is not reachable and so of no use.
                tracing::warn!(service = %name, %error, "cannot reach its shim");
                conclude(&world, &name, record.run, Some(record.clone())).await;
                limits::leave(&world.places, &name, record.run).await;
            }
        }
    });
    Keeper { orders }
}

/// What the shim of a run that goes on has to say.
pub(crate) async fn ask(files: &Files) -> std::io::Result<Record> {
    let mut line = String::new();
    let mut reader = BufReader::new(connect(files)?);
    tokio::time::timeout(ANSWER, reader.read_line(&mut line)).await??;
    Ok(serde_json::from_str(&line)?)
}

fn connect(files: &Files) -> std::io::Result<UnixStream> {
    let stream = files.with_socket_path(|path| StdUnixStream::connect(path))?;
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

async fn begin(world: &World, definition: &Service, run: u64) -> Result<(Child, UnixStream), String> {
    let launch = launch::compose(&world.places, definition, run)?;
    let cannot = |error: std::io::Error| format!("its keeper cannot be started: {error}");
    let (ours, theirs) = StdUnixStream::pair().map_err(cannot)?;
    ours.set_nonblocking(true).map_err(cannot)?;
    let mut stream = UnixStream::from_std(ours).map_err(cannot)?;
    let shim = Command::new(&world.places.shim)
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .current_dir("/")
        .spawn()
        .map_err(cannot)?;
    let mut line = serde_json::to_vec(&launch).map_err(|error| cannot(error.into()))?;
    line.push(b'\n');
    stream.write_all(&line).await.map_err(cannot)?;
    Ok((shim, stream))
}

/// Passes on what the shim says until it ends.
async fn follow(
    world: World,
    name: Name,
    run: u64,
    stream: UnixStream,
    shim: Option<Child>,
    mut orders: UnboundedReceiver<Order>,
) {
    let (reader, mut writer) = stream.into_split();
    let mut lines = BufReader::new(reader).lines();
    let mut last = None;
    loop {
        tokio::select! {
            line = lines.next_line() => match line {
                Ok(Some(line)) => last = note(&world, &name, run, &line).or(last),
                Ok(None) | Err(_) => break,
            },
            Some(order) = orders.recv() => send(&mut writer, order).await,
        }
    }
    conclude(&world, &name, run, last).await;
    limits::leave(&world.places, &name, run).await;
    if let Some(mut shim) = shim {
        // Reaps it. It has closed its socket as its last act, so this does not take long.
        let _ = shim.wait().await;
    }
}

async fn send(writer: &mut tokio::net::unix::OwnedWriteHalf, order: Order) {
    if let Ok(mut line) = serde_json::to_vec(&order) {
        line.push(b'\n');
        // A shim that is gone shows at the other half of the stream.
        let _ = writer.write_all(&line).await;
    }
}

/// Reports one record, unless it says how the run ended: that is for [`conclude`].
fn note(world: &World, name: &Name, run: u64, line: &str) -> Option<Record> {
    let record: Record = match serde_json::from_str(line) {
        Ok(record) => record,
        Err(error) => {
            tracing::warn!(service = %name, %error, "cannot understand its shim");
            return None;
        }
    };
    let learned = |report| world.mailbox.send(Message::Learned { name: name.clone(), run, report });
    match &record.phase {
        Phase::Running { leader, .. } => {
            let _ = learned(Report::Processes { leader: Some(*leader), keeper: record.shim });
            world.report(name, run, Event::Launched);
        }
        Phase::Exited { exit, .. } => {
            let _ = learned(Report::Processes { leader: None, keeper: record.shim });
            world.report(name, run, Event::Exited(limits::exit(&world.places, name, run, *exit)));
        }
        Phase::Gone { .. } | Phase::Refused { .. } => end(world, name, run, &record.phase),
    }
    if record.notified {
        world.report(name, run, Event::Announced);
    }
    if record.dropped > 0 {
        let _ = learned(Report::Dropped(record.dropped));
    }
    Some(record)
}

fn end(world: &World, name: &Name, run: u64, phase: &Phase) {
    match phase {
        Phase::Gone { exit, .. } => {
            world.report(name, run, Event::Gone(limits::exit(&world.places, name, run, *exit)));
        }
        Phase::Refused { message, .. } => world.report(name, run, Event::Refused(message.clone())),
        Phase::Running { .. } | Phase::Exited { .. } => {}
    }
}

/// The shim has ended. Its record says how the run did, or else nobody knows.
async fn conclude(world: &World, name: &Name, run: u64, last: Option<Record>) {
    let is_end = |record: &Record| matches!(record.phase, Phase::Gone { .. } | Phase::Refused { .. });
    if last.as_ref().is_some_and(is_end) {
        return;
    }
    let on_disk = world.places.files(name).read_record().ok().flatten().filter(|record| record.run == run);
    match on_disk.or(last).map(|record| record.phase) {
        Some(phase @ (Phase::Gone { .. } | Phase::Refused { .. })) => end(world, name, run, &phase),
        Some(Phase::Running { leader, .. } | Phase::Exited { leader, .. }) => {
            limits::kill(&world.places, name, run);
            orphans::end(&world.places, name, run, leader).await;
            world.report(name, run, Event::Gone(Exit::Unknown));
        }
        // It was killed before it could write anything down; what it may have started has ended with it.
        None => world.report(name, run, Event::Gone(Exit::Unknown)),
    }
}

/// Asks a service of ours to end with its own stop command; if that fails, with its stop signal.
pub(crate) async fn stop_by_command(world: World, definition: Arc<Service>, keeper: Keeper) {
    let Some(text) = &definition.stop_command else { return };
    if let Err(message) = exec::run(&world, &definition, text, definition.stop_timeout).await {
        tracing::warn!(service = %definition.name, message, "its stop command failed; sending its stop signal");
        keeper.signal(definition.stop_signal);
    }
}
