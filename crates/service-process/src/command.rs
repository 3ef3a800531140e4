//! Commands of services: `exec:` checks and stop commands. Each runs without a shell, in its own process group, which is
//! killed when the time limit is reached.

use super::process_group::{CHECK_OUTPUT_LIMIT, ProcessGroup, Purpose};
use nix::sys::stat::{SFlag, fstat};
use nix::unistd::{Gid, Uid, fchown, geteuid, setgroups, setresgid, setresuid};
use service_core::config::Service;
use service_core::health::CheckFault;
use service_host::credentials::{IdentityError, resolve_identity};
use service_host::environment::{
    EnvironmentError, describe_slow_lookup, inherited_environment, read_environment,
};
use service_host::paths::Paths;
use service_host::text::CheckText;
use service_host::text::truncate;
use service_shim::keyring;
use service_shim::protocol::Identity;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::process::Command;
use tokio::task::JoinError;

/// The maximum length of a command in a message.
const MAX_COMMAND_CHARS: usize = 200;

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
