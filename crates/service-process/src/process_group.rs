//! [`ProcessGroup`]: a command and the processes that it starts, which are killed with it; and the output of the command.

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, getpid, getppid, gettid};
use service_host::clock;
use service_host::descriptors;
use service_host::procfs;
use service_shim::error_text::explain_process_limit;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::pin::pin;
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, ChildStdin, Command};

/// The limit of retained output.
#[derive(Debug, Clone, Copy)]
pub enum OutputLimit {
    /// Up to this number of bytes; earlier output is dropped.
    Latest(usize),
    /// All output; more than this number of bytes is an error.
    Within(usize),
}

/// What a command does to its service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Changes nothing. Without the daemon nobody reads the result, so the command ends with the daemon.
    Query,
    /// Starts or stops the service, and finishes also without the daemon.
    Action,
}

/// The variable that marks the processes of one call, including those that leave its process group.
const MARK: &str = "SERVICE_CALL_ID";

/// The maximum number of searches. Processes that remain then cannot be killed, for example another user's.
const MAX_SEARCHES: u32 = 20;

/// The chunk size of output that goes into a file.
const CHUNK_BYTES: usize = 64 * 1024;

/// The time limit for reading the output after the end of a child.
const FINAL_OUTPUT_TIMEOUT: Duration = Duration::from_millis(200);

/// The limit of a check's output.
pub(super) const CHECK_OUTPUT_LIMIT: OutputLimit = OutputLimit::Latest(64 * 1024);

/// The exit status and the output of a child.
pub struct Output {
    /// How the command ended.
    pub status: ExitStatus,
    /// The standard output of the child.
    pub stdout: String,
    /// The standard error of the child.
    pub stderr: String,
}

/// A child and its process group. Dropping it kills the group. If the child has not ended, marked processes that have
/// left the group are killed as well.
pub struct ProcessGroup {
    child: Child,
    id: Option<Pid>,
    mark: Option<String>,
}

impl ProcessGroup {
    /// Runs a command as the leader of a group.
    pub fn spawn(mut command: Command, purpose: Purpose) -> std::io::Result<Self> {
        let mark = mark();
        descriptors::as_meant(command.as_std_mut());
        if purpose == Purpose::Query {
            end_with_daemon(&mut command);
        }
        let child = command.env(MARK, &mark).process_group(0).spawn().map_err(explain_process_limit)?;
        let id = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        Ok(Self { child, id, mark: Some(format!("{MARK}={mark}")) })
    }

    /// The process of the child, until it has ended.
    pub fn leader(&self) -> Option<u32> {
        self.child.id()
    }

    /// The child's standard input, once.
    pub fn stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// The mark of the group's processes.
    pub fn call_id(&self) -> &str {
        self.mark.as_deref().and_then(|mark| mark.split_once('=')).map_or("", |(_, id)| id)
    }

    /// Waits for the end of the child. Processes that the child leaves behind may hold its pipes open.
    pub async fn finish(&mut self, most: OutputLimit) -> std::io::Result<Output> {
        let (pipe, mut stdout) = (self.child.stdout.take(), Vec::new());
        let (status, stderr) = self.end(read(pipe, &mut stdout, most), most).await?;
        Ok(Output { status, stdout: text(&stdout), stderr })
    }

    /// Like [`ProcessGroup::finish`], with the standard output in a file of at most `most` bytes.
    pub async fn finish_into(&mut self, file: Arc<File>, most: usize) -> std::io::Result<Output> {
        let pipe = self.child.stdout.take();
        let (status, stderr) = self.end(copy_to_file(pipe, file, most), CHECK_OUTPUT_LIMIT).await?;
        Ok(Output { status, stdout: String::new(), stderr })
    }

    async fn end(
        &mut self,
        stdout: impl Future<Output = std::io::Result<()>>,
        most: OutputLimit,
    ) -> std::io::Result<(ExitStatus, String)> {
        let (pipe, mut stderr) = (self.child.stderr.take(), Vec::new());
        let status = {
            let mut reads = pin!(async { tokio::try_join!(stdout, read(pipe, &mut stderr, most)) });
            tokio::select! {
                read = &mut reads => {
                    read?;
                    self.child.wait().await?
                }
                status = self.child.wait() => {
                    if let Ok(read) = tokio::time::timeout(FINAL_OUTPUT_TIMEOUT, reads).await {
                        read?;
                    }
                    status?
                }
            }
        };
        // The child has ended by itself, so the search through all processes is not needed.
        self.mark = None;
        Ok((status, text(&stderr)))
    }

    /// Releases the remaining processes of the child, which continue.
    pub fn release_children(mut self) {
        self.id = None;
    }
}

impl Drop for ProcessGroup {
    /// Kills the group also after a normal exit, since a check may leave processes in the background.
    fn drop(&mut self) {
        let Some(id) = self.id else { return };
        let _ = killpg(id, Signal::SIGKILL);
        let Some(mark) = self.mark.take() else { return };
        // The search reads the environment of every process, which takes longer than other tasks of this thread may wait.
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(move || kill_marked(mark.as_bytes()))),
            Err(_) => kill_marked(mark.as_bytes()),
        }
    }
}

fn kill_marked(mark: &[u8]) {
    for _ in 0..MAX_SEARCHES {
        let left = marked(mark);
        if left.is_empty() {
            break;
        }
        for pid in left {
            let _ = kill(pid, Signal::SIGKILL);
        }
    }
}

/// Makes the kernel kill the command when the daemon ends. The kernel watches the thread that starts the command, so
/// this applies only on the main thread, which ends with the process.
#[expect(unsafe_code, reason = "pre_exec runs in a forked child, which is unsafe in general")]
fn end_with_daemon(command: &mut Command) {
    let daemon = getpid();
    if gettid() != daemon {
        return;
    }
    // Must follow the switch to another user, which resets this setting.
    let tie = move || {
        prctl::set_pdeathsig(Signal::SIGKILL)?;
        match getppid() == daemon {
            true => Ok(()),
            // The daemon ended before the setting took effect.
            false => Err(Errno::ESRCH.into()),
        }
    };
    // SAFETY: the closure makes two system calls.
    unsafe { command.pre_exec(tie) };
}

/// A mark that is unique across calls and daemons.
fn mark() -> String {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    format!("{}-{}-{call}", std::process::id(), clock::now().as_nanos())
}

/// The processes with this variable in their environment.
fn marked(mark: &[u8]) -> Vec<Pid> {
    let pids = procfs::pids().unwrap_or_default().into_iter();
    let marked = pids.filter(|pid| procfs::has_variable(*pid, mark).unwrap_or(false));
    marked.filter_map(|pid| i32::try_from(pid).ok()).map(Pid::from_raw).collect()
}

/// Reads to the end and retains the part within the limit.
async fn read(
    stream: Option<impl AsyncRead + Unpin>,
    into: &mut Vec<u8>,
    most: OutputLimit,
) -> std::io::Result<()> {
    let Some(mut stream) = stream else { return Ok(()) };
    while let Ok(1..) = stream.read_buf(into).await {
        match most {
            OutputLimit::Latest(most) if into.len() > 2 * most => drop(into.drain(..into.len() - most)),
            OutputLimit::Within(most) if into.len() > most => {
                return Err(too_much(most));
            }
            OutputLimit::Latest(_) | OutputLimit::Within(_) => {}
        }
    }
    Ok(())
}

/// Copies to a file until the end, in chunks. The blocking writes run in another thread.
async fn copy_to_file(
    stream: Option<impl AsyncRead + Unpin>,
    file: Arc<File>,
    most: usize,
) -> std::io::Result<()> {
    let Some(mut stream) = stream else { return Ok(()) };
    let (mut chunk, mut kept) = (Vec::with_capacity(CHUNK_BYTES), 0);
    while let Ok(1..) = stream.read_buf(&mut chunk).await {
        kept += chunk.len();
        if kept > most {
            return Err(too_much(most));
        }
        let file = Arc::clone(&file);
        let write = move || {
            (&*file).write_all(&chunk)?;
            chunk.clear();
            Ok(chunk)
        };
        chunk = tokio::task::spawn_blocking(write).await.map_err(std::io::Error::other).flatten()?;
    }
    Ok(())
}

fn too_much(most: usize) -> std::io::Error {
    let error = format!("it printed more than {} MiB", most >> 20);
    std::io::Error::new(ErrorKind::FileTooLarge, error)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
