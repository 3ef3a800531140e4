//! The files that a start of a service needs, checked before running services are stopped for it. The check is no
//! guarantee: a file may disappear before the start.

use super::executable::{Refusal, Search};
use service_core::config::{Manager, Readiness, Service};
use service_core::health::Endpoint;
use service_host::ca_file::check_ca_file;
use service_host::credentials::resolve_identity;
use service_host::environment::read_environment;
use service_host::paths::Paths;
use service_shim::protocol::Identity;
use std::ffi::OsString;

/// The directories of programs if neither the service nor the daemon has a `PATH`; the same as in the shim.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// One reason why a start would fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocker {
    /// The key of the definition.
    pub key: &'static [&'static str],
    /// Continues "cannot start `web`: ".
    pub why: String,
    /// The next step.
    pub help: String,
    /// Whether a service that starts earlier may create it.
    pub may_be_made: bool,
}

impl Blocker {
    /// A missing or wrong file.
    fn of_file(key: &'static [&'static str], why: String, help: impl Into<String>) -> Self {
        Self { key, why, help: help.into(), may_be_made: true }
    }
}

/// All visible reasons why a start would fail. Nothing is started.
pub fn blockers(paths: &Paths, service: &Service) -> Vec<Blocker> {
    let mut found = Vec::new();
    let ours = service.manager == Manager::Process;
    let who = if ours { resolve_identity(service) } else { Ok(None) };
    let who = who.unwrap_or_else(|why| {
        let key: &[_] = if why.contains("group") { &["group"] } else { &["user"] };
        let help = "create it, or name another in services.toml".to_owned();
        found.push(Blocker { key, why, help, may_be_made: false });
        None
    });
    let directory = paths.working_dir(service.working_dir.as_deref());
    // Among managers, only `command` uses the directory.
    let is_entered = ours || service.manager == Manager::BuiltIn("command".to_owned());
    if is_entered && !directory.is_dir() {
        let what = if directory.exists() { "is not a directory" } else { "does not exist" };
        let why = format!("working directory `{}` {what}", directory.display());
        found.push(Blocker::of_file(&["working_dir"], why, "create it, or correct `working_dir`"));
    }
    let variables = read_environment(&paths.base_dir, service).map_err(|why| {
        found.push(Blocker::of_file(
            &["env_file"],
            why,
            "create or correct it, or remove it from `env_file`",
        ));
    });
    if ours {
        found.extend(program(service, &directory, variables.as_deref().ok(), who.as_ref()));
        found.extend(authority(paths, service));
    }
    found
}

fn program(
    service: &Service,
    directory: &std::path::Path,
    variables: Option<&[(String, String)]>,
    identity: Option<&Identity>,
) -> Option<Blocker> {
    let name = service.start_command.argv.first()?;
    if !directory.is_dir() && !name.starts_with('/') {
        return None;
    }
    // The variables of an unreadable env file are unknown.
    let path = variables.map(|variables| {
        let own = variables.iter().rev().find(|(key, _)| key == "PATH");
        let own = own.map(|(_, path)| OsString::from(path));
        own.or_else(|| std::env::var_os("PATH")).unwrap_or_else(|| DEFAULT_PATH.into())
    });
    let refused = Search { directory, path, identity }.check(name).err();
    refused.map(|Refusal { why, help }| Blocker::of_file(&["start_command"], why, help))
}

/// A check that decides about readiness needs its certificates.
fn authority(paths: &Paths, service: &Service) -> Option<Blocker> {
    let health = &service.health;
    let is_used = matches!(service.endpoint, Some(Endpoint::Https(_))) && !health.insecure;
    let file = health.ca_file.as_ref().filter(|_| is_used && service.readiness() == Readiness::Probe)?;
    let why = check_ca_file(&paths.base_dir.join(file))?;
    Some(Blocker::of_file(&["health", "ca_file"], why, "restore it, or correct `health.ca_file`"))
}
