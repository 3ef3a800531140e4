//! Lints for valid files: obstacles on this machine, ports that two services use, dependencies without effect. There
//! are few lints, because false warnings cost trust.

mod health_check;
mod idle_keys;

use super::client;
use super::key_map::KeyMap;
use super::locate::span;
use super::section::Diagnostic;
use super::shell_syntax;
use service_api::Severity;
use service_core::config::{Condition, Dependency, Listener, Manager, Restart, Service, WhenLost, name_of};
use service_core::health::Endpoint;
use service_host::env_file::{self, Variable};
use service_host::environment::RESERVED_VARIABLES;
use service_host::local_address::local_addresses;
use std::collections::{HashMap, HashSet};
use std::path::Path;

/// Every warning about these services, every obstacle, and every error in an env file that they name. Paths are relative to
/// `base`.
pub(super) fn check_services(
    services: &[Service],
    map: &KeyMap<'_>,
    base: &Path,
    obstacles: impl Fn(&Service) -> Vec<Obstacle>,
) -> Vec<(Severity, Diagnostic)> {
    let (mut warnings, mut errors) = (Vec::new(), Vec::new());
    let by_name: HashMap<&str, &Service> = services.iter().map(|service| (&*service.name, service)).collect();
    let after_work = after_work(services, &by_name);
    let mut ports = HashMap::new();
    let mut all = Vec::new();
    for service in services {
        let ours = service.manager == Manager::Process;
        let after_work = after_work.contains(&*service.name);
        let found = obstacles(service).into_iter();
        all.extend(found.filter_map(|obstacle| to_diagnostic(service, obstacle, after_work, map)));
        if ours {
            check_env_files(service, map, base, &mut warnings, &mut errors);
            warnings.extend(check_env_expansion(service, map));
        }
        warnings.extend(check_implied_manager(service, map));
        warnings.extend(check_client(service, map));
        warnings.extend(check_shell_syntax(service, map));
        warnings.extend(idle_keys::check(service, map));
        warnings.extend(health_check::check(service, map, base));
        warnings.extend(check_shared_port(service, &mut ports, map));
        let need = |edge: &Dependency| by_name.get(&*edge.name).copied();
        let edges = service.dependencies.iter();
        warnings.extend(edges.filter_map(|edge| check_dependency(service, edge, need(edge)?, map)));
        warnings.extend(check_repeated_dependencies(service, map));
    }
    all.extend(errors.into_iter().map(|error| (Severity::Error, error)));
    all.extend(warnings.into_iter().map(|warning| (Severity::Warning, warning)));
    // A key of `service_defaults` is reported once, not for each service.
    all.sort_by(|(_, one), (_, other)| {
        (one.span.start, &one.message).cmp(&(other.span.start, &other.message))
    });
    all.dedup_by(|(_, one), (_, other)| (&one.span, &one.message) == (&other.span, &other.message));
    all
}

fn warning(service: &Service, map: &KeyMap<'_>, key: &str, message: String, help: &str) -> Diagnostic {
    let mut diagnostic = Diagnostic::new(span(map, service, &[key]).unwrap_or_default(), message);
    diagnostic.help = Some(help.to_owned());
    diagnostic
}

/// A reason why a service does not work on this machine at present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    /// The key of the definition.
    pub key: &'static [&'static str],
    /// One sentence without a full stop.
    pub why: String,
    /// The remedy.
    pub help: String,
    /// [`Severity::Error`] if every start fails.
    pub severity: Severity,
    /// Whether a service that starts earlier may create the missing file.
    pub may_be_made: bool,
}

/// The diagnostic of an obstacle; `None` if another lint reports it.
fn to_diagnostic(
    service: &Service,
    obstacle: Obstacle,
    after_work: bool,
    map: &KeyMap<'_>,
) -> Option<(Severity, Diagnostic)> {
    let Obstacle { key, why, mut help, mut severity, may_be_made } = obstacle;
    if may_be_made && after_work {
        severity = Severity::Warning;
    }
    let has_shell = || map.value(&["services", &service.name, "shell"]).is_some();
    match key {
        ["start_command"] if !has_shell() && shell_syntax::is_for_shell(&service.start_command.text) => {
            return None;
        }
        ["env_file"] | ["health", "ca_file"] => return None,
        // A group without a user is an error of the file.
        ["group"] if service.user.is_none() => return None,
        ["working_dir"] => {
            help = service.working_dir.as_deref().and_then(shell_syntax::find_in_path).unwrap_or(help);
        }
        _ => {}
    }
    let mut diagnostic = Diagnostic::new(span(map, service, key).unwrap_or_default(), why);
    diagnostic.help = Some(help);
    Some((severity, diagnostic))
}

/// The services that start after a one-shot, which may create their files. The time is linear in the number of
/// dependencies.
fn after_work<'s>(services: &'s [Service], by_name: &HashMap<&str, &Service>) -> HashSet<&'s str> {
    let mut dependents: HashMap<&str, Vec<&'s str>> = HashMap::new();
    let mut to_do = Vec::new();
    for service in services {
        for edge in &service.dependencies {
            dependents.entry(&*edge.name).or_default().push(&*service.name);
            let is_oneshot = by_name.get(&*edge.name).is_some_and(|need| need.oneshot);
            if is_oneshot || edge.condition == Condition::Completed {
                to_do.push(&*service.name);
            }
        }
    }
    let mut found = HashSet::new();
    while let Some(name) = to_do.pop() {
        if found.insert(name) {
            to_do.extend(dependents.get(name).into_iter().flatten());
        }
    }
    found
}

/// Checks the env files. A missing file is a warning, because it may be created later. A file that cannot be read is an
/// error, because every start fails.
fn check_env_files(
    service: &Service,
    map: &KeyMap<'_>,
    base: &Path,
    warnings: &mut Vec<Diagnostic>,
    errors: &mut Vec<Diagnostic>,
) {
    for written in &service.env_file {
        let path = base.join(written);
        match env_file::read(&path) {
            Ok(variables) => {
                warnings.extend(check_env_file_expansion(service, map, &path, &variables));
                errors.extend(reserved_name(&variables).map(|name| {
                    let why = format!("`{}` sets `{name}`, which is set for each run", path.display());
                    warning(service, map, "env_file", why, "remove it: with it every start fails")
                }));
            }
            Err(why) if path.is_file() => {
                let help = "write each line as NAME=value; the file is read at each start, and every start \
                            fails";
                errors.push(warning(service, map, "env_file", why.to_string(), help));
            }
            Err(why) => {
                let help = shell_syntax::find_in_path(written)
                    .unwrap_or_else(|| "the file is read at each start".to_owned());
                warnings.push(warning(service, map, "env_file", why.to_string(), &help));
            }
        }
    }
}

/// A variable in an env file that only the orchestrator may set.
fn reserved_name(variables: &[Variable]) -> Option<&str> {
    let names = variables.iter().map(|variable| match variable {
        Variable::Set { name, .. } | Variable::Inherited(name) => &**name,
    });
    names.into_iter().find(|name| RESERVED_VARIABLES.contains(name))
}

/// Warns of a `$NAME` in an env file that a shell would expand.
fn check_env_file_expansion(
    service: &Service,
    map: &KeyMap<'_>,
    path: &Path,
    variables: &[Variable],
) -> Option<Diagnostic> {
    let is_set = |name: &str| {
        let here = |variable: &Variable| matches!(variable, Variable::Set { name: set, .. } if set == name);
        variables.iter().any(here) || std::env::var_os(name).is_some()
    };
    let (name, used) = variables.iter().find_map(|variable| match variable {
        Variable::Set { name, value, expandable: true } => {
            shell_syntax::variables(value).find(|used| is_set(used)).map(|used| (name, used))
        }
        Variable::Set { .. } | Variable::Inherited(_) => None,
    })?;
    let message = format!("`{name}` in `{}` contains `${used}`, which is not expanded", path.display());
    Some(warning(service, map, "env_file", message, "nothing is expanded: write the value itself"))
}

/// Warns of a `$NAME` in `env` that a shell would expand.
fn check_env_expansion(service: &Service, map: &KeyMap<'_>) -> Option<Diagnostic> {
    let is_set =
        |name: &str| service.env.iter().any(|(set, _)| set == name) || std::env::var_os(name).is_some();
    let (name, used) = service.env.iter().find_map(|(name, value)| {
        shell_syntax::variables(value).find(|used| is_set(used)).map(|used| (name, used))
    })?;
    let message = format!("`{name}` contains `${used}`, which is not expanded");
    Some(warning(
        service,
        map,
        "env",
        message,
        "nothing is expanded: write the value itself, or set `shell = \"sh\"` and the variable there",
    ))
}

/// Warns of shell syntax in commands that run without a shell.
fn check_shell_syntax(service: &Service, map: &KeyMap<'_>) -> Vec<Diagnostic> {
    let mut commands = Vec::new();
    let is_split = service.manager == Manager::Process || service.container.is_some();
    if is_split && map.value(&["services", &service.name, "shell"]).is_none() {
        commands.push(("start_command", service.start_command.text.as_str()));
    }
    if let (Manager::Process, Some(command)) = (&service.manager, &service.stop_command) {
        commands.push(("stop_command", command));
    }
    if let Some(Endpoint::Exec(command)) = &service.endpoint {
        commands.push(("health_check_endpoint", command));
    }
    let found = commands.into_iter().filter_map(|(key, command)| Some((key, shell_syntax::find(command)?)));
    found
        .map(|(key, found)| {
            let help = match key {
                "start_command" => found.help.to_owned(),
                _ => "move it into a script, and run the script".to_owned(),
            };
            warning(service, map, key, found.message, &help)
        })
        .collect()
}

/// Warns if `manager = "command"` is only implied by the program of `start_command`.
fn check_implied_manager(service: &Service, map: &KeyMap<'_>) -> Option<Diagnostic> {
    let is_said = map.value(&["services", &service.name, "manager"]).is_some();
    if is_said || service.manager != Manager::BuiltIn("command".to_owned()) {
        return None;
    }
    let of_systemd = service.start_command.text.contains("systemctl");
    let message =
        "its `start_command` calls another supervisor and exits, so it is run with `manager = \"command\"`";
    let help = if of_systemd {
        "set `manager = \"command\"`, or `manager = \"systemd\"` instead of the commands"
    } else {
        "set `manager = \"command\"`"
    };
    Some(warning(service, map, "stop_command", message.to_owned(), help))
}

/// Warns of a process that starts the service under another supervisor and exits.
fn check_client(service: &Service, map: &KeyMap<'_>) -> Option<Diagnostic> {
    let words = service.start_command.argv.iter().map(String::as_str);
    let program = service.start_command.argv.first()?;
    if service.manager != Manager::Process || service.oneshot || !client::leaves_service(words) {
        return None;
    }
    let message = format!(
        "`{program}` hands the service to another supervisor and exits: the process that is supervised here ends at once"
    );
    let engine = ["docker", "podman"].into_iter().find(|engine| program.ends_with(engine));
    let help = match engine {
        Some(engine) => format!("run it attached, without `-d`; or use `manager = \"{engine}\"`"),
        None if program.ends_with("systemctl") => {
            "use `manager = \"systemd\"`, or set a `stop_command`".to_owned()
        }
        None => "start the program itself, or set a `stop_command` and `manager = \"command\"`".to_owned(),
    };
    Some(warning(service, map, "start_command", message, &help))
}

/// Warns of a dependency that is named twice: both conditions have to hold.
fn check_repeated_dependencies(service: &Service, map: &KeyMap<'_>) -> Vec<Diagnostic> {
    let mut first: HashMap<&str, &Dependency> = HashMap::new();
    let mut found = Vec::new();
    for edge in &service.dependencies {
        let Some(before) = first.get(&*edge.name) else {
            first.insert(&edge.name, edge);
            continue;
        };
        let [one, other] = [before, edge].map(|edge| name_of(&Condition::ALL, edge.condition));
        let message = if one == other {
            format!("`{}` is named twice", edge.name)
        } else {
            format!("`{}` is named twice, as `{one}` and as `{other}`: both have to hold", edge.name)
        };
        let mut diagnostic =
            warning(service, map, "dependencies", message, "name it once, with the condition that is meant");
        diagnostic.span = edge.span.start..edge.span.end;
        found.push(diagnostic);
    }
    found
}

/// Warns of two services that check one local port: the check passes only for the service that listens on it.
fn check_shared_port<'s>(
    service: &'s Service,
    before: &mut HashMap<(&'static str, u16), &'s Service>,
    map: &KeyMap<'_>,
) -> Option<Diagnostic> {
    let port = checked_port(service)?;
    let other = *before.entry(port).or_insert(service);
    if std::ptr::eq(other, service) {
        return None;
    }
    let message = format!(
        "its check uses port {}, and so does the check of `{}`: only one of them can own the port",
        port.1, other.name
    );
    Some(warning(
        service,
        map,
        "health_check_endpoint",
        message,
        "use different ports, or set `health.listener = \"any\"`",
    ))
}

/// The transport and port of a check that requires the service's own listener.
fn checked_port(service: &Service) -> Option<(&'static str, u16)> {
    if service.health.listener == Listener::Any || service.manager != Manager::Process || service.oneshot {
        return None;
    }
    let (transport, address) = match service.endpoint.as_ref()? {
        Endpoint::Http(url) => ("tcp", authority(url, "80")),
        Endpoint::Https(url) => ("tcp", authority(url, "443")),
        Endpoint::Tcp(address) => ("tcp", address.clone()),
        Endpoint::Dns { server, .. } => ("udp", server.clone()),
        Endpoint::Unix(_) | Endpoint::Exec(_) => return None,
    };
    let (host, port) = address.rsplit_once(':')?;
    if local_addresses(host).is_empty() {
        return None;
    }
    Some((transport, port.parse().ok()?))
}

fn authority(url: &str, usual: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    if has_port { authority.to_owned() } else { format!("{authority}:{usual}") }
}

fn check_dependency(
    service: &Service,
    edge: &Dependency,
    need: &Service,
    map: &KeyMap<'_>,
) -> Option<Diagnostic> {
    let (message, help) = if need.oneshot && edge.when_lost != WhenLost::Keep {
        let lost = name_of(&WhenLost::ALL, edge.when_lost);
        (
            format!(
                "`when_lost = \"{lost}\"` depends on `{}`, a one-shot: once completed, it is lost only if it \
                 is run again or stopped",
                need.name
            ),
            "remove `when_lost` unless that is intended",
        )
    } else if edge.condition == Condition::Completed
        && !need.oneshot
        && need.manager == Manager::Process
        && matches!(need.restart, Restart::Always | Restart::UnlessStopped)
    {
        (
            format!(
                "waits until `{}` is completed, but its restart policy starts it again whenever it ends",
                need.name
            ),
            "make it a one-shot, or wait for another condition",
        )
    } else if edge.condition == Condition::Completed && !need.oneshot && need.endpoint.is_some() {
        let name = &need.name;
        (
            format!(
                "waits until `{name}` has ended with code 0, and `{name}` is a server: it has a `health_check_endpoint`"
            ),
            "wait for `ready` or `healthy`, or make it a one-shot",
        )
    } else if edge.condition == Condition::Healthy && need.endpoint.is_none() && !need.oneshot {
        explain_unchecked(need)?
    } else {
        return None;
    };
    let mut diagnostic = warning(service, map, "dependencies", message, help);
    diagnostic.span = edge.span.start..edge.span.end;
    Some(diagnostic)
}

/// Why the condition `healthy` has an unexpected meaning for a service without a check. A manager other than `command`
/// reports the health itself.
fn explain_unchecked(need: &Service) -> Option<(String, &'static str)> {
    let name = &need.name;
    if need.manager == Manager::Process {
        let message = format!(
            "`condition = \"healthy\"`: `{name}` has no health check, so this is the same as `ready`"
        );
        return Some((message, "set its `health_check_endpoint`, or remove `condition`"));
    }
    let is_asked = need.manager != Manager::BuiltIn("command".to_owned()) || need.status_command.is_some();
    let message =
        format!("`condition = \"healthy\"`: the health of `{name}` is never known, so the wait never ends");
    let help = "set its `status_command` or `health_check_endpoint`, or remove `condition`";
    (!is_asked).then_some((message, help))
}
