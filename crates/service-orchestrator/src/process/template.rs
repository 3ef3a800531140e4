//! [`Templates`]: the process that shims are forked from. It is started with the daemon, and again when it has died;
//! shims outlive it, as they outlive the daemon.
//!
//! While services wait for others, shims are made that wait for their launch: to fork takes longer than to launch. One that
//! is not needed any more ends when it is hung up on, as all of them do with the daemon.

use crate::usage;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{MsgFlags, recv};
use nix::unistd::{AccessFlags, Pid, access};
use service_shim::protocol::Hello;
use service_shim::words::no_process;
use service_shim::{Heritage, PROTOCOL_VERSION, Parcel};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader, Interest};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::sync::Mutex;

/// How long a template may take to say hello.
const FIRST_WORD: Duration = Duration::from_secs(5);

/// At most so many shims wait for a launch; each has 90 KB and holds four descriptors here.
const MOST_SPARE: usize = 32;
/// They are made so long after it is known how many are needed: what has just been launched needs the processors now.
const LULL: Duration = Duration::from_millis(10);

/// A shim that waits for its launch on this connection, and what is kept in case that it dies.
type Unborn = (UnixStream, Heritage);

/// The template of a daemon.
#[derive(Debug)]
pub(crate) struct Templates {
    program: PathBuf,
    descriptors: Option<u64>,
    /// How many shims should wait for a launch.
    wanted: AtomicUsize,
    /// Whether that will be seen to after the lull.
    stocking: AtomicBool,
    /// The process, or 0. It is woken without the lock, which is held by whoever waits until one that is frozen takes a parcel.
    pid: AtomicU32,
    /// The lock is tokio's because a template that has to be started first is awaited.
    current: Mutex<Option<Template>>,
}

#[derive(Debug)]
struct Template {
    socket: UnixStream,
    process: Child,
    spare: Vec<Unborn>,
}

impl Templates {
    /// Starts nothing yet. The program is `service-shim`; so many descriptors a service may have open.
    pub(crate) fn new(program: PathBuf, descriptors: Option<u64>) -> Self {
        let (wanted, stocking, pid, current) = Default::default();
        Self { program, descriptors, wanted, stocking, pid, current }
    }

    /// One to launch.
    ///
    /// It may also never come into being, if the template is killed just now: then the connection ends without a word.
    pub(crate) async fn shim(self: &Arc<Self>) -> io::Result<Unborn> {
        let mut current = self.current.lock().await;
        if let Some(spare) = current.as_mut().and_then(Template::take_spare) {
            self.stock_up();
            return Ok(spare);
        }
        // Packed in turn: a thousand parcels that wait for the template would hold ten thousand descriptors.
        let (parcel, ours, heritage) = Parcel::pack()?;
        let known = match &*current {
            Some(template) => template.send(&parcel).await.is_ok(),
            None => false,
        };
        if !known {
            current.insert(self.start().await?).send(&parcel).await?;
        }
        Ok((from_std(ours)?, heritage))
    }

    /// So many services wait for others: soon there is a shim for each of them, or for the first few.
    pub(crate) fn want(self: &Arc<Self>, number: usize) {
        let number = number.min(MOST_SPARE);
        if self.wanted.swap(number, Ordering::Relaxed) != number {
            self.stock_up();
        }
    }

    fn stock_up(self: &Arc<Self>) {
        if self.stocking.swap(true, Ordering::Relaxed) {
            return;
        }
        let templates = Arc::clone(self);
        tokio::spawn(async move {
            tokio::time::sleep(LULL).await;
            templates.stocking.store(false, Ordering::Relaxed);
            while templates.stock().await {
                tokio::task::yield_now().await;
            }
        });
    }

    /// Makes one of those that are wanted, and lets go of those that are not; whether it has made one.
    async fn stock(&self) -> bool {
        let mut current = self.current.lock().await;
        let wanted = self.wanted.load(Ordering::Relaxed);
        // What is wrong with a template, or with this machine, the next start says.
        let Some(template) = &mut *current else { return false };
        template.spare.truncate(wanted);
        template.spare.len() < wanted && template.make_spare().await.is_ok()
    }

    /// Starts one, if there is none, so that the first service does not wait for it. What is wrong with it the first start says.
    pub(crate) async fn warm(&self) {
        let mut current = self.current.lock().await;
        if current.is_none() {
            *current = self.start().await.ok();
        }
    }

    /// Lets a template that somebody has stopped (`SIGSTOP`) go on, and shims of it that keep nothing yet.
    pub(crate) fn wake(&self) {
        let pid = self.pid.load(Ordering::Relaxed);
        let unborn = |shim: &u32| usage::is_frozen(*shim) && usage::children(*shim).is_empty();
        let shims = usage::children(pid).into_iter().filter(unborn);
        for frozen in std::iter::once(pid).chain(shims).filter(|pid| *pid != 0) {
            let _ = kill(Pid::from_raw(frozen.cast_signed()), Signal::SIGCONT);
        }
    }

    /// Whether a shim could be had: the template runs, or can be started. One that has died is replaced.
    pub(crate) async fn ready(&self) -> io::Result<()> {
        let mut current = self.current.lock().await;
        let Some(template) = &mut *current else { return Ok(access(&self.program, AccessFlags::X_OK)?) };
        if template.process.try_wait()?.is_some() {
            self.pid.store(0, Ordering::Relaxed);
            *template = self.start().await?;
        }
        Ok(())
    }

    async fn start(&self) -> io::Result<Template> {
        let (ours, theirs) = StdUnixStream::pair()?;
        let mut socket = from_std(ours)?;
        let process = Command::new(&self.program)
            .args(self.descriptors.map(|number| number.to_string()))
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .current_dir("/")
            .spawn()
            .map_err(no_process)?;
        self.pid.store(process.id().unwrap_or(0), Ordering::Relaxed);
        let mut line = String::new();
        tokio::time::timeout(FIRST_WORD, BufReader::new(&mut socket).read_line(&mut line)).await??;
        match serde_json::from_str(&line) {
            Ok(Hello { version: PROTOCOL_VERSION }) => Ok(Template { socket, process, spare: Vec::new() }),
            _ => Err(io::Error::other(format!(
                "`{}` is not of this daemon's version; install both from the same release",
                self.program.display()
            ))),
        }
    }
}

impl Template {
    async fn make_spare(&mut self) -> io::Result<()> {
        let (parcel, ours, heritage) = Parcel::pack()?;
        self.send(&parcel).await?;
        self.spare.push((from_std(ours)?, heritage));
        Ok(())
    }

    /// One that waits, unless there is none or nobody would look after it.
    fn take_spare(&mut self) -> Option<Unborn> {
        let lives = is_open(&self.socket);
        std::iter::from_fn(|| self.spare.pop()).find(|(shim, _)| lives && is_open(shim))
    }

    async fn send(&self, parcel: &Parcel) -> io::Result<()> {
        let socket = self.socket.as_fd();
        self.socket.async_io(Interest::WRITABLE, || Ok(parcel.send(&socket)?)).await
    }
}

/// Whether somebody who has nothing to say is at the other end.
fn is_open(stream: &UnixStream) -> bool {
    let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
    recv(stream.as_raw_fd(), &mut [0], flags) == Err(Errno::EAGAIN)
}

fn from_std(stream: StdUnixStream) -> io::Result<UnixStream> {
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}
