//! Analyzes a file: returns the valid services and every error.

use super::key_map::KeyMap;
use super::section::{Diagnostic, Key, Section};
use super::text::Text;
use super::{api, definition, syntax_error};
use service_api::ownership::read_regular;
use service_api::trust::MAX_FILE_BYTES;
use service_api::{Code, Problem};
use service_core::config::{Config, Service, Settings};
use service_core::plan::PlanError;
use service_core::{InvalidName, Name, Plan};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::ErrorKind::{InvalidData, NotADirectory, NotFound, PermissionDenied};
use std::path::Path;
use std::string::FromUtf8Error;
use std::time::Duration;
use thiserror::Error;
use toml::de::DeTable;

pub(super) fn read(path: &Path) -> Result<Text, Problem> {
    let file = path.display().to_string();
    let text = read_regular(path, MAX_FILE_BYTES).and_then(|bytes| {
        String::from_utf8(bytes).map_err(|error| std::io::Error::new(InvalidData, describe_encoding(&error)))
    });
    match text {
        Ok(text) => Ok(Text::new(file, text)),
        Err(error) => {
            let message = format!("cannot read `{file}`: {error}");
            Err(Problem::new(Code::BadDefinition, message).help(describe_remedy(&error)))
        }
    }
}

/// Describes text that is not UTF-8.
fn describe_encoding(error: &FromUtf8Error) -> String {
    let (bytes, valid) = (error.as_bytes(), error.utf8_error().valid_up_to());
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return "it is UTF-16".to_owned();
    }
    let line = bytes[..valid].split(|byte| *byte == b'\n').count();
    format!("it is not UTF-8, from line {line} on")
}

/// The next step for a file that cannot be read.
fn describe_remedy(error: &std::io::Error) -> &'static str {
    match error.kind() {
        NotFound | NotADirectory => {
            "restore the file; `service status`, `logs`, `why`, `stop` and `down` work without it"
        }
        PermissionDenied => "make the file readable for your user",
        InvalidData => "save it as UTF-8",
        _ => "correct what the error names, then try again",
    }
}

/// The result of reading a file, which may have errors.
pub(super) struct Analysis {
    /// Every service that could be read, including services with errors.
    pub(super) services: Vec<Service>,
    /// The `service_defaults`.
    pub(super) defaults: Service,
    /// Every error, in the order of the file.
    pub(super) diagnostics: Vec<Diagnostic>,
    /// The plan; present if and only if there is no error.
    pub(super) plan: Option<Plan>,
}

pub(super) fn analyze(text: &Text) -> Analysis {
    let (config, defaults, mut diagnostics) = parse_leniently(text);
    let services = config.services.clone();
    let mut plan = None;
    match Plan::compile(config) {
        Ok(compiled) => plan = Some(compiled).filter(|_| diagnostics.is_empty()),
        Err(errors) => {
            // A dependency on a service of the file is not an error, even if that service has errors.
            let known =
                if diagnostics.is_empty() { Vec::new() } else { KeyMap::parse(text.as_str()).services() };
            let known: BTreeSet<String> = known.into_iter().collect();
            let excused = |error: &&PlanError| matches!(error, PlanError::Unknown { dependency, .. } if known.contains(&**dependency));
            diagnostics.extend(errors.iter().filter(|error| !excused(error)).map(to_diagnostic));
            diagnostics.sort_by_key(|diagnostic| diagnostic.span.start);
        }
    }
    Analysis { services, defaults, diagnostics, plan }
}

pub(super) fn parse(text: &Text) -> Result<Config, Vec<Diagnostic>> {
    let (config, _, diagnostics) = parse_leniently(text);
    if diagnostics.is_empty() { Ok(config) } else { Err(diagnostics) }
}

/// Reads all valid parts, with the errors within each service.
fn parse_leniently(text: &Text) -> (Config, Service, Vec<Diagnostic>) {
    let mut defaults = definition::template();
    let root = match DeTable::parse(text.as_str()) {
        Ok(root) => root,
        Err(error) => {
            return (Config::default(), defaults, vec![syntax_error::to_diagnostic(text.as_str(), &error)]);
        }
    };
    let diagnostics = RefCell::new(Vec::new());
    let mut root = Section::new(root.get_ref(), "", &diagnostics);
    let mut config = Config::default();
    if let Some(mut orchestrator) = root.section("orchestrator") {
        parse_settings(&mut orchestrator, &mut config.settings);
        if let Some(section) = orchestrator.section("service_defaults") {
            definition::defaults(section, &mut defaults);
        }
        orchestrator.reject_unknown_keys();
    }
    if let Some(services) = root.section("services") {
        config.services = parse_services(services, &defaults);
    }
    root.reject_unknown_keys();
    let mut diagnostics = diagnostics.into_inner();
    diagnostics.sort_by_key(|diagnostic| diagnostic.span.start);
    (config, defaults, diagnostics)
}

pub(super) fn parse_services(services: Section<'_>, defaults: &Service) -> Vec<Service> {
    let read = |(key, section): (&Key<'_>, Section<'_>)| match parse_service_name(key.get_ref()) {
        Ok(name) => Some(definition::service(section, name, key.span(), defaults)),
        Err(error) => {
            section.report(key.span(), error.to_string());
            None
        }
    };
    services.sections().filter_map(read).collect()
}

/// The rule of names that a text breaks.
#[derive(Debug, Error)]
pub enum ServiceNameError {
    /// A word of an API path.
    #[error("`{0}` cannot be a service's name: it is part of an API path")]
    Reserved(String),
    /// The text is no name.
    #[error(transparent)]
    Invalid(#[from] InvalidName),
}

/// Parses the name of a service.
///
/// # Errors
/// The rule that the text violates.
pub fn parse_service_name(text: &str) -> Result<Name, ServiceNameError> {
    if service_api::routes::RESERVED_NAMES.contains(&text) {
        return Err(ServiceNameError::Reserved(text.to_owned()));
    }
    Ok(Name::new(text)?)
}

/// The minimum idle timeout. A command that starts a daemon sends its first request within this time.
const MIN_IDLE_TIMEOUT: Duration = Duration::from_secs(1);

fn parse_settings(orchestrator: &mut Section<'_>, settings: &mut Settings) {
    orchestrator.duration("idle_timeout", &mut settings.idle_timeout);
    if !settings.idle_timeout.is_zero() && settings.idle_timeout < MIN_IDLE_TIMEOUT {
        let help = "the daemon would exit before the first request; try \"15m\", or \"0s\" for never";
        orchestrator.report_contradiction("idle_timeout", "less than 1s", help);
    }
    if let Some(mut services) = orchestrator.section("services") {
        services.flag("manager_enabled", &mut settings.manager_enabled);
        services.flag("auto_start_dependencies", &mut settings.auto_start_dependencies);
        let key = services.spelling("forget_transient", "transient_ttl");
        services.duration(key, &mut settings.forget_transient);
        services.reject_unknown_keys();
    }
    if let Some(mut managers) = orchestrator.section("managers") {
        managers.string("nu", |nu| settings.nu = Some(nu));
        managers.duration("timeout", &mut settings.manager_timeout);
        if settings.manager_timeout.is_zero() {
            managers.report_contradiction(
                "timeout",
                "0s",
                "no call of a manager would ever succeed; try \"30s\"",
            );
        }
        managers.number("parallel", &mut settings.manager_parallel);
        if settings.manager_parallel == 0 {
            managers.report_contradiction("parallel", "0", "no call of a manager would ever begin; try 8");
        }
        managers.reject_unknown_keys();
    }
    if let Some(section) = orchestrator.section("api") {
        settings.api = api::api(section).map(Box::new);
    }
}

/// The maximum number of related locations of a diagnostic.
const MAX_PLACES: usize = 16;

pub(super) fn to_diagnostic(error: &PlanError) -> Diagnostic {
    let spans = error.spans();
    let mut spans = spans.iter().map(|span| span.start..span.end);
    let mut diagnostic = Diagnostic::new(spans.next().unwrap_or_default(), error.to_string());
    diagnostic.help = error.help();
    diagnostic.also = spans.take(MAX_PLACES).collect();
    diagnostic
}
