//! From a [`Parcel`] to a running service and its [`Keeper`].

use crate::control::{Control, Peer};
use crate::error::because;
use crate::keeper::streams::Streams;
use crate::keeper::{Keeper, Output};
use crate::notify::Notify;
use crate::spawn::{self, Refusal};
use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use service_shim::cri::Stream;
use service_shim::desk::Desk;
use service_shim::log::Log;
use service_shim::parcel::Pipe;
use service_shim::pump::Pump;
use service_shim::words::in_words;
use service_shim::{
    Files, Launch, PROTOCOL_VERSION, Parcel, Phase, Process, Record, Said, Stage, Watch, process,
};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// The signals that are read instead of acted upon. They are blocked, not ignored: a service would inherit that.
const SIGNALS: [Signal; 4] = [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT];

/// The shortest turn that the kernel gives, in nanoseconds.
const TURN: u64 = 100_000;

/// Far longer than a look at a lock takes.
const GLANCE: Duration = Duration::from_millis(100);

/// An error is returned only before there is anyone who could be sent a record.
pub(crate) fn run(parcel: Parcel, descriptors: Option<u64>) -> io::Result<()> {
    limit(descriptors).map_err(|error| because("limit descriptors", &error))?;
    let Parcel { control, pipes, desk } = parcel;
    let signals = detach().map_err(|error| because("leave the daemon's session", &error))?;
    let boot_id = process::boot_id().map_err(|error| because("read the id of this boot", &error))?;
    let shim = Process::of(std::process::id()).ok_or_else(|| io::Error::other("cannot read /proc"))?;
    let opened = Desk::open(&desk).map_err(|error| because("use its desk", &error))?;
    // Whoever withdraws the launch can end this shim before it launches again: it may hold the lock by then.
    opened.introduce(shim);
    // So far goes what can be done before it. If none comes, the daemon has gone or needs this shim no longer.
    if !comes_before_an_end(&control, &signals) {
        return Ok(());
    }
    let Some((daemon, launch)) = hear_launch(control)? else { return Ok(()) };
    let_go().map_err(|error| because("let go of its standard streams", &error))?;
    let files = Files::new(&launch.directory);
    let record = |phase| record(&launch, &boot_id, shim, phase);

    let lock = match take_lock(&files) {
        Ok(Some(lock)) => lock,
        held => {
            // The files are somebody else's, or cannot be written: only the one who is connected is told.
            let why = held.err().map_or("another one has it".to_owned(), |error| in_words(&error));
            let message = format!("lock `{}` cannot be taken: {why}", files.lock().display());
            daemon.tell_last(&record(refusal(message)));
            return Ok(());
        }
    };
    // A daemon that has gone does not know what becomes of this launch, and the next one, which may look only now that the
    // lock is ours, decides anew. A daemon that lives may have withdrawn it.
    let begin = |desk: &Desk| {
        let begins = !daemon.has_gone() && desk.claim();
        if begins {
            // On a full disk the claim alone says it.
            let _ = files.write_record(&record(Phase::Launching { at: process::boot_time() }));
        }
        begins
    };
    match start(&launch, &files, lock, pipes, (opened, desk), begin) {
        Ok(None) => {}
        Ok(Some(Started { leader, output, log, mut control, notify })) => {
            control.join(daemon);
            let record = record(Phase::Running { leader: leader.process, at: leader.at });
            // What the launch was, its environment above all, is not needed any more and can be large.
            drop((launch, boot_id));
            Keeper::new(files, record, signals, output, log, control, notify).run();
        }
        Err(Refusal { stage, message }) => {
            let record = record(Phase::Refused { stage, message, at: process::boot_time() });
            // The one who is connected is told in any case; a record on a full disk is not worth more words.
            let _ = files.write_record(&record);
            daemon.tell_last(&record);
        }
    }
    Ok(())
}

/// The daemon and the template may have more open than a service should begin with.
fn limit(descriptors: Option<u64>) -> nix::Result<()> {
    let Some(number) = descriptors else { return Ok(()) };
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, number.min(hard), hard)
}

/// Says on behalf of a shim that could not be born why there is none.
pub(crate) fn refuse(parcel: Parcel, message: String) -> io::Result<()> {
    let Some((daemon, launch)) = hear_launch(parcel.control)? else { return Ok(()) };
    let me = Process::of(std::process::id()).ok_or_else(|| io::Error::other("cannot read /proc"))?;
    daemon.tell_last(&record(&launch, &process::boot_id()?, me, refusal(message)));
    Ok(())
}

fn record(launch: &Launch, boot_id: &str, shim: Process, phase: Phase) -> Record {
    Record {
        version: PROTOCOL_VERSION,
        service: launch.service.clone(),
        run: launch.run,
        boot_id: boot_id.to_owned(),
        shim,
        phase,
        notified: false,
        said: Said::default(),
        dropped: launch.missing.lines,
        untold: launch.missing.untold,
        left: None,
    }
}

fn refusal(message: String) -> Phase {
    Phase::Refused { stage: Stage::Prepare, message, at: process::boot_time() }
}

/// Waits for the launch, unless somebody asks this shim to end before that. Later that would be asked of its service.
fn comes_before_an_end(control: &OwnedFd, signals: &SignalFd) -> bool {
    loop {
        let watch = |fd| PollFd::new(fd, PollFlags::POLLIN);
        let mut fds = [watch(control.as_fd()), watch(signals.as_fd())];
        // It fails only by being interrupted. Then there is nothing yet, which is also what it says.
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

/// The daemon, and what it wants, if it wants anything.
fn hear_launch(control: OwnedFd) -> io::Result<Option<(Peer, Launch)>> {
    let mut daemon =
        Peer::new(UnixStream::from(control)).map_err(|error| because("use its connection", &error))?;
    let line = daemon.first_line().map_err(|error| because("read the launch", &error))?;
    let Some(line) = line else { return Ok(None) };
    let launch: Launch = serde_json::from_slice(&line).map_err(|error| because("read the launch", &error))?;
    if launch.version != PROTOCOL_VERSION {
        let message = format!("cannot understand version {}, only {PROTOCOL_VERSION}", launch.version);
        return Err(io::Error::other(message));
    }
    Ok(Some((daemon, launch)))
}

/// Makes this process independent of the one that started it, and the parent of all that is orphaned below it.
fn detach() -> nix::Result<SignalFd> {
    prctl::set_name(c"service-shim")?;
    nix::unistd::setsid()?;
    prctl::set_child_subreaper(true)?;
    be_quick();
    take_signals()
}

/// A caller's pipe must not stay open for as long as a service runs.
fn let_go() -> nix::Result<()> {
    let null = File::options().read(true).write(true).open("/dev/null").map_err(|_| Errno::ENODEV)?;
    nix::unistd::dup2_stdin(&null)?;
    nix::unistd::dup2_stdout(&null)?;
    nix::unistd::dup2_stderr(&null)
}

/// A short turn, and therefore a soon one (`sched(7)`, since Linux 6.12): what a service writes is read before it has written
/// much more, to the other stream above all. It is for this process alone. Where it cannot be had nothing is lost but that.
#[expect(unsafe_code, reason = "neither libc nor nix has a function for sched_setattr(2)")]
fn be_quick() {
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
    // SAFETY: the size says how much there is to write to and to read.
    unsafe {
        let got = libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, SIZE, 0);
        if got == 0 && attributes.policy == 0 {
            (attributes.size, attributes.flags, attributes.runtime) = (SIZE, RESET_ON_FORK, TURN);
            libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0);
        }
    }
}

fn take_signals() -> nix::Result<SignalFd> {
    let set: SigSet = SIGNALS.into_iter().collect();
    set.thread_set_mask()?;
    SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
}

/// The lock, unless another one keeps the service. A daemon that looks whether it is held holds it for a moment itself.
fn take_lock(files: &Files) -> io::Result<Option<File>> {
    let deadline = Instant::now() + GLANCE;
    loop {
        match files.try_lock() {
            Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(1)),
            outcome => return outcome,
        }
    }
}

/// All that a running service needs here.
struct Started {
    leader: spawn::Leader,
    output: Output,
    log: Log,
    control: Control,
    notify: Option<Notify>,
}

/// `None` if it is not to begin any more.
fn start(
    launch: &Launch,
    files: &Files,
    lock: File,
    pipes: [Pipe; 2],
    (desk, memory): (Desk, OwnedFd),
    begin: impl FnOnce(&Desk) -> bool,
) -> Result<Option<Started>, Refusal> {
    let prepare = |what: &str, error: &io::Error| Refusal {
        stage: Stage::Prepare,
        message: format!("{what} cannot be opened: {}", in_words(error)),
    };
    let watch = launch.ready_log.as_deref().map(Watch::new).transpose().map_err(|error| Refusal {
        stage: Stage::Prepare,
        message: format!("`ready.log` is not a regular expression: {error}"),
    })?;
    let mut log = Log::open(files.clone(), launch.log)
        .map(|log| log.missing(launch.missing).watched_by(watch))
        .map_err(|error| prepare(&format!("log `{}`", files.log().display()), &error))?;
    log.end_lines();
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
    if !begin(&desk) {
        return Ok(None);
    }
    desk.label(files.directory(), launch.log);
    let leader = service.start([stdout.write, stderr.write])?;
    Ok(Some(Started { leader, output: Output { streams, desk, memory }, log, control, notify }))
}
