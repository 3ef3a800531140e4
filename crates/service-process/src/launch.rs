//! The launch of a run, up to the first report of its shim.
//!
//! A sent launch may be lost: with a zygote that is killed before it has forked, or with a shim that is killed before
//! it has begun. A launch may also be late: in a queue, or in a frozen shim. The daemon cannot see which of these has
//! happened. The shim [claims](service_shim::shared_buffer) the launch before it creates a process, and the daemon
//! withdraws the launch before it acts otherwise:
//!
//! - The connection or the zygote has ended: a withdrawn launch is repeated. If the withdrawal fails, the run has
//!   begun; it may have ended already.
//! - A stop is requested: a withdrawn launch never began, which is reported. If the withdrawal fails, the run is
//!   stopped like any other.
//! - Otherwise the daemon waits, and continues a frozen zygote or shim. A shim that hangs, for example in a network
//!   file system, is reported after [`SLOW_AFTER_TIMEOUTS`] and killed after [`KILL_AFTER_TIMEOUTS`].

use super::connection::ShimConnection;
use super::launch_message::{ComposeError, compose, log_limits};
use super::shim_client::{
    Direct, FollowerRequest, RunFollower, ShimHandle, Shims, new_handle, obey, signal_shim,
};
use super::zygote::{IdleShim, Lifeline};
use super::{limits, orphans};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use service_core::config::Service;
use service_core::service::Event;
use service_host::clock;
use service_host::descriptors::{DescriptorPermit, NoDescriptors};
use service_host::environment::describe_slow_lookup;
use service_host::report::Observation;
use service_shim::shared_buffer::claim;
use service_shim::{DroppedLines, Launch, OrphanedOutput, PROTOCOL_VERSION, Process, RunRecord, ShimRequest};
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::UnboundedReceiver;

/// After this time without a report, the shim and its zygote are continued, in case they are frozen.
const REPORT_TIMEOUT: Duration = Duration::from_secs(1);
/// The number of these periods after which a claimed launch is reported as slow.
const SLOW_AFTER_TIMEOUTS: u32 = 5;
/// The number of these periods after which the shim of a claimed launch is killed.
const KILL_AFTER_TIMEOUTS: u32 = 300;
/// The time limit for a killed shim to end.
const EXIT_TIMEOUT: Duration = Duration::from_secs(10);
/// The error of a run whose shim hangs.
const GIVEN_UP: &str = "its shim has not begun the launch within 5 minutes: the disk or file system of its program, its working \
                        directory or its log does not answer";
/// The maximum number of attempts of one launch.
const MAX_LAUNCHES: u32 = 10;
const RETRY_DELAY: Duration = Duration::from_millis(5);
/// The time limit for an ending run to release its descriptors, and the interval of checks.
const PERMIT_TIMEOUT: Duration = Duration::from_millis(500);
const PERMIT_RETRY_INTERVAL: Duration = Duration::from_millis(10);
/// The time limit for the permit of a launch without enough descriptors.
const SCARCE_LAUNCH_TIMEOUT: Duration = Duration::from_secs(5);
/// The time limit for reading env files and looking up a user.
const LOOKUP_TIMEOUT: Duration = Duration::from_mins(1);
/// The error of a run that was stopped before it began.
const WITHDRAWN: &str = "it was stopped before its launch";

impl Shims {
    /// Starts a run.
    pub fn launch(&self, definition: Arc<Service>, run: u64, missing: DroppedLines) -> ShimHandle {
        let (handle, mut requests) = new_handle(PROTOCOL_VERSION);
        let direct = Arc::clone(&handle.direct);
        let shims = self.clone();
        tokio::spawn(async move {
            let follower =
                RunFollower { name: definition.name.clone(), run, log: log_limits(&definition), shims };
            let mut why = "the shim exited before it reported".to_owned();
            for attempt in 0..MAX_LAUNCHES {
                if attempt > 1 {
                    tokio::time::sleep(RETRY_DELAY * (1 << (attempt - 2))).await;
                }
                let sent = tokio::select! {
                    sent = send(&follower.shims, &definition, run, missing) => sent,
                    // A launch that is dropped here is incomplete, so no shim can begin it.
                    Some(_) = requests.recv() => Err(Unsent::Withdrawn),
                };
                match sent {
                    Ok(sent) => match follower.await_first_report(sent, &mut requests, &direct).await {
                        Fate::Lost => {}
                        Fate::Over => return,
                        Fate::Withdrawn => return follower.not_begun(WITHDRAWN.to_owned()).await,
                        Fate::GivenUp => return follower.not_begun(GIVEN_UP.to_owned()).await,
                    },
                    Err(Unsent::Lost(error)) => why = cannot(&error),
                    Err(Unsent::Refused(message)) => return follower.not_begun(message).await,
                    Err(Unsent::Withdrawn) => return follower.not_begun(WITHDRAWN.to_owned()).await,
                }
            }
            follower.not_begun(why).await;
        });
        handle
    }
}

/// A launch that was sent.
struct Sent {
    connection: ShimConnection,
    orphaned_output: OrphanedOutput,
    zygote: Lifeline,
    descriptors: LaunchDescriptors,
}

/// The descriptors of a launch.
struct LaunchDescriptors {
    held: DescriptorPermit,
    /// The permit, if there are too few descriptors to retain the output's.
    launch_permit: Option<OwnedSemaphorePermit>,
}

/// Why a launch was not sent.
enum Unsent {
    /// The zygote was killed. A new one may succeed.
    Lost(io::Error),
    Refused(String),
    Withdrawn,
}

/// The fate of a sent launch.
enum Fate {
    /// The launch never began, and is repeated.
    Lost,
    /// A stop withdrew the launch.
    Withdrawn,
    /// The shim hung and was killed.
    GivenUp,
    /// The run is over, and all its reports were sent.
    Over,
}

async fn send(
    shims: &Shims,
    definition: &Arc<Service>,
    run: u64,
    missing: DroppedLines,
) -> Result<Sent, Unsent> {
    let mut launch =
        compose_launch(shims, definition, run).await.map_err(|error| Unsent::Refused(error.to_string()))?;
    launch.dropped_lines = missing;
    let mut line = serde_json::to_vec(&launch).map_err(|error| Unsent::Refused(cannot(&error.into())))?;
    line.push(b'\n');
    let descriptors = acquire_descriptors(shims).await.map_err(|none| Unsent::Refused(none.to_string()))?;
    let idle = shims.zygote.shim().await.map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => {
            Unsent::Lost(error)
        }
        _ => Unsent::Refused(cannot(&error)),
    })?;
    let IdleShim { mut stream, orphaned_output, zygote } = idle;
    // The reader of the reports notices the end of the shim.
    let _ = stream.write_all(&line).await;
    Ok(Sent { connection: ShimConnection::from_stream(stream), orphaned_output, zygote, descriptors })
}

/// Composes the launch message, in another thread if a file system or a name service may hang.
async fn compose_launch(shims: &Shims, definition: &Arc<Service>, run: u64) -> Result<Launch, ComposeError> {
    let Some(waits) = describe_slow_lookup(definition) else {
        return compose(&shims.paths, definition, run);
    };
    let (paths, definition) = (Arc::clone(&shims.paths), Arc::clone(definition));
    let composed = tokio::task::spawn_blocking(move || compose(&paths, &definition, run));
    match tokio::time::timeout(LOOKUP_TIMEOUT, composed).await {
        Ok(composed) => composed?,
        Err(_) => Err(ComposeError::Timeout { waits, seconds: LOOKUP_TIMEOUT.as_secs() }),
    }
}

/// Acquires the descriptors of one launch. If none is free, waits for an ending run to release its descriptors.
async fn acquire_descriptors(shims: &Shims) -> Result<LaunchDescriptors, NoDescriptors> {
    let deadline = clock::now().plus(PERMIT_TIMEOUT);
    let mut held = loop {
        match DescriptorPermit::connection() {
            Err(_) if clock::now() < deadline => tokio::time::sleep(PERMIT_RETRY_INTERVAL).await,
            held => break held?,
        }
    };
    if held.and_orphaned_output() {
        return Ok(LaunchDescriptors { held, launch_permit: None });
    }
    match tokio::time::timeout(SCARCE_LAUNCH_TIMEOUT, Arc::clone(&shims.scarce_launches).acquire_owned())
        .await
    {
        Ok(Ok(permit)) => Ok(LaunchDescriptors { held, launch_permit: Some(permit) }),
        _ => Err(NoDescriptors::now()),
    }
}

fn cannot(error: &io::Error) -> String {
    format!("its shim cannot be started: {error}")
}

impl RunFollower {
    async fn not_begun(&self, message: String) {
        limits::cleanup(&self.shims.paths, &self.name, self.run).await;
        self.report(Event::LaunchFailed(message));
    }

    /// Waits for the first report of the shim, and follows it afterwards.
    async fn await_first_report(
        &self,
        sent: Sent,
        requests: &mut UnboundedReceiver<FollowerRequest>,
        direct: &Direct,
    ) -> Fate {
        let Sent {
            connection,
            orphaned_output,
            mut zygote,
            descriptors: LaunchDescriptors { held, launch_permit },
        } = sent;
        let (mut lines, writer) = connection.split();
        let memory = Arc::clone(&orphaned_output.shared_buffer);
        if launch_permit.is_none() {
            self.observed(Observation::SharedBuffer(Arc::clone(&memory)));
        }
        // Requests for a shim that has begun and has not reported yet.
        let mut waiting = Vec::new();
        let mut zygote_lives = true;
        let mut timeout = tokio::time::interval(REPORT_TIMEOUT);
        timeout.reset(); // the first tick must not be immediate
        let mut timeouts = 0_u32;
        let report = loop {
            tokio::select! {
                line = lines.next_line() => match line {
                    Ok(Some(line)) => {
                        if let Some(record) = self.note(&line) {
                            break Some(record);
                        }
                    }
                    Ok(None) | Err(_) => break None,
                },
                Some(ask) = requests.recv() => match self.withdraw_launch(&memory).await {
                    true => return Fate::Withdrawn,
                    false => waiting.push(ask),
                },
                () = zygote.ended(), if zygote_lives => match self.withdraw_launch(&memory).await {
                    true => return Fate::Lost,
                    false => zygote_lives = false,
                },
                _ = timeout.tick() => {
                    timeouts += 1;
                    self.continue_frozen(&memory, &waiting);
                    if timeouts == SLOW_AFTER_TIMEOUTS {
                        self.report_slow(&memory);
                    }
                    if timeouts.is_multiple_of(KILL_AFTER_TIMEOUTS) && self.give_up(&memory).await {
                        return Fate::GivenUp;
                    }
                }
            }
        };
        if timeouts >= SLOW_AFTER_TIMEOUTS {
            self.observed(Observation::Unreachable(None));
        }
        if report.is_none() && self.withdraw_launch(&memory).await {
            return Fate::Lost;
        }
        let shim = report.as_ref().map(|record: &RunRecord| record.shim).or_else(|| claim::holder(&memory));
        drop(memory);
        let orphaned_output = launch_permit.is_none().then_some(orphaned_output);
        drop(launch_permit);
        let writer = Arc::new(writer);
        for ask in waiting {
            obey(&writer, ask).await;
        }
        let last = self.listen(lines, writer, report, requests, direct).await;
        drop(held);
        match shim {
            Some(shim) => self.follow_run(shim, last, None, orphaned_output, requests, direct).await,
            None => self.conclude(last, orphaned_output).await,
        }
        Fate::Over
    }

    /// Reports a shim that holds the launch and has not begun it. A launch in a queue is not reported.
    fn report_slow(&self, memory: &File) {
        let Some(shim) = claim::holder(memory) else { return };
        let why = format!(
            "its shim (pid {}) has not begun the launch: it waits for a disk or a file system",
            shim.pid
        );
        self.observed(Observation::Unreachable(Some(why)));
    }

    /// Withdraws a launch and kills the shim that received it, which may hold the service's lock. Returns `false` if
    /// the launch has begun.
    async fn withdraw_launch(&self, memory: &File) -> bool {
        let Ok(shim) = claim::withdraw(memory) else { return false };
        if let Some(shim) = shim {
            while shim.is_alive() {
                signal_process(shim, Signal::SIGKILL);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            self.remove_socket();
        }
        true
    }

    /// Removes the socket of a shim that was killed.
    fn remove_socket(&self) {
        let _ = std::fs::remove_file(self.shims.paths.files(&self.name).socket());
    }

    /// Kills a shim that hangs. Returns whether all of its processes have ended; if not, the caller retries.
    async fn give_up(&self, memory: &File) -> bool {
        let Some(shim) = claim::holder(memory) else { return false };
        let has_begun = claim::withdraw(memory).is_err();
        let deadline = clock::now().plus(EXIT_TIMEOUT);
        while shim.is_alive() {
            signal_process(shim, Signal::SIGKILL);
            if clock::now() >= deadline {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        if has_begun {
            limits::kill(&self.shims.paths, &self.name, self.run);
            orphans::end(&self.shims.paths, &self.name, self.run, None).await;
        }
        self.remove_socket();
        true
    }

    /// Continues a frozen zygote or shim. A shim that has begun and does not report cannot receive a kill request; it
    /// is killed, and its service with it.
    fn continue_frozen(&self, memory: &File, waiting: &[FollowerRequest]) {
        self.shims.zygote.continue_frozen();
        let Some(shim) = claim::holder(memory).filter(|shim| shim.is_alive()) else { return };
        signal_process(shim, Signal::SIGCONT);
        let kill = |ask: &&FollowerRequest| {
            matches!(ask, FollowerRequest::ShimRequest(ShimRequest::Signal(nix::libc::SIGKILL)))
        };
        if let Some(FollowerRequest::ShimRequest(order)) = waiting.iter().find(kill) {
            signal_shim(shim, *order);
        }
    }
}

fn signal_process(process: Process, signal: Signal) {
    if let Ok(pid) = process.pid.try_into() {
        let _ = kill(Pid::from_raw(pid), signal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use service_core::Name;
    use service_host::paths::Paths;
    use service_host::report::ReportSender;
    use service_shim::{LaunchFds, LogLimits, shared_buffer::SharedBuffer};
    use tokio::net::UnixStream;
    use tokio::sync::watch;

    #[tokio::test(start_paused = true)]
    async fn a_shim_that_hangs_is_given_up_whether_it_has_claimed_its_launch_or_not() {
        let directory = tempfile::tempdir().unwrap();
        let paths = Paths::new(directory.path());
        let (reports, _incoming) = ReportSender::channel();
        let shims = Shims::new(Arc::new(paths), "service-shim".into(), None, reports);
        for claims in [false, true] {
            let (launch_fds, stream, orphaned_output) = LaunchFds::create().unwrap();
            let mut shim = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
            let buffer = SharedBuffer::open(&launch_fds.shared_buffer).unwrap();
            buffer.set_holder(Process::find(shim.id()).unwrap());
            assert!(!claims || buffer.claim());
            stream.set_nonblocking(true).unwrap();
            let (_alive, lifeline) = watch::channel(());
            let sent = Sent {
                connection: ShimConnection::from_stream(UnixStream::from_std(stream).unwrap()),
                orphaned_output,
                zygote: Lifeline(lifeline),
                descriptors: acquire_descriptors(&shims).await.unwrap(),
            };
            let follower = RunFollower {
                shims: shims.clone(),
                name: Name::new("web").unwrap(),
                run: 1,
                log: LogLimits { max_size: 1 << 20, max_files: 1 },
            };
            let (_handle, mut requests) = new_handle(PROTOCOL_VERSION);
            let fate = follower.await_first_report(sent, &mut requests, &Direct::default()).await;
            assert!(matches!(fate, Fate::GivenUp));
            assert!(!shim.wait().unwrap().success());
            assert!(!buffer.claim(), "it never begins");
        }
    }
}
