//! From a [`Launch`] to a running process, step by step, so that a failure can name its step.

use crate::bounds::Bounds;
use crate::notify::Notify;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{
    AccessFlags, Gid, Pid, Uid, access, execve, getppid, pipe2, setgroups, setresgid, setresuid, setsid,
};
use service_shim::protocol::Identity;
use service_shim::words::in_words;
use service_shim::{Launch, Process, Stage, process};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::env;
use std::ffi::{CString, NulError, OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Where programs are looked for when neither the service nor the daemon has a `PATH`.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// The steps in the child that are told from `exec` itself.
const LIMITS: u8 = b'l';
const USER: u8 = b'u';

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

/// Starts the service, which writes its output here.
pub(crate) fn start(
    launch: &Launch,
    notify: Option<&Notify>,
    outputs: [OwnedFd; 2],
) -> Result<Leader, Refusal> {
    enter(&launch.working_dir)?;
    let program = find(launch)?;
    let image = Image::of(launch, program, notify)
        .map_err(|_| refuse(Stage::Exec, "its command or environment contains a NUL byte".into()))?;
    let bounds = Bounds::of(&launch.limits).map_err(|error| beyond_limits(&error))?;
    let child = spawn(image, launch.identity.as_ref(), bounds, &launch.argv[0], outputs)?;
    leader(&child)
        .map_err(|error| refuse(Stage::Exec, format!("its process cannot be watched: {}", in_words(&error))))
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
    argv: Vec<CString>,
    environment: Vec<CString>,
}

impl Image {
    fn of(launch: &Launch, program: PathBuf, notify: Option<&Notify>) -> Result<Self, NulError> {
        let environment = environment(launch, notify).into_iter().map(|(mut entry, value)| {
            entry.push("=");
            entry.push(value);
            CString::new(entry.into_vec())
        });
        Ok(Self {
            program: CString::new(program.into_os_string().into_vec())?,
            argv: launch
                .argv
                .iter()
                .map(|argument| CString::new(argument.as_bytes()))
                .collect::<Result<_, _>>()?,
            environment: environment.collect::<Result<_, _>>()?,
        })
    }

    /// Returns only if it fails. `Command` would run a file without a `#!` line by a shell that nobody asked for.
    fn exec(&self) -> nix::Result<Infallible> {
        execve(&self.program, &self.argv, &self.environment)
    }
}

fn environment(launch: &Launch, notify: Option<&Notify>) -> BTreeMap<OsString, OsString> {
    let mut environment: BTreeMap<OsString, OsString> = env::vars_os().collect();
    // The daemon's own, if it was started by systemd, is not the service's to answer.
    environment.remove(OsStr::new("NOTIFY_SOCKET"));
    if let Some(Identity { name, home, .. }) = &launch.identity {
        environment.extend(["USER", "LOGNAME"].map(|key| (key.into(), name.into())));
        environment.insert("HOME".into(), home.into());
    }
    environment.extend(launch.env.iter().map(|(key, value)| (key.into(), value.into())));
    environment.extend(notify.map(|notify| ("NOTIFY_SOCKET".into(), notify.name().into())));
    environment
}

#[expect(unsafe_code, reason = "what is done between fork and exec is unsafe in general")]
fn spawn(
    image: Image,
    identity: Option<&Identity>,
    bounds: Bounds,
    program: &str,
    [stdout, stderr]: [OwnedFd; 2],
) -> Result<Child, Refusal> {
    let exec = |error: &io::Error| refuse(Stage::Exec, exec_failure(program, error));
    // `Command` brings back the error of the child, but not which step it was.
    let (heard, step) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).map_err(|error| exec(&error.into()))?;
    let shim = nix::unistd::getpid();
    let user = identity.and_then(User::to_become);
    let prepare = move || {
        setsid()?;
        SigSet::empty().thread_set_mask()?;
        let failed = |which: u8, error: io::Error| {
            let _ = nix::unistd::write(&step, &[which]);
            error
        };
        bounds.enter().map_err(|error| failed(LIMITS, error))?;
        if let Some(user) = &user {
            user.become_it().map_err(|error| failed(USER, error.into()))?;
        }
        die_with(shim)?;
        match image.exec()? {}
    };
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).stdout(stdout).stderr(stderr);
    // SAFETY: this process has a single thread, so no lock was held by another one at the fork.
    unsafe { command.pre_exec(prepare) };
    command.spawn().map_err(|error| {
        let mut step = [0];
        let _ = nix::unistd::read(&heard, &mut step);
        match (step[0], identity) {
            (LIMITS, _) => beyond_limits(&error),
            (USER, Some(identity)) => {
                refuse(Stage::User, format!("cannot become user `{}`: {}", identity.name, in_words(&error)))
            }
            _ => exec(&error),
        }
    })
}

/// Without its keeper a service would run unseen: its output lost, its end unknown. It does not outlive us.
#[expect(unsafe_code, reason = "`exit` would run what the shim has registered")]
fn die_with(shim: Pid) -> io::Result<()> {
    // After the change of user, which would undo it.
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    if getppid() != shim {
        // It was killed before that. Nobody is left who could be told, and trying would end as a line in the log.
        // SAFETY: it ends the process and does nothing else.
        unsafe { nix::libc::_exit(0) };
    }
    Ok(())
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
        setgroups(&self.groups)?;
        setresgid(self.gid, self.gid, self.gid)?;
        setresuid(self.uid, self.uid, self.uid)
    }
}

fn exec_failure(program: &str, error: &io::Error) -> String {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOEXEC) => {
            format!(
                "program `{program}` is neither a binary for this machine nor a script: it has no `#!` line"
            )
        }
        // The program itself was found, so it is the one that its first line names.
        Some(Errno::ENOENT) => format!("the interpreter of program `{program}` does not exist"),
        _ => format!("program `{program}` cannot be executed: {}", in_words(error)),
    }
}

fn leader(child: &Child) -> io::Result<Leader> {
    let at = process::boot_time();
    let process = Process::of_child(child.id()).ok_or(io::ErrorKind::NotFound)?;
    Ok(Leader { process, at })
}
