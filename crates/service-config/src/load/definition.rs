//! `[services.NAME]` and `[orchestrator.service_defaults]`: the meaning of each key.

use super::section::{Diagnostic, Section, Value, integer, parse_duration, parse_size};
use super::{client, container, limits, with};
use service_core::Name;
use service_core::config::{
    Backoff, Command, Condition, Dependency, Health, KillMode, Listener, Log, Manager, OnFailure, Ready,
    Restart, Service, Span, WhenLost,
};
use service_core::health::{Endpoint, InvalidEndpoint};
use std::ops::Range;
use std::path::Path;
use thiserror::Error;
use toml::de::DeValue;
use url::Url;

/// A service with the built-in defaults, whose name is replaced later.
pub(super) fn template() -> Service {
    Service::new(Name::new("default").expect("`default` is a valid name"))
}

/// Reads `[orchestrator.service_defaults]`.
pub(super) fn defaults(mut section: Section<'_>, service: &mut Service) {
    policies(&mut section, service);
    section.reject_unknown_keys();
}

/// Reads one service on top of the defaults.
pub(super) fn service(
    mut section: Section<'_>,
    name: Name,
    span: Range<usize>,
    defaults: &Service,
) -> Service {
    let mut service = Service { name, span: convert(&span), ..defaults.clone() };
    section.string("description", |text| service.description = text);
    section.string("stop_command", |text| {
        service.stop_command = Some(text).filter(|text| !text.trim().is_empty());
    });
    section.string("status_command", |text| service.status_command = Some(text));
    service.manager = manager(&mut section, &service);
    service.with = with::read(&mut section, &service.manager);
    service.container = container::read(&mut section, &service);
    let mut shell = None;
    section.string("shell", |text| shell = Some(text));
    if shell.as_ref().is_some_and(|shell| shell.trim().is_empty()) {
        shell = None;
        section.report_contradiction("shell", "\"\"", "remove it to run `start_command` directly");
    }
    service.start_command = start_command(&mut section, &service, shell.as_deref(), span);
    service.dependencies = dependencies(&mut section);
    service.endpoint = endpoint(&mut section);
    section.flag("oneshot", &mut service.oneshot);
    policies(&mut section, &mut service);
    if service.oneshot && section.span_of("restart").is_none() {
        // A one-shot runs again only by its own `restart`, not by a default.
        service.restart = Restart::No;
    }
    limits::report_contradictions(&section, &service);
    section.reject_unknown_keys();
    service
}

/// Reads the keys that `service_defaults` may also have.
fn policies(section: &mut Section<'_>, service: &mut Service) {
    section.string("working_dir", |text| service.working_dir = Some(text));
    service.env.extend(section.environment("env"));
    service.env_file.extend(section.list("env_file"));
    section.flag("env_clear", &mut service.environment.env_clear);
    service.environment.pass_env.extend(section.list("pass_env"));
    if let Some(flag) = section.read("no_new_privileges", "true or false", DeValue::as_bool) {
        service.environment.no_new_privileges = Some(flag);
    }
    section.string("user", |text| service.user = Some(text));
    section.string("group", |text| service.group = Some(text));
    let expected = "a size of at least 1MB, such as \"512MB\"";
    if let Some(bytes) = section.read("memory_limit", expected, limits::parse_memory) {
        service.limits.memory = Some(bytes);
    }
    let expected = "a number of cores such as 0.5, or a share of one such as \"50%\"; at least 0.01";
    if let Some(cores) = section.read("cpu_limit", expected, limits::parse_cpu) {
        service.limits.cpu = Some(cores);
    }
    let key = section.spelling("auto", "autostart");
    section.flag(key, &mut service.auto);
    section.choice("restart", &Restart::ALL, &mut service.restart);
    stop_signal(section, &mut service.stop_signal);
    section.choice("kill_mode", &KillMode::ALL, &mut service.kill_mode);
    section.duration("stop_timeout", &mut service.stop_timeout);
    if let Some(section) = section.section("health") {
        health(section, &mut service.health);
    }
    if let Some(section) = section.section("ready") {
        ready(section, &mut service.ready);
    }
    if let Some(section) = section.section("backoff") {
        backoff(section, &mut service.backoff);
    }
    if let Some(section) = section.section("log") {
        log(section, &mut service.log);
    }
}

fn manager(section: &mut Section<'_>, service: &Service) -> Manager {
    let start = section.get("start_command").map(Value::get_ref);
    let by_commands = match service.stop_command {
        // The process of such a client is not the service.
        Some(_) if start.is_some_and(client::starts_client) => Manager::BuiltIn("command".to_owned()),
        Some(_) | None => Manager::Process,
    };
    let Some(value) = section.get("manager") else { return by_commands };
    match value.get_ref().as_str() {
        Some("process") => Manager::Process,
        Some(name) if Manager::BUILT_IN.contains(&name) => Manager::BuiltIn(name.to_owned()),
        Some(path) if Path::new(path).extension().is_some_and(|extension| extension == "nu") => {
            Manager::Module(path.to_owned())
        }
        _ => {
            let names =
                Manager::BUILT_IN.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
            section.report(
                value.span(),
                format!("`manager` should be \"process\", {names}, or the path of a .nu module"),
            );
            by_commands
        }
    }
}

fn start_command(
    section: &mut Section<'_>,
    service: &Service,
    shell: Option<&str>,
    name: Range<usize>,
) -> Command {
    let Some(value) = section.get("start_command") else {
        let needs_none = !matches!(&service.manager, Manager::Process)
            && service.manager != Manager::BuiltIn("command".to_owned());
        if needs_none {
            return Command::default();
        }
        let mut diagnostic =
            Diagnostic::new(name, format!("service `{}` has no `start_command`", service.name));
        diagnostic.missing = Some("start_command");
        diagnostic.help = section.help_for_missing_command();
        section.push(diagnostic);
        return Command::default();
    };
    match command(value.get_ref(), shell, takes_lines(service)) {
        Ok(command) => command,
        Err(error) => {
            section.report(value.span(), error.to_string());
            Command::default()
        }
    }
}

/// Whether `start_command` is a line for Nushell. The command of a process or a container is split into words.
fn takes_lines(service: &Service) -> bool {
    service.manager != Manager::Process && service.container.is_none()
}

/// Why a `start_command` cannot be used.
#[derive(Debug, Error)]
enum StartCommandError {
    #[error("`start_command` should be a string or a list of strings")]
    WordType,
    #[error("`start_command` should be a string or a list of strings, not this {0}")]
    Type(&'static str),
    #[error("cannot split `start_command` into words: {0}")]
    Split(#[from] shell_words::ParseError),
    #[error("`start_command` cannot contain a NUL")]
    Nul,
    #[error("`start_command` is empty")]
    Empty,
    #[error("`shell` needs `start_command` as one string")]
    ShellWords,
}

fn command(value: &DeValue<'_>, shell: Option<&str>, is_line: bool) -> Result<Command, StartCommandError> {
    let written = match value {
        DeValue::Array(words) => {
            let words: Option<Vec<&str>> = words.iter().map(|word| word.get_ref().as_str()).collect();
            let words = words.ok_or(StartCommandError::WordType)?;
            Command { text: shell_words::join(&words), argv: words.into_iter().map(str::to_owned).collect() }
        }
        DeValue::String(text) if is_line || shell.is_some() => {
            Command { text: text.to_string(), argv: vec![text.to_string()] }
        }
        DeValue::String(text) => {
            let argv = shell_words::split(text)?;
            Command { text: text.to_string(), argv }
        }
        other => return Err(StartCommandError::Type(other.type_str())),
    };
    if written.argv.iter().any(|word| word.contains('\0')) {
        return Err(StartCommandError::Nul);
    }
    if written.argv.first().is_none_or(|program| program.trim().is_empty()) {
        return Err(StartCommandError::Empty);
    }
    match (shell, value) {
        (Some(_), DeValue::Array(_)) => Err(StartCommandError::ShellWords),
        (Some(shell), _) => {
            Ok(Command { argv: vec![shell.to_owned(), "-c".to_owned(), written.text.clone()], ..written })
        }
        (None, _) => Ok(written),
    }
}

fn dependencies(section: &mut Section<'_>) -> Vec<Dependency> {
    let expected = "a list of service names, or of tables with `name`";
    let Some(values) = section.read("dependencies", expected, DeValue::as_array) else { return Vec::new() };
    values.iter().filter_map(|value| dependency(section, value)).collect()
}

fn dependency<'t>(section: &Section<'t>, value: &'t Value<'t>) -> Option<Dependency> {
    let mut dependency = match value.get_ref() {
        DeValue::String(text) => return edge(section, text, &value.span()),
        DeValue::Table(table) => Section::within(section, table, "dependencies"),
        other => {
            section.report(
                value.span(),
                format!("a dependency should be a name or a table, not this {}", other.type_str()),
            );
            return None;
        }
    };
    let mut edge = match dependency.get("name").map(|name| (name.get_ref().as_str(), name.span())) {
        Some((Some(text), span)) => edge(section, text, &span)?,
        _ => {
            section.report(value.span(), "this dependency has no `name`");
            return None;
        }
    };
    dependency.choice("condition", &Condition::ALL, &mut edge.condition);
    dependency.choice("when_lost", &WhenLost::ALL, &mut edge.when_lost);
    dependency.reject_unknown_keys();
    Some(edge)
}

fn edge(section: &Section<'_>, text: &str, span: &Range<usize>) -> Option<Dependency> {
    let name = Name::new(text).map_err(|error| section.report(span.clone(), error.to_string())).ok()?;
    Some(Dependency {
        name,
        span: convert(span),
        condition: Condition::default(),
        when_lost: WhenLost::default(),
    })
}

fn endpoint(section: &mut Section<'_>) -> Option<Endpoint> {
    let value = section.get("health_check_endpoint")?;
    let text = value.get_ref().as_str().unwrap_or_default();
    let refuse = |message: String, help: &str| {
        let mut diagnostic = Diagnostic::new(value.span(), message);
        diagnostic.help = Some(help.to_owned());
        section.push(diagnostic);
    };
    let endpoint =
        Endpoint::parse(text).map_err(|error| refuse(error.to_string(), InvalidEndpoint::HELP)).ok()?;
    if let (Endpoint::Http(url) | Endpoint::Https(url), Some(why)) = (&endpoint, check_url(text)) {
        refuse(format!("`{url}` is not usable: {why}"), "write it as http://host:port/path");
        return None;
    }
    Some(endpoint)
}

fn stop_signal(section: &mut Section<'_>, target: &mut i32) {
    let named = |text: &str| {
        let name = if text.starts_with("SIG") { text.to_owned() } else { format!("SIG{text}") };
        name.parse::<nix::sys::signal::Signal>().ok().map(|signal| signal as i32)
    };
    if let Some(signal) =
        section.read("stop_signal", "the name of a signal, such as \"TERM\" or \"INT\"", |value| {
            named(value.as_str()?)
        })
    {
        *target = signal;
    }
}

fn health(mut section: Section<'_>, health: &mut Health) {
    section.duration("interval", &mut health.interval);
    if health.interval.is_zero() {
        section.report_contradiction(
            "interval",
            "0s",
            "continuous checks would use a whole core; try \"1s\"",
        );
    }
    section.duration("timeout", &mut health.timeout);
    if health.timeout.is_zero() {
        section.report_contradiction("timeout", "0s", "no check would ever pass; try \"3s\"");
    }
    section.number("retries", &mut health.retries);
    if health.retries == 0 {
        section.report_contradiction("retries", "0", "1 makes it unhealthy with the first failure");
    }
    section.duration("start_period", &mut health.start_period);
    let status = |value: &DeValue<'_>| -> Option<Vec<u16>> {
        value
            .as_array()?
            .iter()
            .map(|value| integer(value.get_ref()).filter(|code| (100..600).contains(code)))
            .collect()
    };
    if let Some(codes) = section.read("status", "a list of HTTP statuses", status) {
        health.status = codes;
    }
    section.choice("on_failure", &OnFailure::ALL, &mut health.on_failure);
    section.choice("listener", &Listener::ALL, &mut health.listener);
    section.string("ca_file", |text| health.ca_file = Some(text).filter(|text| !text.is_empty()));
    section.flag("insecure", &mut health.insecure);
    section.reject_unknown_keys();
}

fn ready(mut section: Section<'_>, ready: &mut Ready) {
    if let Some(value) = section.get("log") {
        match value.get_ref().as_str().map(regex::Regex::new) {
            Some(Ok(pattern)) => ready.log = Some(pattern.as_str().to_owned()),
            Some(Err(error)) => {
                section.report(value.span(), format!("`log` is not a regular expression: {error}"));
            }
            None => section.report(value.span(), "`log` should be a regular expression"),
        }
    }
    section.flag("notify", &mut ready.notify);
    if let Some(timeout) =
        section.read("timeout", "a duration such as \"60s\"", |value| parse_duration(value.as_str()?))
    {
        ready.timeout = Some(timeout);
    }
    if ready.timeout.is_some_and(|timeout| timeout.is_zero()) {
        section.report_contradiction("timeout", "0s", "no start would ever succeed; remove it for \"60s\"");
    }
    section.duration("delay", &mut ready.delay);
    section.reject_unknown_keys();
}

fn backoff(mut section: Section<'_>, backoff: &mut Backoff) {
    section.duration("initial", &mut backoff.initial);
    let factor = |value: &DeValue<'_>| match value {
        DeValue::Float(number) => number.as_str().parse().ok(),
        other => integer::<u32>(other).map(f64::from),
    };
    if let Some(factor) =
        section.read("factor", "a number of at least 1", |value| factor(value).filter(|f| *f >= 1.0))
    {
        backoff.factor = factor;
    }
    section.duration("max", &mut backoff.max);
    section.duration("reset_after", &mut backoff.reset_after);
    section.number("limit", &mut backoff.limit);
    section.duration("window", &mut backoff.window);
    if backoff.window.is_zero() {
        section.report_contradiction("window", "0s", "for restarts without a limit set `limit = 0`");
    }
    section.reject_unknown_keys();
}

fn log(mut section: Section<'_>, log: &mut Log) {
    let expected = "a size such as \"10MB\" or a number of bytes";
    let size = |value: &DeValue<'_>| integer(value).or_else(|| parse_size(value.as_str()?));
    if let Some(size) = section.read("max_size", expected, |value| size(value).filter(|size| *size >= 4096)) {
        log.max_size = size;
    }
    let few = |value: &DeValue<'_>| integer::<u32>(value).filter(|files| *files <= 1000);
    if let Some(files) = section.read("max_files", "a whole number up to 1000", few) {
        log.max_files = files;
    }
    section.reject_unknown_keys();
}

fn convert(span: &Range<usize>) -> Span {
    Span { start: span.start, end: span.end }
}

/// Why no request can be sent to this URL.
fn check_url(url: &str) -> Option<String> {
    match Url::parse(url) {
        Ok(url) if url.port() == Some(0) => Some("port 0 is not usable".to_owned()),
        Ok(_) => None,
        Err(error) => Some(error.to_string()),
    }
}
