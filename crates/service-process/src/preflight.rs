//! Checks the files that a start of a service needs, before running services are stopped. A file may still disappear
//! before the start.

use super::executable::{ProgramObstacle, ProgramSearch};
use super::nushell;
use service_core::config::{Manager, Readiness, Service};
use service_core::health::Endpoint;
use service_host::ca_file::check_ca_file;
use service_host::credentials::resolve_identity;
use service_host::environment::read_environment;
use service_host::paths::Paths;
use service_shim::access::closed_directory;
use service_shim::protocol::Identity;
use std::ffi::OsString;
use std::path::Path;

/// The search path if neither the service nor the daemon has a `PATH`; equal to the shim's.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// One reason why a start would fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartObstacle {
    /// The key of the definition.
    pub key: &'static [&'static str],
    /// Continues "cannot start `web`: ".
    pub why: String,
    /// The next step.
    pub help: String,
    /// Whether a service that starts earlier may create the file.
    pub may_be_made: bool,
    /// Whether a directory or the program of `start_command` is missing, which may exist on another machine.
    pub is_missing: bool,
}

impl StartObstacle {
    /// The obstacle of a missing or wrong file.
    fn file_blocker(key: &'static [&'static str], why: String, help: impl Into<String>) -> Self {
        Self { key, why, help: help.into(), may_be_made: true, is_missing: false }
    }
}

/// All detectable reasons why a start would fail. No program is run.
pub fn blockers(paths: &Paths, service: &Service) -> Vec<StartObstacle> {
    let mut found = Vec::new();
    let ours = service.manager == Manager::Process;
    let who = if ours { resolve_identity(service) } else { Ok(None) };
    let who = who.unwrap_or_else(|why| {
        let key: &[_] = if why.is_about_group() { &["group"] } else { &["user"] };
        let help = "create it, or name another in services.toml".to_owned();
        found.push(StartObstacle { key, why: why.to_string(), help, may_be_made: false, is_missing: false });
        None
    });
    let directory = paths.working_dir(service.working_dir.as_deref());
    // Among managers, only `command` uses the directory.
    let is_entered = ours || service.manager == Manager::BuiltIn("command".to_owned());
    if is_entered && !directory.is_dir() {
        let closed = closed_directory(&directory);
        let is_missing = closed.is_none() && !directory.exists();
        let (what, help) = match closed {
            Some(closed) => (
                format!("cannot be examined: permission denied at `{}`", closed.display()),
                "allow the user of the daemon to enter it, or correct `working_dir`",
            ),
            None if is_missing => ("does not exist".to_owned(), "create it, or correct `working_dir`"),
            None => ("is not a directory".to_owned(), "create it, or correct `working_dir`"),
        };
        let why = format!("working directory `{}` {what}", directory.display());
        found.push(StartObstacle { is_missing, ..StartObstacle::file_blocker(&["working_dir"], why, help) });
    }
    let variables = read_environment(&paths.base_dir, service).map_err(|why| {
        found.push(StartObstacle::file_blocker(
            &["env_file"],
            why.to_string(),
            "create or correct it, or remove it from `env_file`",
        ));
    });
    let search = search(&directory, variables.as_deref().ok(), who.as_ref());
    if ours {
        found.extend(program(service, &search));
        found.extend(authority(paths, service));
    }
    if service.readiness() == Readiness::Probe {
        found.extend(check_program(service, &search));
    }
    found
}

/// The unusable programs of a service that do not prevent its start: of its check, of its stop command, and of the
/// commands of `manager = "command"` if their Nushell code names a program.
pub fn unusable_commands(paths: &Paths, service: &Service) -> Vec<StartObstacle> {
    let ours = service.manager == Manager::Process;
    let who = if ours { resolve_identity(service).unwrap_or_default() } else { None };
    let directory = paths.working_dir(service.working_dir.as_deref());
    let variables = read_environment(&paths.base_dir, service).ok();
    let search = search(&directory, variables.as_deref(), who.as_ref());
    let mut found = Vec::new();
    if service.readiness() != Readiness::Probe {
        found.extend(check_program(service, &search));
    }
    if ours {
        let stop = service.stop_command.as_deref().and_then(first_word);
        found.extend(stop.and_then(|name| refused(&["stop_command"], &search, &name)));
    }
    if service.manager == Manager::BuiltIn("command".to_owned()) {
        let start = Some(service.start_command.text.as_str());
        let commands = [
            (START_COMMAND, start),
            (&["stop_command"], service.stop_command.as_deref()),
            (STATUS_COMMAND, service.status_command.as_deref()),
        ];
        let named = commands.into_iter().filter_map(|(key, line)| Some((key, nushell::program(line?)?)));
        found.extend(named.filter_map(|(key, name)| refused(key, &search, name)));
    }
    found
}

const START_COMMAND: &[&str] = &["start_command"];
const STATUS_COMMAND: &[&str] = &["status_command"];

impl StartObstacle {
    /// Whether this command is needed for every start.
    pub fn fails_start(&self) -> bool {
        self.key == START_COMMAND || self.key == STATUS_COMMAND
    }
}

fn search<'a>(
    directory: &'a Path,
    variables: Option<&[(String, String)]>,
    identity: Option<&'a Identity>,
) -> ProgramSearch<'a> {
    // The variables of an unreadable env file are unknown.
    let path = variables.map(|variables| {
        let own = variables.iter().rev().find(|(key, _)| key == "PATH");
        let own = own.map(|(_, path)| OsString::from(path));
        own.or_else(|| std::env::var_os("PATH")).unwrap_or_else(|| DEFAULT_PATH.into())
    });
    ProgramSearch { directory, path, identity }
}

fn program(service: &Service, search: &ProgramSearch<'_>) -> Option<StartObstacle> {
    let name = service.start_command.argv.first()?;
    if !search.directory.is_dir() && !name.starts_with('/') {
        return None;
    }
    let ProgramObstacle { why, help, is_missing } = search.check(name).err()?;
    Some(StartObstacle { is_missing, ..StartObstacle::file_blocker(START_COMMAND, why, help) })
}

/// The program of an `exec:` check.
fn check_program(service: &Service, search: &ProgramSearch<'_>) -> Option<StartObstacle> {
    let Some(Endpoint::Exec(command)) = &service.endpoint else { return None };
    refused(&["health_check_endpoint"], search, &first_word(command)?)
}

/// Why the daemon cannot run this program.
fn refused(key: &'static [&'static str], search: &ProgramSearch<'_>, name: &str) -> Option<StartObstacle> {
    if !search.directory.is_dir() && !name.starts_with('/') {
        return None;
    }
    let ProgramObstacle { why, help, is_missing } = search.check_command(name).err()?;
    Some(StartObstacle {
        is_missing: is_missing && key == START_COMMAND,
        ..StartObstacle::file_blocker(key, why, help)
    })
}

fn first_word(command: &str) -> Option<String> {
    shell_words::split(command).ok()?.into_iter().next()
}

/// The obstacle of missing certificates for a check that decides readiness.
fn authority(paths: &Paths, service: &Service) -> Option<StartObstacle> {
    let health = &service.health;
    let is_used = matches!(service.endpoint, Some(Endpoint::Https(_))) && !health.insecure;
    let file = health.ca_file.as_ref().filter(|_| is_used && service.readiness() == Readiness::Probe)?;
    let why = check_ca_file(&paths.base_dir.join(file))?;
    Some(StartObstacle::file_blocker(
        &["health", "ca_file"],
        why.to_string(),
        "restore it, or correct `health.ca_file`",
    ))
}
