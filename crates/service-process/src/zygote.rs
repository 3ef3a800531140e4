//! [`Zygote`]: the process that shims are forked from. The zygote is started with the daemon, and restarted at once
//! when it dies. Shims outlive the zygote, as they outlive the daemon.
//!
//! While services wait for dependencies, idle shims are forked ahead of their launch, because forking takes longer than
//! launching. An idle shim ends when its connection is closed, by this module or with the daemon.
//!
//! A task waits for the end of each zygote. The zygote's idle shims are then dropped, and every launch that was sent to
//! the zygote is notified ([`Lifeline::ended`]), because a socket does not report the death of its reader.

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{MsgFlags, recv};
use nix::unistd::{AccessFlags, Pid, access};
use service_core::Moment;
use service_host::descriptors::DescriptorBudget;
use service_host::{clock, procfs};
use service_shim::error_text::explain_process_limit;
use service_shim::protocol::Hello;
use service_shim::shared_buffer::claim;
use service_shim::{LaunchFds, OrphanedOutput, PROTOCOL_VERSION};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::PathBuf;
use std::pin::Pin;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader, Interest};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::sync::{Mutex, watch};

/// The time limit for the hello of a zygote.
const HELLO_TIMEOUT: Duration = Duration::from_secs(30);
/// After this time without an answer, the zygote is continued, in case it is frozen.
const FROZEN_CHECK_DELAY: Duration = Duration::from_secs(1);
/// The minimum interval between searches for frozen processes.
const CONTINUE_INTERVAL: Duration = Duration::from_millis(500);
/// The minimum interval between restarts after the death of a zygote. A launch starts a zygote without this delay.
const MIN_RESTART_INTERVAL: Duration = Duration::from_millis(100);

/// The maximum number of idle shims. Each uses 90 KB, and four descriptors of the daemon.
const MAX_IDLE_SHIMS: usize = 32;
/// The delay before idle shims are forked. Current launches need the processors first.
const REFILL_DELAY: Duration = Duration::from_millis(10);

/// A shim without a launch, also one that is still being forked.
#[derive(Debug)]
pub struct IdleShim {
    /// The connection of the launch.
    pub stream: UnixStream,
    /// The output that remains if the shim dies.
    pub orphaned_output: OrphanedOutput,
    /// Ends with its zygote.
    pub zygote: Lifeline,
}

/// Ends with a zygote.
#[derive(Debug, Clone)]
pub struct Lifeline(pub(super) watch::Receiver<()>);

impl Lifeline {
    /// Returns when the zygote has died.
    pub async fn ended(&mut self) {
        while self.0.changed().await.is_ok() {}
    }

    fn has_ended(&self) -> bool {
        self.0.has_changed().is_err()
    }
}

impl IdleShim {
    /// Closes the connection of a surplus shim. The shim then exits, unless it is frozen.
    fn disconnect(self) {
        if let Ok(Some(shim)) = claim::withdraw(&self.orphaned_output.shared_buffer)
            && shim.is_alive()
        {
            let _ = kill(Pid::from_raw(shim.pid.cast_signed()), Signal::SIGKILL);
        }
    }
}

/// The zygote of a daemon.
#[derive(Debug)]
pub struct Zygote {
    program: PathBuf,
    descriptors: Option<u64>,
    /// The wanted number of idle shims.
    idle_target: AtomicUsize,
    /// Whether a refill is scheduled.
    refill_scheduled: AtomicBool,
    /// The pid of the zygote, or 0. The pid is outside the lock, because a launch may hold the lock while it waits for
    /// a frozen zygote, which another task must continue.
    pid: AtomicU32,
    /// The time of the last continue, in nanoseconds since boot.
    last_continue: AtomicU64,
    /// The lock is tokio's, because it is held across the start of a zygote.
    current: Mutex<Option<ZygoteProcess>>,
}

#[derive(Debug)]
struct ZygoteProcess {
    socket: UnixStream,
    lifeline: Lifeline,
    idle: Vec<IdleShim>,
}

impl Zygote {
    /// A zygote that is not started yet. `program` is the path of `service-shim`; `descriptors` is the descriptor
    /// limit of services.
    pub fn new(program: PathBuf, descriptors: Option<u64>) -> Self {
        let (idle_target, refill_scheduled, pid, last_continue, current) = Default::default();
        Self { program, descriptors, idle_target, refill_scheduled, pid, last_continue, current }
    }

    /// Returns a shim for a launch. If the zygote dies now, the shim is never forked.
    pub async fn shim(self: &Arc<Self>) -> io::Result<IdleShim> {
        let mut current = self.current.lock().await;
        if let Some(idle) = current.as_mut().and_then(ZygoteProcess::pop_idle) {
            self.refill();
            return Ok(idle);
        }
        // The descriptors are created with the lock held: otherwise a thousand launches that wait for the zygote would
        // hold ten thousand descriptors.
        let (launch_fds, ours, orphaned_output) = LaunchFds::create()?;
        let known = match &*current {
            Some(zygote) if !zygote.lifeline.has_ended() => zygote.send(&launch_fds).await.is_ok(),
            _ => false,
        };
        let zygote = match &mut *current {
            Some(zygote) if known => zygote,
            other => {
                let zygote = other.insert(self.start().await?);
                zygote.send(&launch_fds).await?;
                zygote
            }
        };
        Ok(IdleShim { stream: from_std(ours)?, orphaned_output, zygote: zygote.lifeline.clone() })
    }

    /// Sets the number of services that wait for dependencies. An idle shim is forked for each of them, up to the
    /// limit.
    pub fn set_idle_target(self: &Arc<Self>, number: usize) {
        let number = DescriptorBudget::now().idle_shims(number.min(MAX_IDLE_SHIMS));
        if self.idle_target.swap(number, Ordering::Relaxed) != number {
            self.refill();
        }
    }

    fn refill(self: &Arc<Self>) {
        if self.refill_scheduled.swap(true, Ordering::Relaxed) {
            return;
        }
        let zygote = Arc::clone(self);
        tokio::spawn(async move {
            tokio::time::sleep(REFILL_DELAY).await;
            zygote.refill_scheduled.store(false, Ordering::Relaxed);
            while zygote.adjust_idle().await {
                tokio::task::yield_now().await;
            }
        });
    }

    /// Forks one missing idle shim and drops surplus ones. Returns whether a shim was forked.
    async fn adjust_idle(&self) -> bool {
        let mut current = self.current.lock().await;
        let wanted = self.idle_target.load(Ordering::Relaxed);
        // The next start of a service reports the error.
        let Some(zygote) = &mut *current else { return false };
        let idle = wanted.min(zygote.idle.len());
        zygote.idle.drain(idle..).for_each(IdleShim::disconnect);
        zygote.idle.len() < wanted && zygote.make_idle().await.is_ok()
    }

    /// Starts a zygote if there is none, so that the first service does not wait for it. The first start reports an
    /// error.
    pub async fn start_in_advance(self: &Arc<Self>) {
        let mut current = self.current.lock().await;
        if current.is_none() {
            *current = self.start().await.ok();
        }
    }

    /// Continues a zygote that was stopped with `SIGSTOP`, and its shims without a service. Thousands of launches may
    /// call this concurrently.
    pub fn continue_frozen(&self) {
        let now = clock::now().as_nanos();
        let last = self.last_continue.load(Ordering::Relaxed);
        if Duration::from_nanos(now.saturating_sub(last)) < CONTINUE_INTERVAL
            || self.last_continue.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_err()
        {
            return;
        }
        let pid = self.pid.load(Ordering::Relaxed);
        let idle = |shim: &u32| procfs::is_frozen(*shim) && procfs::children(*shim).is_empty();
        let shims = procfs::children(pid).into_iter().filter(idle);
        for frozen in std::iter::once(pid).chain(shims).filter(|pid| *pid != 0) {
            let _ = kill(Pid::from_raw(frozen.cast_signed()), Signal::SIGCONT);
        }
    }

    /// Closes the connections of the zygote and of idle shims. These processes exit, frozen or not, unless a shim
    /// supervises a service.
    pub async fn end(&self) {
        self.idle_target.store(0, Ordering::Relaxed);
        self.last_continue.store(0, Ordering::Relaxed);
        self.continue_frozen();
        // A launch may hold the lock while it waits for a frozen zygote, which was just continued.
        let current = tokio::time::timeout(FROZEN_CHECK_DELAY, self.current.lock()).await;
        let Some(zygote) = current.ok().and_then(|mut current| current.take()) else { return };
        zygote.idle.into_iter().for_each(IdleShim::disconnect);
    }

    /// Checks whether a shim can be forked: the zygote runs, or can be started.
    pub async fn ready(self: &Arc<Self>) -> io::Result<()> {
        let mut current = self.current.lock().await;
        match &*current {
            Some(zygote) if !zygote.lifeline.has_ended() => {}
            Some(_) => *current = Some(self.start().await?),
            None => access(&self.program, AccessFlags::X_OK)?,
        }
        Ok(())
    }

    async fn start(self: &Arc<Self>) -> io::Result<ZygoteProcess> {
        let (ours, theirs) = StdUnixStream::pair()?;
        let mut socket = from_std(ours)?;
        let process = Command::new(&self.program)
            .args(self.descriptors.map(|number| number.to_string()))
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .current_dir("/")
            .spawn()
            .map_err(explain_process_limit)?;
        self.pid.store(process.id().unwrap_or(0), Ordering::Relaxed);
        let (alive, lifeline) = watch::channel(());
        tokio::spawn(wait_for_end(Arc::downgrade(self), process, alive));
        let line = tokio::time::timeout(HELLO_TIMEOUT, self.read_hello(&mut socket)).await??;
        match serde_json::from_str(&line) {
            Ok(Hello { version: PROTOCOL_VERSION }) => {
                Ok(ZygoteProcess { socket, lifeline: Lifeline(lifeline), idle: Vec::new() })
            }
            // The zygote was killed before its hello.
            _ if line.is_empty() => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Err(io::Error::other(format!(
                "`{}` has another version than the daemon; install both from the same release",
                self.program.display()
            ))),
        }
    }

    async fn read_hello(&self, socket: &mut UnixStream) -> io::Result<String> {
        let (mut line, mut socket) = (String::new(), BufReader::new(socket));
        loop {
            match tokio::time::timeout(FROZEN_CHECK_DELAY, socket.read_line(&mut line)).await {
                Ok(read) => return read.map(|_| line),
                Err(_) => self.continue_frozen(),
            }
        }
    }

    /// Handles the end of the zygote `pid`, which was started at `begun`, and starts another one.
    async fn ended(self: Arc<Self>, pid: u32, begun: Moment) {
        let _ = self.pid.compare_exchange(pid, 0, Ordering::Relaxed, Ordering::Relaxed);
        // If the zygote ended before it was registered, its start reports the error.
        let dead = self.current.lock().await.take_if(|zygote| zygote.lifeline.has_ended());
        let Some(dead) = dead else { return };
        tracing::warn!(pid, "the process that shims are forked from has ended; starting another");
        dead.idle.into_iter().for_each(IdleShim::disconnect);
        tokio::time::sleep(MIN_RESTART_INTERVAL.saturating_sub(clock::now().since(begun))).await;
        self.start_in_advance().await;
        self.refill();
    }
}

/// Waits for the end of a zygote's process. The future is boxed because it may start the next zygote, whose end is
/// awaited in the same way.
fn wait_for_end(
    zygote: Weak<Zygote>,
    mut process: Child,
    alive: watch::Sender<()>,
) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        let (begun, pid) = (clock::now(), process.id().unwrap_or(0));
        let _ = process.wait().await;
        drop(alive);
        if let Some(zygote) = zygote.upgrade() {
            zygote.ended(pid, begun).await;
        }
    })
}

impl ZygoteProcess {
    async fn make_idle(&mut self) -> io::Result<()> {
        let (launch_fds, ours, orphaned_output) = LaunchFds::create()?;
        self.send(&launch_fds).await?;
        let zygote = self.lifeline.clone();
        self.idle.push(IdleShim { stream: from_std(ours)?, orphaned_output, zygote });
        Ok(())
    }

    /// An idle shim, unless there is none or the zygote has ended.
    fn pop_idle(&mut self) -> Option<IdleShim> {
        let lives = !self.lifeline.has_ended() && is_open(&self.socket);
        std::iter::from_fn(|| self.idle.pop()).find(|shim| lives && is_open(&shim.stream))
    }

    async fn send(&self, launch_fds: &LaunchFds) -> io::Result<()> {
        let socket = self.socket.as_fd();
        self.socket.async_io(Interest::WRITABLE, || Ok(launch_fds.send(&socket)?)).await
    }
}

/// Whether the peer is alive and silent.
fn is_open(stream: &UnixStream) -> bool {
    let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
    recv(stream.as_raw_fd(), &mut [0], flags) == Err(Errno::EAGAIN)
}

fn from_std(stream: StdUnixStream) -> io::Result<UnixStream> {
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}
