//! [`Shims`], the driver; [`ShimHandle`], the handle of one run's shim; [`RunFollower`], the task that follows a run.
//!
//! The task ends when the shim has ended: with a record of the run's exit status, or without one. If the shim dies
//! first, its processes are killed, buffered output is flushed to the log, and the exit status is unknown. A lost
//! connection does not mean that the shim has ended: while the shim lives, the task reconnects, and meanwhile reads its
//! record.

use super::connection::{Frames, ShimConnection, send, try_send};
use super::process_group::Purpose;
use super::zygote::Zygote;
use super::{command, limits, orphans};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use service_core::config::{KillMode, Service};
use service_core::service::{Event, Exit};
use service_core::{Moment, Name};
use service_host::clock;
use service_host::paths::Paths;
use service_host::report::Observation;
use service_host::report::ReportSender;
use service_host::text::{CheckText, CommandFailure};
use service_shim::{DroppedLines, Files, LogLimits, OrphanedOutput, Phase, Process, RunRecord, ShimRequest};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{Semaphore, oneshot};

/// The time limit and the interval of reading the record of a shim that has ended.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
const READ_RETRY_INTERVAL: Duration = Duration::from_millis(20);
/// The first version of shims that share their output.
pub(super) const MIN_VERSION_SHARED_OUTPUT: u32 = 2;
/// The first version of shims that match `ready.log` and can signal only the service's own process.
const MIN_VERSION_READY_LOG: u32 = 3;

/// The maximum number of concurrent launches without enough descriptors.
const MAX_SCARCE_LAUNCHES: usize = 2;

/// Starts and follows shims. Cheap to clone: each task has its own.
#[derive(Debug, Clone)]
pub struct Shims {
    pub(super) paths: Arc<Paths>,
    pub(super) zygote: Arc<Zygote>,
    pub(super) reports: ReportSender,
    /// Permits of launches without enough descriptors: each launch needs additional descriptors for a moment.
    pub(super) scarce_launches: Arc<Semaphore>,
}

impl Shims {
    /// A driver that has started no process yet. `program` is the path of `service-shim`; `descriptors` is the
    /// descriptor limit of services.
    pub fn new(paths: Arc<Paths>, program: PathBuf, descriptors: Option<u64>, reports: ReportSender) -> Self {
        let zygote = Arc::new(Zygote::new(program, descriptors));
        Self { paths, zygote, reports, scarce_launches: Arc::new(Semaphore::new(MAX_SCARCE_LAUNCHES)) }
    }

    /// The process that shims are forked from.
    pub fn zygote(&self) -> &Arc<Zygote> {
        &self.zygote
    }
}

/// Sends requests to the shim of one run.
#[derive(Debug, Clone)]
pub struct ShimHandle {
    requests: UnboundedSender<FollowerRequest>,
    pub(super) direct: Arc<Direct>,
    /// The version of the shim.
    version: u32,
}

/// The connection to a shim that has reported; `None` without a connection. The lock is held only while the `Arc` is
/// cloned.
#[derive(Debug, Default)]
pub(super) struct Direct(Mutex<Option<Arc<OwnedWriteHalf>>>);

impl Direct {
    fn get(&self) -> Option<Arc<OwnedWriteHalf>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, writer: Option<Arc<OwnedWriteHalf>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = writer;
    }
}

/// A request to the task that follows a run.
#[derive(Debug)]
pub(super) enum FollowerRequest {
    /// Passes a request on to the shim.
    ShimRequest(ShimRequest),
    /// Withdraws the launch. The reply is sent if the launch has begun.
    Withdraw(oneshot::Sender<()>),
}

impl ShimHandle {
    /// Whether the shim matches `ready.log` itself.
    pub fn matches_log(&self) -> bool {
        self.version >= MIN_VERSION_READY_LOG
    }

    /// Sends a signal to the whole tree. A shim that has ended has no tree, and a launch that has not begun is
    /// withdrawn.
    pub fn signal(&self, signal: i32) {
        self.order(ShimRequest::Signal(signal));
    }

    /// Sends the stop signal of the service.
    pub fn request_stop(&self, definition: &Service) {
        let signal = definition.stop_signal;
        // Older shims can only signal the whole tree.
        self.order(match definition.kill_mode {
            KillMode::Main if self.version >= MIN_VERSION_READY_LOG => ShimRequest::SignalFirst(signal),
            KillMode::Main | KillMode::Tree => ShimRequest::Signal(signal),
        });
    }

    fn order(&self, order: ShimRequest) {
        // When many services are stopped together, a direct write reaches all of them before the first one has ended.
        if self.direct.get().is_none_or(|shim| try_send((*shim).as_ref(), order).is_err()) {
            let _ = self.requests.send(FollowerRequest::ShimRequest(order));
        }
    }

    /// Withdraws the launch if it has not begun. Returns whether there is a run to stop.
    async fn has_begun(&self) -> bool {
        let (reply, begun) = oneshot::channel();
        self.direct.get().is_some()
            || (self.requests.send(FollowerRequest::Withdraw(reply)).is_ok() && begun.await.is_ok())
    }
}

/// A handle without a connection, and the receiver of its requests.
pub(super) fn new_handle(version: u32) -> (ShimHandle, UnboundedReceiver<FollowerRequest>) {
    let (requests, receiver) = unbounded_channel();
    (ShimHandle { requests, direct: Arc::default(), version }, receiver)
}

/// Connects to the shim of a running service. Returns its record and the connection.
pub async fn query_record(files: &Files) -> io::Result<(RunRecord, ShimConnection)> {
    let mut connection = ShimConnection::connect(files)?;
    Ok((connection.record().await?, connection))
}

/// A followed run.
pub(super) struct RunFollower {
    pub(super) shims: Shims,
    pub(super) name: Name,
    pub(super) run: u64,
    pub(super) log: LogLimits,
}

impl RunFollower {
    pub(super) fn report(&self, event: Event) {
        self.shims.reports.event(&self.name, self.run, event);
    }

    pub(super) fn observed(&self, what: Observation) {
        self.shims.reports.observed(&self.name, self.run, what);
    }

    /// Handles the messages of the shim until the connection ends. Returns the last record.
    pub(super) async fn listen(
        &self,
        mut lines: Frames,
        writer: Arc<OwnedWriteHalf>,
        mut last: Option<RunRecord>,
        requests: &mut UnboundedReceiver<FollowerRequest>,
        direct: &Direct,
    ) -> Option<RunRecord> {
        direct.set(Some(Arc::clone(&writer)));
        loop {
            tokio::select! {
                line = lines.next_line() => match line {
                    Ok(Some(line)) => last = self.note(&line).or(last),
                    Ok(None) | Err(_) => break,
                },
                Some(ask) = requests.recv() => obey(&writer, ask).await,
            }
        }
        direct.set(None);
        last
    }

    pub(super) fn note(&self, line: &str) -> Option<RunRecord> {
        let record = serde_json::from_str(line);
        let record = record.inspect_err(
            |error| tracing::warn!(service = %self.name, %error, "cannot parse a message of the shim"),
        );
        record.ok().inspect(|record| self.report_record(record))
    }

    /// Reports the contents of a record.
    pub(super) fn report_record(&self, record: &RunRecord) {
        // The dropped lines are reported before the end of the run, whose error mentions them.
        if record.dropped > 0 {
            self.observed(Observation::Missing(record.dropped_lines()));
        }
        if let Some(left) = &record.leftover {
            self.observed(Observation::Left(left.clone()));
        }
        match &record.phase {
            Phase::Launching { .. } => {}
            Phase::Running { leader, at } => {
                self.observed(Observation::Processes { leader: Some(*leader), shim: record.shim });
                self.report(Event::Begun(Moment::from_nanos(*at)));
            }
            Phase::Exited { exit, .. } => {
                self.observed(Observation::Processes { leader: None, shim: record.shim });
                self.report(Event::Exited(self.exit(*exit)));
            }
            Phase::Finished { .. } | Phase::LaunchFailed { .. } => self.end(&record.phase),
        }
        if record.notify_status != service_shim::NotifyStatus::default() {
            self.observed(Observation::Status(record.notify_status.status.clone()));
        }
        if let Some(to) = record.notify_status.extended_to {
            self.report(Event::Extended(Moment::from_nanos(to)));
        }
        if record.notified {
            self.report(Event::ReadyNotified);
        }
    }

    fn end(&self, phase: &Phase) {
        match phase {
            Phase::Finished { exit, .. } => self.report(Event::TreeExited(self.exit(*exit))),
            Phase::LaunchFailed { message, .. } => self.report(Event::LaunchFailed(message.clone())),
            Phase::Launching { .. } | Phase::Running { .. } | Phase::Exited { .. } => {}
        }
    }

    /// The exit status of the service, and whether a limit caused it.
    fn exit(&self, exit: service_shim::Exit) -> Exit {
        limits::exit(&self.shims.paths, &self.name, self.run, exit)
    }

    /// Concludes a run whose shim has ended.
    pub(super) async fn conclude(&self, last: Option<RunRecord>, orphaned_output: Option<OrphanedOutput>) {
        self.find_out(last, orphaned_output).await;
        limits::cleanup(&self.shims.paths, &self.name, self.run).await;
    }

    /// The exit status of the run, from the record of the ended shim; otherwise it is unknown.
    async fn find_out(&self, last: Option<RunRecord>, orphaned_output: Option<OrphanedOutput>) {
        if last.as_ref().is_some_and(RunRecord::is_end) {
            return;
        }
        let paths = &self.shims.paths;
        let record = self.last_record().await.filter(|record| record.run == self.run).or(last);
        let (leader, exit) = match record.as_ref().map(|record| &record.phase) {
            Some(phase @ (Phase::Finished { .. } | Phase::LaunchFailed { .. })) => return self.end(phase),
            Some(Phase::Running { leader, .. }) => (Some(*leader), Exit::Unknown),
            Some(Phase::Exited { leader, exit, .. }) => (Some(*leader), self.exit(*exit)),
            Some(Phase::Launching { .. }) | None => (None, Exit::Unknown),
        };
        limits::kill(paths, &self.name, self.run);
        orphans::end(paths, &self.name, self.run, leader).await;
        if let Some(orphaned_output) = orphaned_output {
            self.write_down(
                orphaned_output,
                record.as_ref().map(RunRecord::dropped_lines).unwrap_or_default(),
            )
            .await;
        }
        self.report(Event::TreeExited(exit));
    }

    /// The record that the shim wrote before it ended. A temporary read error, such as a lack of descriptors, is
    /// retried.
    async fn last_record(&self) -> Option<RunRecord> {
        let files = self.shims.paths.files(&self.name);
        let deadline = clock::now().plus(READ_TIMEOUT);
        loop {
            match files.read_record() {
                Ok(record) => return record,
                Err(error) if error.kind() == io::ErrorKind::InvalidData || clock::now() >= deadline => {
                    tracing::error!(service = %self.name, %error, "cannot read the exit status of its last run");
                    return None;
                }
                Err(_) => tokio::time::sleep(READ_RETRY_INTERVAL).await,
            }
        }
    }

    /// Writes the remaining output of a dead shim to the log.
    async fn write_down(&self, orphaned_output: OrphanedOutput, missing: DroppedLines) {
        let (files, limits) = (self.shims.paths.files(&self.name), self.log);
        match tokio::task::spawn_blocking(move || orphaned_output.flush_to_log(&files, limits, missing)).await
        {
            Ok(Ok(now)) if now == missing => {}
            Ok(Ok(now)) => self.observed(Observation::Missing(now)),
            Ok(Err(error)) => {
                tracing::error!(service = %self.name, %error, "cannot save the last output of a service");
            }
            Err(error) => tracing::error!(service = %self.name, %error, "saving its last output failed"),
        }
    }
}

/// The signal closest to `order`: a shim forwards `SIGTERM`, and its death kills its service.
pub(super) fn signal_shim(shim: Process, order: ShimRequest) {
    let signal = match order {
        ShimRequest::Signal(nix::libc::SIGKILL) => Signal::SIGKILL,
        ShimRequest::Signal(_) | ShimRequest::SignalFirst(_) => Signal::SIGTERM,
        ShimRequest::ShareOutput => return,
    };
    if let Ok(pid) = shim.pid.try_into() {
        let _ = kill(Pid::from_raw(pid), signal);
    }
}

pub(super) async fn obey(writer: &OwnedWriteHalf, ask: FollowerRequest) {
    match ask {
        FollowerRequest::ShimRequest(order) => send(writer, order).await,
        FollowerRequest::Withdraw(reply) => drop(reply.send(())),
    }
}

impl Shims {
    /// Stops a service with its stop command. If the command fails, sends the stop signal.
    pub async fn stop_with_command(self, definition: Arc<Service>, shim: ShimHandle, run: u64) {
        let Some(text) = &definition.stop_command else { return };
        if !shim.has_begun().await {
            return;
        }
        let ended = command::run(&self.paths, &definition, text, Purpose::Action, definition.stop_timeout)
            .await
            .map(drop);
        let describe = |text: CheckText| CommandFailure(text.describe(&definition.env));
        let (name, ended) = (&definition.name, ended.map_err(describe));
        if let Err(CommandFailure(message)) = &ended {
            tracing::warn!(service = %name, message, "its stop command failed; sending its stop signal");
            shim.request_stop(&definition);
        }
        self.reports.observed(name, run, Observation::StopCommand(ended));
    }
}
