//! Launches a service from its [`LaunchFds`] and runs its [`Supervisor`].

use crate::control::{Control, Peer};
use crate::notify::Notify;
use crate::spawn::{self, LaunchError};
use crate::supervisor::streams::Streams;
use crate::supervisor::{Output, Supervisor};
use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use service_shim::cri::Stream;
use service_shim::error_text::{describe_error, with_context};
use service_shim::launch_fds::Pipe;
use service_shim::log::LogWriter;
use service_shim::pump::Pump;
use service_shim::shared_buffer::SharedBuffer;
use service_shim::{
    Files, Launch, LaunchFds, NotifyStatus, PROTOCOL_VERSION, Phase, Process, RunRecord, Stage, Watch,
    process,
};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// The signals that are read from a descriptor. The signals are blocked and not ignored, because a service would
/// inherit an ignored signal.
const SIGNALS: [Signal; 4] = [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT];

/// The shortest time slice of the scheduler, in nanoseconds.
const SLICE_NANOSECONDS: u64 = 100_000;

/// The time limit for retries while a daemon checks the lock.
const LOCK_TIMEOUT: Duration = Duration::from_millis(100);

/// Launches and supervises one service. An error is returned only if no record can be sent.
pub(crate) fn run(launch_fds: LaunchFds, descriptors: Option<u64>) -> io::Result<()> {
    limit_descriptors(descriptors).map_err(|error| with_context("limit descriptors", &error))?;
    let LaunchFds { control, pipes, shared_buffer } = launch_fds;
    let signals = detach().map_err(|error| with_context("leave the daemon's session", &error))?;
    let boot_id = process::boot_id().map_err(|error| with_context("read the id of this boot", &error))?;
    let shim = Process::find(std::process::id()).ok_or_else(|| io::Error::other("cannot read /proc"))?;
    let opened =
        SharedBuffer::open(&shared_buffer).map_err(|error| with_context("use its shared buffer", &error))?;
    // The daemon may kill this shim by its pid after withdrawing the launch, because the shim may hold the lock.
    opened.set_holder(shim);
    // All preparations that do not need the launch are complete. If no launch arrives, the daemon has exited or does
    // not need this shim.
    if !wait_for_launch(&control, &signals) {
        return Ok(());
    }
    let Some((daemon, launch)) = read_launch(control)? else { return Ok(()) };
    detach_stdio().map_err(|error| with_context("detach its standard streams", &error))?;
    let mut files = Files::new(&launch.directory).with_run_directory(&launch.run_directory);
    files.resolve();
    let record = |phase| record(&launch, &boot_id, shim, phase);

    let lock = match acquire_lock(&files) {
        Ok(Some(lock)) => lock,
        held => {
            // Another shim holds the lock, or the directory cannot be written: only the connected peer receives the
            // record.
            let why =
                held.err().map_or("another process holds it".to_owned(), |error| describe_error(&error));
            let message = format!("lock `{}` cannot be acquired: {why}", files.lock().display());
            daemon.send_last(&record(prepare_failed(message)));
            return Ok(());
        }
    };
    // If the daemon has exited, the launch does not begin: the next daemon may have missed the lock, and decides again.
    // A running daemon may have withdrawn the launch.
    let begin = |shared_buffer: &SharedBuffer| {
        let begins = !daemon.has_hung_up() && shared_buffer.claim();
        if begins {
            // If both files cannot be written, only the claim shows that the launch has begun.
            let _ = files.save_record(&record(Phase::Launching { at: process::boot_time() }));
        }
        begins
    };
    match start(&launch, &files, lock, pipes, (opened, shared_buffer), begin) {
        Ok(None) => {}
        Ok(Some(Started { leader, output, log, mut control, notify })) => {
            control.add_peer(daemon);
            let record = record(Phase::Running { leader: leader.process, at: leader.at });
            // The launch is not needed any more, and its environment can be large.
            drop((launch, boot_id));
            Supervisor::new(files, record, signals, output, log, control, notify).run();
        }
        Err(LaunchError { stage, message }) => {
            let record = record(Phase::LaunchFailed { stage, message, at: process::boot_time() });
            // The connected peer receives the record in any case.
            let _ = files.save_record(&record);
            daemon.send_last(&record);
        }
    }
    Ok(())
}

/// Limits the open descriptors. The limits of daemon and zygote may be higher than a service's.
fn limit_descriptors(descriptors: Option<u64>) -> nix::Result<()> {
    let Some(number) = descriptors else { return Ok(()) };
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, number.min(hard), hard)
}

/// Reports to the daemon, in place of a shim that could not be forked.
pub(crate) fn report_failed_fork(launch_fds: LaunchFds, message: String) -> io::Result<()> {
    let Some((daemon, launch)) = read_launch(launch_fds.control)? else { return Ok(()) };
    let shim = Process::find(std::process::id()).ok_or_else(|| io::Error::other("cannot read /proc"))?;
    daemon.send_last(&record(&launch, &process::boot_id()?, shim, prepare_failed(message)));
    Ok(())
}

fn record(launch: &Launch, boot_id: &str, shim: Process, phase: Phase) -> RunRecord {
    RunRecord {
        version: PROTOCOL_VERSION,
        service: launch.service.clone(),
        run: launch.run,
        boot_id: boot_id.to_owned(),
        shim,
        phase,
        notified: false,
        notify_status: NotifyStatus::default(),
        dropped: launch.dropped_lines.total,
        unreported: launch.dropped_lines.unreported,
        leftover: None,
    }
}

fn prepare_failed(message: String) -> Phase {
    Phase::LaunchFailed { stage: Stage::Prepare, message, at: process::boot_time() }
}

/// Waits for the launch. Returns `false` on SIGTERM; after the launch, SIGTERM is passed to the service.
fn wait_for_launch(control: &OwnedFd, signals: &SignalFd) -> bool {
    loop {
        let watch = |fd| PollFd::new(fd, PollFlags::POLLIN);
        let mut fds = [watch(control.as_fd()), watch(signals.as_fd())];
        // `poll` fails only if a signal interrupts it; then nothing is ready yet.
        let _ = poll(&mut fds, PollTimeout::NONE);
        if fds[0].any().unwrap_or(false) {
            return true;
        }
        while let Ok(Some(signal)) = signals.read_signal() {
            if i32::try_from(signal.ssi_signo).is_ok_and(|number| number == Signal::SIGTERM as i32) {
                return false;
            }
        }
    }
}

/// Reads the launch from the daemon; `None` if the daemon hangs up without one.
fn read_launch(control: OwnedFd) -> io::Result<Option<(Peer, Launch)>> {
    let mut daemon =
        Peer::new(UnixStream::from(control)).map_err(|error| with_context("use its connection", &error))?;
    let line = daemon.read_first_line().map_err(|error| with_context("read the launch", &error))?;
    let Some(line) = line else { return Ok(None) };
    let launch: Launch =
        serde_json::from_slice(&line).map_err(|error| with_context("read the launch", &error))?;
    if launch.version != PROTOCOL_VERSION {
        let message = format!("cannot understand version {}, only {PROTOCOL_VERSION}", launch.version);
        return Err(io::Error::other(message));
    }
    Ok(Some((daemon, launch)))
}

/// Leaves the daemon's session, and becomes the subreaper of the process tree.
fn detach() -> nix::Result<SignalFd> {
    prctl::set_name(c"service-shim")?;
    nix::unistd::setsid()?;
    prctl::set_child_subreaper(true)?;
    shorten_time_slice();
    block_signals()
}

/// Replaces the standard streams, so that a pipe of the daemon's caller does not stay open while the service runs.
fn detach_stdio() -> nix::Result<()> {
    let null = File::options().read(true).write(true).open("/dev/null").map_err(|_| Errno::ENODEV)?;
    nix::unistd::dup2_stdin(&null)?;
    nix::unistd::dup2_stdout(&null)?;
    nix::unistd::dup2_stderr(&null)
}

/// Requests a short time slice, which the kernel schedules earlier (`sched(7)`, since Linux 6.12). The shim then reads
/// output before the service writes more, in particular to its other stream. The setting is optional and applies to
/// this process only.
#[expect(unsafe_code, reason = "neither libc nor nix has a function for sched_setattr(2)")]
fn shorten_time_slice() {
    /// `struct sched_attr` in its first version.
    #[repr(C)]
    #[derive(Default)]
    struct Attributes {
        size: u32,
        policy: u32,
        flags: u64,
        nice: i32,
        priority: u32,
        runtime: u64,
        deadline: u64,
        period: u64,
    }
    const SIZE: u32 = 48;
    const RESET_ON_FORK: u64 = 1;
    let mut attributes = Attributes::default();
    // SAFETY: the size limits what the kernel reads and writes.
    unsafe {
        let got = libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, SIZE, 0);
        if got == 0 && attributes.policy == 0 {
            (attributes.size, attributes.flags, attributes.runtime) =
                (SIZE, RESET_ON_FORK, SLICE_NANOSECONDS);
            libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0);
        }
    }
}

fn block_signals() -> nix::Result<SignalFd> {
    let set: SigSet = SIGNALS.into_iter().collect();
    set.thread_set_mask()?;
    SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
}

/// Acquires the lock; `None` if another shim holds it. Retries, because a daemon that checks the lock holds it for a
/// moment.
fn acquire_lock(files: &Files) -> io::Result<Option<File>> {
    let deadline = Instant::now() + LOCK_TIMEOUT;
    loop {
        match files.try_lock() {
            Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(1)),
            outcome => return outcome,
        }
    }
}

/// Everything that a running service needs.
struct Started {
    leader: spawn::Leader,
    output: Output,
    log: LogWriter,
    control: Control,
    notify: Option<Notify>,
}

/// Starts the service; `None` if the launch was withdrawn.
fn start(
    launch: &Launch,
    files: &Files,
    lock: File,
    pipes: [Pipe; 2],
    (shared_buffer, memory): (SharedBuffer, OwnedFd),
    begin: impl FnOnce(&SharedBuffer) -> bool,
) -> Result<Option<Started>, LaunchError> {
    let prepare = |what: &str, error: &io::Error| LaunchError {
        stage: Stage::Prepare,
        message: format!("{what} cannot be opened: {}", describe_error(error)),
    };
    let watch = launch.ready_log.as_deref().map(Watch::new).transpose().map_err(|error| LaunchError {
        stage: Stage::Prepare,
        message: format!("`ready.log` is not a regular expression: {error}"),
    })?;
    let log = LogWriter::new(files.clone(), launch.log).with_dropped(launch.dropped_lines).with_watch(watch);
    let control = Control::listen(files, lock)
        .map_err(|error| prepare(&format!("control socket `{}`", files.socket().display()), &error))?;
    let notify = launch
        .notify
        .then(|| Notify::bind(launch.identity.as_ref()))
        .transpose()
        .map_err(|error| prepare("notify socket", &error))?;
    let [stdout, stderr] = pipes;
    let pump = |pipe, stream| Pump::new(pipe, stream).map_err(|error| prepare("output pipe", &error.into()));
    let pumps = [pump(stdout.read, Stream::Stdout)?, pump(stderr.read, Stream::Stderr)?];
    let streams = Streams::new(pumps).map_err(|error| prepare("output pipe", &error.into()))?;
    let service = spawn::prepare(launch, notify.as_ref())?;
    if !begin(&shared_buffer) {
        return Ok(None);
    }
    shared_buffer.set_owner(files.directory(), launch.log);
    let leader = service.start([stdout.write, stderr.write])?;
    Ok(Some(Started { leader, output: Output { streams, shared_buffer, memory }, log, control, notify }))
}
