//! From a [`Launch`] to a running process, step by step, so that a failure can name its step.

use crate::bounds::Bounds;
use crate::notify::Notify;
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
use service_shim::protocol::Identity;
use service_shim::words::{in_words, no_process};
use service_shim::{Launch, Process, Stage, keyring, process};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::env;
use std::ffi::{CString, NulError, OsStr, OsString, c_char};
use std::fs;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::ptr;

/// Where programs are looked for when neither the service nor the daemon has a `PATH`.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// What the child may use of a stack before it executes its program; a tenth of it would do.
const STACK: usize = 256 * 1024;

/// The steps in the child that can fail.
#[derive(Debug, Clone, Copy)]
enum Step {
    Limits,
    User,
    Exec,
}

/// Why nothing was started.
pub(crate) struct Refusal {
    pub(crate) stage: Stage,
    /// Continues "cannot start `web`: ".
    pub(crate) message: String,
}

/// The process that was started.
pub(crate) struct Leader {
    pub(crate) process: Process,
    /// When, by [`process::boot_time`].
    pub(crate) at: u64,
}

/// What a file of a service is not allowed to others unless the service says otherwise. The shell's mask is no part of it.
const UMASK: u32 = 0o022;

/// A service that is about to be started.
pub(crate) struct Prepared<'a> {
    launch: &'a Launch,
    image: Image,
    bounds: Bounds,
}

/// All that can fail before there is a process.
pub(crate) fn prepare<'a>(launch: &'a Launch, notify: Option<&Notify>) -> Result<Prepared<'a>, Refusal> {
    enter(&launch.working_dir)?;
    let program = find(launch)?;
    let image = Image::of(launch, program, notify)
        .map_err(|_| refuse(Stage::Exec, "its command or environment contains a NUL byte".into()))?;
    let bounds = Bounds::of(&launch.limits).map_err(|error| beyond_limits(&error))?;
    Ok(Prepared { launch, image, bounds })
}

impl Prepared<'_> {
    /// Starts the service, which writes its output here.
    pub(crate) fn start(&self, outputs: [OwnedFd; 2]) -> Result<Leader, Refusal> {
        let Self { launch, image, bounds } = self;
        let at = process::boot_time();
        let user = launch.identity.as_ref().and_then(User::to_become);
        if let Some(user) = &user {
            // So that it can open `/dev/stdout` and `/dev/stderr`, which are these. Where that is refused it can still write to them.
            for output in &outputs {
                let _ = fchown(output, Some(user.uid), Some(user.gid));
            }
        }
        let becoming = Becoming { user, no_new_privileges: launch.no_new_privileges };
        let child = spawn(image, launch.identity.as_ref(), &becoming, bounds, &launch.argv[0], &outputs)?;
        // They end when the service closes them, so nobody else may have them.
        drop(outputs);
        let process = Process::of_child(child.as_raw().cast_unsigned())
            .ok_or_else(|| refuse(Stage::Exec, "its process cannot be watched: it is not in /proc".into()))?;
        Ok(Leader { process, at })
    }
}

fn refuse(stage: Stage, message: String) -> Refusal {
    Refusal { stage, message }
}

fn beyond_limits(error: &io::Error) -> Refusal {
    refuse(Stage::Prepare, format!("it cannot be put under its limits: {}", in_words(error)))
}

/// Done here and not in the child, because here a failure can be told from one of `exec`, and so that a program
/// named `./x` is looked for where it will run.
fn enter(directory: &Path) -> Result<(), Refusal> {
    env::set_current_dir(directory).map_err(|error| {
        let why = match error.kind() {
            io::ErrorKind::NotFound => "does not exist".to_owned(),
            io::ErrorKind::NotADirectory => "is not a directory".to_owned(),
            _ => format!("cannot be entered: {}", in_words(&error)),
        };
        refuse(Stage::WorkingDirectory, format!("working directory `{}` {why}", directory.display()))
    })
}

/// The file of the program. Like a shell, passes over files in `PATH` that cannot be executed.
fn find(launch: &Launch) -> Result<PathBuf, Refusal> {
    let refuse = |why: String| refuse(Stage::Program, why);
    let name = launch.argv.first().filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| refuse("no program is named".into()))?;
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
        None => Err(refuse(format!("program `{name}` does not exist"))),
    }
}

fn search_path(launch: &Launch) -> OsString {
    let own = launch.env.iter().rev().find(|(key, _)| key == "PATH").map(|(_, value)| value.into());
    own.or_else(|| env::var_os("PATH")).unwrap_or_else(|| DEFAULT_PATH.into())
}

/// What `exec` is given.
struct Image {
    program: CString,
    argv: Strings,
    environment: Strings,
}

impl Image {
    fn of(launch: &Launch, program: PathBuf, notify: Option<&Notify>) -> Result<Self, NulError> {
        let environment = environment(launch, notify).into_iter().map(|(mut entry, value)| {
            entry.push("=");
            entry.push(value);
            entry.into_vec()
        });
        Ok(Self {
            program: CString::new(program.into_os_string().into_vec())?,
            argv: Strings::of(launch.argv.iter().map(|argument| argument.as_bytes().to_vec()))?,
            environment: Strings::of(environment)?,
        })
    }

    /// Returns only if it fails. `Command` would run a file without a `#!` line by a shell that nobody asked for.
    #[expect(
        unsafe_code,
        reason = "nix would allocate memory here that a child without its own cannot give back"
    )]
    fn exec(&self) -> nix::Result<Infallible> {
        let (argv, environment) = (self.argv.pointers.as_ptr(), self.environment.pointers.as_ptr());
        // SAFETY: all three are, or point to, strings that end with NUL, and both lists end with a null pointer.
        unsafe { libc::execve(self.program.as_ptr(), argv, environment) };
        Err(Errno::last())
    }
}

/// Strings as the kernel takes them.
struct Strings {
    pointers: Vec<*const c_char>,
    /// What they point to.
    _strings: Vec<CString>,
}

impl Strings {
    fn of(strings: impl Iterator<Item = Vec<u8>>) -> Result<Self, NulError> {
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
    // The daemon's own, if it was started by systemd or within a call of another one, is not the service's to answer.
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

/// The child has our memory until it executes its program, and we stand still as long (`vfork(2)`): to copy the memory, or
/// only the map of it, would take longer than all the rest. So what fails there is simply written down here.
#[expect(unsafe_code, reason = "what is done between clone and exec is unsafe in general")]
fn spawn(
    image: &Image,
    identity: Option<&Identity>,
    becoming: &Becoming,
    bounds: &Bounds,
    program: &str,
    outputs: &[OwnedFd; 2],
) -> Result<Pid, Refusal> {
    let shim = nix::unistd::getpid();
    let mut failure = None;
    let child = || {
        failure = become_service(image, becoming, bounds, outputs, shim).err();
        1
    };
    let mut stack = vec![0; STACK];
    let flags = CloneFlags::CLONE_VM | CloneFlags::CLONE_VFORK;
    // SAFETY: this process has a single thread, which waits: no lock is held, and nobody else uses the memory. The child
    // allocates nothing and returns to nothing; what it uses of the stack is far less than there is.
    let child = unsafe { clone(Box::new(child), &mut stack, flags, Some(libc::SIGCHLD)) }
        .map_err(|error| refuse(Stage::Exec, exec_failure(&image.program, program, error.into())))?;
    let Some((step, error)) = failure else { return Ok(child) };
    // It has ended already.
    let _ = waitpid(child, None);
    Err(match (step, identity) {
        (Step::Limits, _) => beyond_limits(&error),
        (Step::User, Some(identity)) => {
            refuse(Stage::User, format!("cannot become user `{}`: {}", identity.name, in_words(&error)))
        }
        _ => refuse(Stage::Exec, exec_failure(&image.program, program, error)),
    })
}

/// What the child does. Standard input it has from us: nothing.
fn become_service(
    image: &Image,
    becoming: &Becoming,
    bounds: &Bounds,
    [stdout, stderr]: &[OwnedFd; 2],
    shim: Pid,
) -> Result<Infallible, (Step, io::Error)> {
    let exec = |error: Errno| (Step::Exec, io::Error::from(error));
    setsid().map_err(exec)?;
    dup2_stdout(stdout).map_err(exec)?;
    dup2_stderr(stderr).map_err(exec)?;
    SigSet::empty().thread_set_mask().map_err(exec)?;
    listen_to_pipes().map_err(exec)?;
    bounds.enter().map_err(|error| (Step::Limits, error))?;
    umask(Mode::from_bits_truncate(UMASK));
    if let Some(user) = &becoming.user {
        user.become_it().map_err(|error| (Step::User, error.into()))?;
    }
    if becoming.no_new_privileges {
        prctl::set_no_new_privs().map_err(exec)?;
    }
    die_with(shim).map_err(exec)?;
    image.exec().map_err(exec)
}

/// Rust has a process ignore it when a pipe that it writes to is closed, and that would be inherited.
#[expect(unsafe_code, reason = "changing what a signal does is unsafe in general")]
fn listen_to_pipes() -> nix::Result<()> {
    // SAFETY: the default needs no handler.
    unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) }.map(drop)
}

/// Without its keeper a service would run unseen: its output lost, its end unknown. It does not outlive us.
#[expect(unsafe_code, reason = "`exit` would run what the shim has registered")]
fn die_with(shim: Pid) -> nix::Result<()> {
    // After the change of user, which would undo it.
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    if getppid() != shim {
        // It was killed before that. Nobody is left who could be told, and trying would end as a line in the log.
        // SAFETY: it ends the process and does nothing else.
        unsafe { libc::_exit(0) };
    }
    Ok(())
}

/// What the child makes of itself.
struct Becoming {
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
    /// `None` if there is nothing to change: who is not root may ask to run as itself.
    fn to_become(identity: &Identity) -> Option<Self> {
        let uid = Uid::from_raw(identity.uid);
        (Uid::effective().is_root() || uid != Uid::effective()).then(|| Self {
            uid,
            gid: Gid::from_raw(identity.gid),
            groups: identity.groups.iter().copied().map(Gid::from_raw).collect(),
        })
    }

    fn become_it(&self) -> nix::Result<()> {
        keyring::join_own()?;
        setgroups(&self.groups)?;
        setresgid(self.gid, self.gid, self.gid)?;
        setresuid(self.uid, self.uid, self.uid)
    }
}

/// What the first line of a script names, with what one does not see of it.
fn interpreter(file: &CString) -> Option<String> {
    let mut head = [0; 256];
    let mut file = fs::File::open(OsStr::from_bytes(file.as_bytes())).ok()?;
    let read = file.read(&mut head).ok()?;
    let line = head[..read].strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let named = String::from_utf8_lossy(line);
    let named = named.trim_matches([' ', '\t']).split([' ', '\t']).next()?;
    Some(named.escape_debug().to_string())
}

fn exec_failure(file: &CString, program: &str, error: io::Error) -> String {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOEXEC) => {
            format!(
                "program `{program}` is neither a binary for this machine nor a script: it has no `#!` line"
            )
        }
        // The program itself was found, so it is the one that its first line names.
        Some(Errno::ENOENT) => match interpreter(file) {
            Some(named) => format!("the interpreter `{named}` of program `{program}` does not exist"),
            None => format!("the interpreter of program `{program}` does not exist"),
        },
        _ => format!("program `{program}` cannot be executed: {}", in_words(&no_process(error))),
    }
}
