//! [`Templates`]: the process that shims are forked from. It is started with the daemon, and again when it has died;
//! shims outlive it, as they outlive the daemon.

use nix::sys::signal::{Signal, kill};
use nix::unistd::{AccessFlags, Pid, access};
use service_shim::protocol::Hello;
use service_shim::words::no_process;
use service_shim::{Heritage, PROTOCOL_VERSION, Parcel};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader, Interest};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::sync::Mutex;

/// How long a template may take to say hello.
const FIRST_WORD: Duration = Duration::from_secs(5);

/// The template of a daemon.
#[derive(Debug)]
pub(crate) struct Templates {
    program: PathBuf,
    descriptors: Option<u64>,
    /// The lock is tokio's because a template that has to be started first is awaited.
    current: Mutex<Option<Template>>,
}

#[derive(Debug)]
struct Template {
    socket: UnixStream,
    process: Child,
}

impl Templates {
    /// Starts nothing yet. The program is `service-shim`; so many descriptors a service may have open.
    pub(crate) fn new(program: PathBuf, descriptors: Option<u64>) -> Self {
        Self { program, descriptors, current: Mutex::default() }
    }

    /// A shim that waits for its launch on this connection, and what is kept in case that it dies.
    ///
    /// It may also never come into being, if the template is killed just now: then the connection ends without a word.
    pub(crate) async fn shim(&self) -> io::Result<(UnixStream, Heritage)> {
        let mut current = self.current.lock().await;
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

    /// Starts one, if there is none, so that the first service does not wait for it. What is wrong with it the first start says.
    pub(crate) async fn warm(&self) {
        let mut current = self.current.lock().await;
        if current.is_none() {
            *current = self.start().await.ok();
        }
    }

    /// Lets a template that somebody has stopped (`SIGSTOP`) go on.
    pub(crate) async fn wake(&self) {
        let current = self.current.lock().await;
        let id = current.as_ref().and_then(|template| template.process.id());
        if let Some(pid) = id.and_then(|id| i32::try_from(id).ok()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGCONT);
        }
    }

    /// Whether a shim could be had: the template runs, or can be started. One that has died is replaced.
    pub(crate) async fn ready(&self) -> io::Result<()> {
        let mut current = self.current.lock().await;
        let Some(template) = &mut *current else { return Ok(access(&self.program, AccessFlags::X_OK)?) };
        if template.process.try_wait()?.is_some() {
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
        let mut line = String::new();
        tokio::time::timeout(FIRST_WORD, BufReader::new(&mut socket).read_line(&mut line)).await??;
        match serde_json::from_str(&line) {
            Ok(Hello { version: PROTOCOL_VERSION }) => Ok(Template { socket, process }),
            _ => Err(io::Error::other(format!(
                "`{}` is not of this daemon's version; install both from the same release",
                self.program.display()
            ))),
        }
    }
}

impl Template {
    async fn send(&self, parcel: &Parcel) -> io::Result<()> {
        let socket = self.socket.as_fd();
        self.socket.async_io(Interest::WRITABLE, || Ok(parcel.send(&socket)?)).await
    }
}

fn from_std(stream: StdUnixStream) -> io::Result<UnixStream> {
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}
