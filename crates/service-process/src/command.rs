//! Commands of services: `exec:` checks, stop commands, and the Nushell of managers. Each runs without a shell, in its
//! own process group, which is killed at the time limit.

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::stat::{SFlag, fstat};
use nix::unistd::{Gid, Pid, Uid, fchown, geteuid, getpid, getppid, gettid, setgroups, setresgid, setresuid};
use service_core::config::Service;
use service_core::health::CheckFault;
use service_host::clock;
use service_host::credentials::{IdentityError, resolve_identity};
use service_host::descriptors;
use service_host::environment::{
    EnvironmentError, describe_slow_lookup, inherited_environment, read_environment,
};
use service_host::paths::Paths;
use service_host::text::CheckText;
use service_host::text::truncate;
use service_shim::error_text::explain_process_limit;
use service_shim::keyring;
use service_shim::protocol::Identity;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, ChildStdin, Command};
use tokio::task::JoinError;

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

/// The maximum length of a command in a message.
const MAX_COMMAND_CHARS: usize = 200;

/// The limit of a check's output.
const CHECK_OUTPUT_LIMIT: OutputLimit = OutputLimit::Latest(64 * 1024);

/// The variable that marks the processes of one call, including those that leave its process group.
const MARK: &str = "SERVICE_CALL_ID";

/// The maximum number of searches. Processes that remain then cannot be killed, for example another user's.
const MAX_SEARCHES: u32 = 20;

/// The chunk size of output that goes into a file.
const CHUNK_BYTES: usize = 64 * 1024;

/// The time limit for reading the output after the end of a child.
const FINAL_OUTPUT_TIMEOUT: Duration = Duration::from_millis(200);

/// Why a command of a service fails.
#[derive(Debug, Error)]
enum CommandError {
    #[error("cannot split `{command}` into words: {error}")]
    Split { command: String, error: shell_words::ParseError },
    #[error("the command is empty")]
    Empty,
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error("{lookup} within {limit:?}")]
    LookupTimeout { lookup: &'static str, limit: Duration },
    #[error("cannot look up the user of the service: {0}")]
    LookupAborted(JoinError),
    #[error("cannot run `{program}`: {error}")]
    Spawn { program: String, error: std::io::Error },
    #[error("cannot wait for `{program}`: {error}")]
    Wait { program: String, error: std::io::Error },
    #[error("`{command}` did not end within {limit:?}")]
    Timeout { command: String, limit: Duration },
    #[error("`{command}` ended with code {code}")]
    Code { command: String, code: i32, output: String },
    #[error("`{command}` was ended by a signal")]
    Signal { command: String, output: String },
}

impl From<CommandError> for CheckText {
    fn from(error: CommandError) -> Self {
        let message = error.to_string();
        match error {
            CommandError::Timeout { .. } => Self::from(message).with_fault(Some(CheckFault::Timeout)),
            CommandError::Code { output, .. } | CommandError::Signal { output, .. } => {
                Self { message, output: Some(output), fault: None }
            }
            _ => Self::from(message),
        }
    }
}

/// Runs a command of a service, in its directory and environment, as its user. The result includes the last line of
/// output.
pub async fn run(
    paths: &Arc<Paths>,
    service: &Service,
    command: &str,
    purpose: Purpose,
    limit: Duration,
) -> Result<CheckText, CheckText> {
    Ok(run_command(paths, service, command, purpose, limit).await?)
}

async fn run_command(
    paths: &Arc<Paths>,
    service: &Service,
    command: &str,
    purpose: Purpose,
    limit: Duration,
) -> Result<CheckText, CommandError> {
    let argv = shell_words::split(command)
        .map_err(|error| CommandError::Split { command: command.to_owned(), error })?;
    let (program, arguments) = argv.split_first().ok_or(CommandError::Empty)?;
    let named = || program.clone();
    let mut child = Command::new(program);
    let Own { variables, identity, inherited } = own(paths, service, limit).await?;
    if inherited.is_some() {
        child.env_clear();
    }
    if service.has_no_new_privileges() {
        lose_chances(&mut child);
    }
    if let Some(identity) = identity {
        child.env("HOME", &identity.home).env("USER", &identity.name).env("LOGNAME", &identity.name);
        run_as(&mut child, identity);
    }
    child
        .args(arguments)
        .envs(inherited.unwrap_or_default())
        .envs(variables)
        .current_dir(paths.working_dir(service.working_dir.as_deref()))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut group = ProcessGroup::spawn(child, purpose)
        .map_err(|error| CommandError::Spawn { program: named(), error })?;
    let finished = tokio::time::timeout(limit, group.finish(CHECK_OUTPUT_LIMIT)).await;
    let ended = finished
        .map_err(|_| CommandError::Timeout { command: command.to_owned(), limit })?
        .map_err(|error| CommandError::Wait { program: named(), error })?;
    let (text, command) = (ended.stdout + &ended.stderr, truncate(command, MAX_COMMAND_CHARS));
    let last_line = text.lines().map(str::trim).rfind(|line| !line.is_empty());
    let output = last_line.unwrap_or_default().to_owned();
    match ended.status.code() {
        Some(0) => {
            let message = format!("`{command}` succeeded");
            Ok(CheckText { message, output: Some(output), fault: None })
        }
        Some(code) => Err(CommandError::Code { command, code, output }),
        None => Err(CommandError::Signal { command, output }),
    }
}

/// The environment, directory and user of a service, which its commands share.
struct Own {
    variables: Vec<(String, String)>,
    identity: Option<Identity>,
    inherited: Option<Vec<(String, String)>>,
}

impl Own {
    fn resolve(base_dir: &Path, service: &Service) -> Result<Self, CommandError> {
        let variables = read_environment(base_dir, service)?;
        let identity = resolve_identity(service)?;
        let inherited = inherited_environment(service, identity.as_ref());
        Ok(Self { variables, identity, inherited })
    }
}

/// Looks up these properties, in another thread if a file system or a name service may hang.
async fn own(paths: &Arc<Paths>, service: &Service, limit: Duration) -> Result<Own, CommandError> {
    let Some(lookup) = describe_slow_lookup(service) else {
        return Own::resolve(&paths.base_dir, service);
    };
    let (paths, service) = (Arc::clone(paths), service.clone());
    let looked_up = tokio::task::spawn_blocking(move || Own::resolve(&paths.base_dir, &service));
    let looked_up = tokio::time::timeout(limit, looked_up).await;
    let looked_up = looked_up.map_err(|_| CommandError::LookupTimeout { lookup, limit })?;
    looked_up.map_err(CommandError::LookupAborted)?
}

/// Sets the user of a command. Unlike `Command::uid`, this also sets the groups of the service.
#[expect(unsafe_code, reason = "pre_exec runs in a forked child, which is unsafe in general")]
fn run_as(command: &mut Command, identity: Identity) {
    if !geteuid().is_root() {
        // A process without root privileges keeps its user.
        return;
    }
    let (uid, gid) = (Uid::from_raw(identity.uid), Gid::from_raw(identity.gid));
    let groups: Vec<Gid> = identity.groups.into_iter().map(Gid::from_raw).collect();
    let become_it = move || {
        keyring::join_own()?;
        own_outputs(uid, gid);
        setgroups(&groups)?;
        setresgid(gid, gid, gid)?;
        Ok(setresuid(uid, uid, uid)?)
    };
    // SAFETY: the closure only makes system calls; it neither locks nor allocates.
    unsafe { command.pre_exec(become_it) };
}

/// Changes the owner of the output pipes to the user of the command, so that the command can open `/dev/stdout`.
/// Other files do not belong to the daemon.
fn own_outputs(uid: Uid, gid: Gid) {
    for output in [std::io::stdout().as_raw_fd(), std::io::stderr().as_raw_fd()] {
        // SAFETY: both descriptors are open in a child that was just forked.
        #[expect(unsafe_code, reason = "the process groups are known only by number")]
        let output = unsafe { BorrowedFd::borrow_raw(output) };
        let kind = fstat(output).map(|stat| stat.st_mode & SFlag::S_IFMT.bits());
        if kind == Ok(SFlag::S_IFIFO.bits()) {
            let _ = fchown(output, Some(uid), Some(gid));
        }
    }
}

/// Sets `no_new_privs`: like the service itself, the command cannot gain privileges by executing a program.
#[expect(unsafe_code, reason = "pre_exec runs in a forked child, which is unsafe in general")]
fn lose_chances(command: &mut Command) {
    // SAFETY: the closure makes one system call.
    unsafe { command.pre_exec(|| Ok(nix::sys::prctl::set_no_new_privs()?)) };
}

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
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let is_marked = |pid: &i32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == mark)
    };
    pids.filter(is_marked).map(Pid::from_raw).collect()
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
