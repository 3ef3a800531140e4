//! Reading a file: its text, what of it can be understood, and everything that is wrong with it.

use super::map::Map;
use super::section::{Fault, Key, Section};
use super::text::Text;
use super::{api, definition};
use service_api::ownership::read_regular;
use service_api::trust::MAX_FILE_BYTES;
use service_api::{Code, Problem};
use service_core::config::{Config, Service, Settings};
use service_core::plan::PlanError;
use service_core::{Name, Plan};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;
use toml::de::DeTable;

pub(super) fn read(path: &Path) -> Result<Text, Problem> {
    let file = path.display().to_string();
    let text = read_regular(path, MAX_FILE_BYTES)
        .and_then(|bytes| String::from_utf8(bytes).map_err(|_| std::io::Error::other("it is not UTF-8")));
    match text {
        Ok(text) => Ok(Text::new(file, text)),
        Err(error) => Err(Problem::new(Code::BadDefinition, format!("cannot read `{file}`: {error}"))),
    }
}

/// A file as far as it can be understood.
pub(super) struct Reading {
    /// The services that were understood, those with faults included.
    pub(super) services: Vec<Service>,
    /// What every service begins with.
    pub(super) defaults: Service,
    /// Everything that is wrong, in the order of the file.
    pub(super) faults: Vec<Fault>,
    /// What can be run; there is one exactly if nothing is wrong.
    pub(super) plan: Option<Plan>,
}

pub(super) fn understand(text: &Text) -> Reading {
    let (config, defaults, mut faults) = lenient(text);
    let services = config.services.clone();
    let mut plan = None;
    match Plan::compile(config) {
        Ok(compiled) => plan = Some(compiled).filter(|_| faults.is_empty()),
        Err(errors) => {
            // Whoever needs a service that is there and wrong in itself makes no mistake.
            let known = if faults.is_empty() { Vec::new() } else { Map::of(text.as_str()).services() };
            let known: BTreeSet<String> = known.into_iter().collect();
            let excused = |error: &&PlanError| matches!(error, PlanError::Unknown { dependency, .. } if known.contains(&**dependency));
            faults.extend(errors.iter().filter(|error| !excused(error)).map(fault));
            faults.sort_by_key(|fault| fault.span.start);
        }
    }
    Reading { services, defaults, faults, plan }
}

pub(super) fn parse(text: &Text) -> Result<Config, Vec<Fault>> {
    let (config, _, faults) = lenient(text);
    if faults.is_empty() { Ok(config) } else { Err(faults) }
}

/// What can be understood, and what is wrong with each service by itself.
fn lenient(text: &Text) -> (Config, Service, Vec<Fault>) {
    let mut defaults = definition::template();
    let root = match DeTable::parse(text.as_str()) {
        Ok(root) => root,
        Err(error) => {
            let span = error.span().unwrap_or_default();
            let fault = Fault::new(span, format!("this is not TOML: {}", error.message().trim()));
            return (Config::default(), defaults, vec![fault]);
        }
    };
    let faults = RefCell::new(Vec::new());
    let mut root = Section::new(root.get_ref(), "", &faults);
    let mut config = Config::default();
    if let Some(mut orchestrator) = root.section("orchestrator") {
        settings(&mut orchestrator, &mut config.settings);
        if let Some(section) = orchestrator.section("service_defaults") {
            definition::defaults(section, &mut defaults);
        }
        orchestrator.finish();
    }
    if let Some(services) = root.section("services") {
        config.services = each(services, &defaults);
    }
    root.finish();
    let mut faults = faults.into_inner();
    faults.sort_by_key(|fault| fault.span.start);
    (config, defaults, faults)
}

pub(super) fn each(services: Section<'_>, defaults: &Service) -> Vec<Service> {
    let read = |(key, section): (&Key<'_>, Section<'_>)| match service_name(key.get_ref()) {
        Ok(name) => Some(definition::service(section, name, key.span(), defaults)),
        Err(message) => {
            section.report(key.span(), message);
            None
        }
    };
    services.sections().filter_map(read).collect()
}

pub(crate) fn service_name(text: &str) -> Result<Name, String> {
    if service_api::routes::RESERVED_NAMES.contains(&text) {
        return Err(format!("`{text}` cannot be a service's name: it stands for something else in the API"));
    }
    Name::new(text).map_err(|error| error.to_string())
}

/// Whoever has started a daemon asks it within that time.
const MIN_IDLE_TIMEOUT: Duration = Duration::from_secs(1);

fn settings(orchestrator: &mut Section<'_>, settings: &mut Settings) {
    orchestrator.duration("idle_timeout", &mut settings.idle_timeout);
    if !settings.idle_timeout.is_zero() && settings.idle_timeout < MIN_IDLE_TIMEOUT {
        let help = "it would end before it is asked; try \"15m\", or \"0s\" for never";
        orchestrator.senseless("idle_timeout", "less than 1s", help);
    }
    if let Some(mut services) = orchestrator.section("services") {
        services.flag("manager_enabled", &mut settings.manager_enabled);
        services.flag("auto_start_dependencies", &mut settings.auto_start_dependencies);
        services.duration("forget_transient", &mut settings.forget_transient);
        services.finish();
    }
    if let Some(mut managers) = orchestrator.section("managers") {
        managers.string("nu", |nu| settings.nu = Some(nu));
        managers.duration("timeout", &mut settings.manager_timeout);
        if settings.manager_timeout.is_zero() {
            managers.senseless("timeout", "0s", "no call of a manager would ever succeed; try \"30s\"");
        }
        managers.number("parallel", &mut settings.manager_parallel);
        if settings.manager_parallel == 0 {
            managers.senseless("parallel", "0", "no call of a manager would ever begin; try 8");
        }
        managers.finish();
    }
    if let Some(section) = orchestrator.section("api") {
        settings.api = api::api(section).map(Box::new);
    }
}

/// So many further places of one fault are told.
const MAX_PLACES: usize = 16;

pub(super) fn fault(error: &PlanError) -> Fault {
    let spans = error.spans();
    let mut spans = spans.iter().map(|span| span.start..span.end);
    let mut fault = Fault::new(spans.next().unwrap_or_default(), error.to_string());
    fault.help = error.help();
    fault.also = spans.take(MAX_PLACES).collect();
    fault
}
