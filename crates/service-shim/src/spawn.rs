//! Starts a process from a [`Launch`], step by step, so that an error names its step.

use crate::notify::Notify;
use crate::resource_limits::ResourceLimits;
use nix::errno::Errno;
use nix::libc;
use nix::sched::{CloneFlags, clone};
use nix::sys::prctl;
use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
use nix::sys::stat::{Mode, umask};
use nix::sys::wait::waitpid;
use nix::unistd::{
    AccessFlags, Gid, Pid, Uid, access, dup2_stderr, dup2_stdout, fchown, getppid, setgroups, setresgid,
    setresuid, setsid,
};
use service_shim::access::{closed_directory, closed_directory_for};
use service_shim::error_text::{describe_error, explain_process_limit};
use service_shim::protocol::Identity;
use service_shim::{Launch, Process, Stage, keyring, process};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::env;
use std::ffi::{CString, NulError, OsStr, OsString, c_char};
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::ptr;

/// The search path when neither the service nor the daemon has a `PATH`.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// The size of the child's stack before `exec`. A tenth of this would suffice.
const STACK_BYTES: usize = 256 * 1024;

/// The steps in the child that can fail.
#[derive(Debug, Clone, Copy)]
enum Step {
    Limits,
    User,
    Exec,
}

/// Why the service was not started.
pub(crate) struct LaunchError {
    pub(crate) stage: Stage,
    /// Continues "cannot start `web`: ".
    pub(crate) message: String,
}

/// The process that was started.
pub(crate) struct Leader {
    pub(crate) process: Process,
    /// When it was started, in [`process::boot_time`].
    pub(crate) at: u64,
}

/// The umask of a service, independent of the shell's.
const UMASK: u32 = 0o022;

/// A service that is ready to be started.
pub(crate) struct Prepared<'a> {
    launch: &'a Launch,
    image: Image,
    resource_limits: ResourceLimits,
}

/// Performs every step that can fail before a process exists.
pub(crate) fn prepare<'a>(launch: &'a Launch, notify: Option<&Notify>) -> Result<Prepared<'a>, LaunchError> {
    enter(&launch.working_dir)?;
    let program = find(launch)?;
    let image = Image::new(launch, program, notify)
        .map_err(|_| failure(Stage::Exec, "its command or environment contains a NUL byte".into()))?;
    let resource_limits = ResourceLimits::open(&launch.limits).map_err(|error| limits_failed(&error))?;
    Ok(Prepared { launch, image, resource_limits })
}

impl Prepared<'_> {
    /// Starts the service with these outputs.
    pub(crate) fn start(&self, outputs: [OwnedFd; 2]) -> Result<Leader, LaunchError> {
        let Self { launch, image, resource_limits } = self;
        let at = process::boot_time();
        let user = launch.identity.as_ref().and_then(User::from_identity);
        if let Some(user) = &user {
            // The owner of a pipe may open `/dev/stdout` and `/dev/stderr`. If the change of the owner fails, the
            // service can still write to the descriptors.
            for output in &outputs {
                let _ = fchown(output, Some(user.uid), Some(user.gid));
            }
        }
        let credentials = Credentials { user, no_new_privileges: launch.no_new_privileges };
        let child =
            spawn(image, launch.identity.as_ref(), &credentials, resource_limits, &launch.argv[0], &outputs)?;
        // A stream ends when the service closes it, so no other process may hold its writing end.
        drop(outputs);
        let process = Process::find_child(child.as_raw().cast_unsigned()).ok_or_else(|| {
            failure(Stage::Exec, "its process cannot be supervised: /proc does not list it".into())
        })?;
        Ok(Leader { process, at })
    }
}

fn failure(stage: Stage, message: String) -> LaunchError {
    LaunchError { stage, message }
}

fn limits_failed(error: &io::Error) -> LaunchError {
    failure(Stage::Prepare, format!("its limits cannot be applied: {}", describe_error(error)))
}

/// Enters the working directory. The shim enters the directory before the fork, so that the error is distinguished from
/// an error of `exec`, and a program `./x` is looked up in this directory.
fn enter(directory: &Path) -> Result<(), LaunchError> {
    env::set_current_dir(directory).map_err(|error| {
        let why = match error.kind() {
            io::ErrorKind::NotFound => "does not exist".to_owned(),
            io::ErrorKind::NotADirectory => "is not a directory".to_owned(),
            _ => format!("cannot be entered: {}", describe_error(&error)),
        };
        failure(Stage::WorkingDirectory, format!("working directory `{}` {why}", directory.display()))
    })
}

/// Finds the file of the program. Like a shell, it skips files in `PATH` that are not executable.
fn find(launch: &Launch) -> Result<PathBuf, LaunchError> {
    let refuse = |why: String| failure(Stage::Program, why);
    let name = launch.argv.first().filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| refuse("the command is empty".into()))?;
    let in_path = !name.contains('/');
    let candidates = if in_path {
        env::split_paths(&search_path(launch)).map(|directory| directory.join(name)).collect()
    } else {
        vec![PathBuf::from(name)]
    };
    let executable = |path: &&PathBuf| path.is_file() && access(*path, AccessFlags::X_OK).is_ok();
    match candidates.iter().find(executable) {
        Some(program) => Ok(program.clone()),
        None if !in_path && Path::new(name).is_dir() => {
            Err(refuse(format!("program `{name}` is a directory")))
        }
        None if candidates.iter().any(|path| path.exists()) => {
            Err(refuse(format!("program `{name}` is not executable")))
        }
        None if in_path => Err(refuse(format!("program `{name}` is not in PATH"))),
        None if let Some(directory) = closed_directory(Path::new(name)) => Err(refuse(format!(
            "program `{name}` cannot be examined: permission denied at `{}`",
            directory.display()
        ))),
        None => Err(refuse(format!("program `{name}` does not exist"))),
    }
}

fn search_path(launch: &Launch) -> OsString {
    let own = launch.env.iter().rev().find(|(key, _)| key == "PATH").map(|(_, value)| value.into());
    own.or_else(|| env::var_os("PATH")).unwrap_or_else(|| DEFAULT_PATH.into())
}

/// The arguments of `exec`.
struct Image {
    program: CString,
    argv: Strings,
    environment: Strings,
}

impl Image {
    fn new(launch: &Launch, program: PathBuf, notify: Option<&Notify>) -> Result<Self, NulError> {
        let environment = environment(launch, notify).into_iter().map(|(mut entry, value)| {
            entry.push("=");
            entry.push(value);
            entry.into_vec()
        });
        Ok(Self {
            program: CString::new(program.into_os_string().into_vec())?,
            argv: Strings::new(launch.argv.iter().map(|argument| argument.as_bytes().to_vec()))?,
            environment: Strings::new(environment)?,
        })
    }

    /// Executes the program. Returns only an error. Unlike `Command`, it does not run a file without a `#!` line with a
    /// shell.
    #[expect(
        unsafe_code,
        reason = "nix allocates memory here, which a child that shares the memory cannot free"
    )]
    fn exec(&self) -> nix::Result<Infallible> {
        let (argv, environment) = (self.argv.pointers.as_ptr(), self.environment.pointers.as_ptr());
        // SAFETY: the path, every argument and every variable end with NUL, and both lists end with a null pointer.
        unsafe { libc::execve(self.program.as_ptr(), argv, environment) };
        Err(Errno::last())
    }
}

/// Strings as `execve` takes them.
struct Strings {
    pointers: Vec<*const c_char>,
    /// The strings that the pointers point to.
    _strings: Vec<CString>,
}

impl Strings {
    fn new(strings: impl Iterator<Item = Vec<u8>>) -> Result<Self, NulError> {
        let strings = strings.map(CString::new).collect::<Result<Vec<_>, _>>()?;
        let pointers = strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect();
        Ok(Self { pointers, _strings: strings })
    }
}

fn environment(launch: &Launch, notify: Option<&Notify>) -> BTreeMap<OsString, OsString> {
    let mut environment: BTreeMap<OsString, OsString> = match launch.env_clear {
        true => BTreeMap::new(),
        false => env::vars_os().collect(),
    };
    // systemd or an outer call sets these variables for the daemon, not for the service.
    for name in ["NOTIFY_SOCKET", "SERVICE_CALL_ID"] {
        environment.remove(OsStr::new(name));
    }
    if let Some(Identity { name, home, .. }) = &launch.identity {
        environment.extend(["USER", "LOGNAME"].map(|key| (key.into(), name.into())));
        environment.insert("HOME".into(), home.into());
    }
    environment.extend(launch.env.iter().map(|(key, value)| (key.into(), value.into())));
    environment.extend(notify.map(|notify| ("NOTIFY_SOCKET".into(), notify.name().into())));
    environment
}

/// Clones a child that shares this process's memory until `exec`, while this process waits (`vfork(2)`). Copying the
/// memory, or only its page tables, would take longer than the whole rest of the start. Because the memory is shared,
/// an error in the child is an ordinary value here.
#[expect(unsafe_code, reason = "code between clone and exec is unsafe in general")]
fn spawn(
    image: &Image,
    identity: Option<&Identity>,
    credentials: &Credentials,
    resource_limits: &ResourceLimits,
    program: &str,
    outputs: &[OwnedFd; 2],
) -> Result<Pid, LaunchError> {
    let shim = nix::unistd::getpid();
    let mut failed = None;
    let child = || {
        failed = become_service(image, credentials, resource_limits, outputs, shim).err();
        1
    };
    let mut stack = vec![0; STACK_BYTES];
    let flags = CloneFlags::CLONE_VM | CloneFlags::CLONE_VFORK;
    // SAFETY: this process has a single thread, which waits: no lock is held, and nothing else uses the memory. The
    // child allocates nothing and never returns; it uses far less than this stack.
    let child = unsafe { clone(Box::new(child), &mut stack, flags, Some(libc::SIGCHLD)) }
        .map_err(|error| failure(Stage::Exec, exec_failure(&image.program, program, error.into())))?;
    let Some((step, error)) = failed else { return Ok(child) };
    // The child has exited already.
    let _ = waitpid(child, None);
    Err(match (step, identity) {
        (Step::Limits, _) => limits_failed(&error),
        (Step::User, Some(identity)) => failure(
            Stage::User,
            format!("cannot become user `{}`: {}", identity.name, describe_error(&error)),
        ),
        (_, Some(identity)) if error.kind() == io::ErrorKind::PermissionDenied => {
            failure(Stage::Exec, not_permitted(&image.program, program, identity))
        }
        _ => failure(Stage::Exec, exec_failure(&image.program, program, error)),
    })
}

/// Performs the steps in the child. Standard input is inherited: `/dev/null`.
fn become_service(
    image: &Image,
    credentials: &Credentials,
    resource_limits: &ResourceLimits,
    [stdout, stderr]: &[OwnedFd; 2],
    shim: Pid,
) -> Result<Infallible, (Step, io::Error)> {
    let exec = |error: Errno| (Step::Exec, io::Error::from(error));
    setsid().map_err(exec)?;
    dup2_stdout(stdout).map_err(exec)?;
    dup2_stderr(stderr).map_err(exec)?;
    SigSet::empty().thread_set_mask().map_err(exec)?;
    reset_sigpipe().map_err(exec)?;
    resource_limits.enter().map_err(|error| (Step::Limits, error))?;
    umask(Mode::from_bits_truncate(UMASK));
    if let Some(user) = &credentials.user {
        user.switch().map_err(|error| (Step::User, error.into()))?;
    }
    if credentials.no_new_privileges {
        prctl::set_no_new_privs().map_err(exec)?;
    }
    die_with_shim(shim).map_err(exec)?;
    image.exec().map_err(exec)
}

/// Resets SIGPIPE, which Rust ignores and the service would inherit.
#[expect(unsafe_code, reason = "changing a signal action is unsafe in general")]
fn reset_sigpipe() -> nix::Result<()> {
    // SAFETY: the default action needs no handler.
    unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) }.map(drop)
}

/// Makes the kernel kill the service when the shim dies: without the shim, its output and its exit status would be
/// lost.
#[expect(unsafe_code, reason = "`exit` would run what the shim has registered")]
fn die_with_shim(shim: Pid) -> nix::Result<()> {
    // Must follow the switch to the user, which resets this setting.
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    if getppid() != shim {
        // The shim was killed before the setting took effect. There is no process to report to, and an error would be
        // written to the log.
        // SAFETY: `_exit` only ends the process.
        unsafe { libc::_exit(0) };
    }
    Ok(())
}

/// The credentials that the child switches to.
struct Credentials {
    user: Option<User>,
    no_new_privileges: bool,
}

/// An [`Identity`] in the types of the system calls.
struct User {
    uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
}

impl User {
    /// `None` if the daemon is not root and the service names the daemon's own user.
    fn from_identity(identity: &Identity) -> Option<Self> {
        let uid = Uid::from_raw(identity.uid);
        (Uid::effective().is_root() || uid != Uid::effective()).then(|| Self {
            uid,
            gid: Gid::from_raw(identity.gid),
            groups: identity.groups.iter().copied().map(Gid::from_raw).collect(),
        })
    }

    fn switch(&self) -> nix::Result<()> {
        keyring::join_own()?;
        setgroups(&self.groups)?;
        setresgid(self.gid, self.gid, self.gid)?;
        setresuid(self.uid, self.uid, self.uid)
    }
}

/// The interpreter in the first line of a script, with invisible characters escaped.
fn interpreter(file: &CString) -> Option<String> {
    let (_, head) = head(file).ok()?;
    let line = head.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let named = String::from_utf8_lossy(line);
    let named = named.trim_matches([' ', '\t']).split([' ', '\t']).next()?;
    Some(named.escape_debug().to_string())
}

fn head(file: &CString) -> io::Result<(fs::File, Vec<u8>)> {
    let file = fs::File::open(OsStr::from_bytes(file.as_bytes()))?;
    let mut head = vec![0; 256];
    let read = file.read_at(&mut head, 0)?;
    head.truncate(read);
    Ok((file, head))
}

/// Why the kernel does not accept a file as a program.
fn format_error(file: &CString, program: &str) -> String {
    let Ok((file, head)) = head(file) else {
        return format!("program `{program}` is neither a binary for this machine nor a script");
    };
    if head.is_empty() {
        return format!("program `{program}` is empty");
    }
    if head.starts_with(b"#!") {
        return format!("the first line of program `{program}` names no interpreter");
    }
    if head.starts_with(b"\xef\xbb\xbf#!") {
        return format!(
            "program `{program}` begins with a byte order mark, so the kernel ignores its `#!` line"
        );
    }
    if head.starts_with(ELF) || ELF.starts_with(&head) {
        return match elf_defect(&file, &head) {
            ElfDefect::CutOff => format!("program `{program}` is truncated"),
            ElfDefect::Object => format!("program `{program}` is an object file"),
            ElfDefect::Foreign => format!("program `{program}` is a binary for another machine"),
        };
    }
    format!("program `{program}` is neither a binary for this machine nor a script: it has no `#!` line")
}

const ELF: &[u8] = b"\x7fELF";

/// Why a binary is not executed.
enum ElfDefect {
    CutOff,
    Object,
    Foreign,
}

/// Reads the header of a binary that the kernel does not execute.
fn elf_defect(file: &fs::File, head: &[u8]) -> ElfDefect {
    let is_wide = head.get(4) == Some(&2);
    if head.len() < if is_wide { 64 } else { 52 } {
        return ElfDefect::CutOff;
    }
    let is_big_endian = head[5] == 2;
    let number = |at: usize, length: usize| {
        let bytes = head[at..at + length].iter();
        let add = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        if is_big_endian { bytes.fold(0, add) } else { bytes.rev().fold(0, add) }
    };
    let (table, size, count) = match is_wide {
        true => (number(32, 8), number(54, 2), number(56, 2)),
        false => (number(28, 4), number(42, 2), number(44, 2)),
    };
    let length = file.metadata().map_or(u64::MAX, |file| file.len());
    match number(16, 2) {
        1 => ElfDefect::Object,
        2 | 3 if table.saturating_add(size * count) > length => ElfDefect::CutOff,
        _ => ElfDefect::Foreign,
    }
}

/// The error for a program that the user of the service may not execute.
fn not_permitted(file: &CString, program: &str, identity: &Identity) -> String {
    let user = &identity.name;
    let path = Path::new(OsStr::from_bytes(file.as_bytes()));
    match closed_directory_for(path, identity) {
        Some(directory) => format!(
            "program `{program}` cannot be executed: user `{user}` may not enter `{}`",
            directory.display()
        ),
        None => format!("program `{program}` cannot be executed: permission denied for user `{user}`"),
    }
}

fn exec_failure(file: &CString, program: &str, error: io::Error) -> String {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOEXEC) => format_error(file, program),
        // The file is shorter than its header says.
        Some(Errno::EIO) if head(file).is_ok_and(|(_, head)| head.starts_with(ELF)) => {
            format!("program `{program}` is truncated")
        }
        // The program was found, so its interpreter is missing.
        Some(Errno::ENOENT) => match interpreter(file) {
            Some(named) => format!("the interpreter `{named}` of program `{program}` does not exist"),
            None => format!("the interpreter of program `{program}` does not exist"),
        },
        _ => format!(
            "program `{program}` cannot be executed: {}",
            describe_error(&explain_process_limit(error))
        ),
    }
}
