//! From `services.toml` to a [`Plan`]: reading, typing, and every problem with file, line and column.
//!
//! The TOML tree is walked by hand so that each value keeps its place and all problems are found at once.

mod definition;
mod limits;
mod section;
mod text;

use section::{Fault, Section};
use service_api::{Code, Problem};
use service_core::config::{Config, Settings};
use service_core::plan::PlanError;
use service_core::{Name, Plan};
use std::cell::RefCell;
use std::path::Path;
use text::Text;
use toml::de::DeTable;

/// `config.defaults.toml`: every setting with its default.
pub const DEFAULTS: &str = include_str!("../../../config.defaults.toml");

/// Reads and compiles the file.
///
/// # Errors
/// [`Code::BadDefinition`]; the first problem, the others in [`Problem::others`].
pub fn plan(path: &Path) -> Result<Plan, Problem> {
    let text = read(path)?;
    let config = parse(&text).map_err(|faults| text.problem(&faults))?;
    Plan::compile(config).map_err(|errors| text.problem(&errors.iter().map(fault).collect::<Vec<_>>()))
}

/// Reads the file.
///
/// # Errors
/// As [`plan`].
pub fn config(path: &Path) -> Result<Config, Problem> {
    let text = read(path)?;
    parse(&text).map_err(|faults| text.problem(&faults))
}

/// Reads a configuration from text, as if it stood in a file of this name.
///
/// # Errors
/// As [`plan`].
pub fn config_from_str(text: &str, file: &str) -> Result<Config, Problem> {
    let text = Text::new(file.to_owned(), text.to_owned());
    parse(&text).map_err(|faults| text.problem(&faults))
}

/// Turns what is wrong between services into problems with places, as [`plan`] does.
pub fn compile(config: Config, file: &Path) -> Result<Plan, Problem> {
    Plan::compile(config).map_err(|errors| {
        let text = read(file).unwrap_or_else(|_| Text::new(file.display().to_string(), String::new()));
        text.problem(&errors.iter().map(fault).collect::<Vec<_>>())
    })
}

fn read(path: &Path) -> Result<Text, Problem> {
    let file = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Text::new(file, text)),
        Err(error) => Err(Problem::new(Code::BadDefinition, format!("cannot read `{file}`: {error}"))),
    }
}

fn parse(text: &Text) -> Result<Config, Vec<Fault>> {
    let root = DeTable::parse(text.as_str()).map_err(|error| {
        let span = error.span().unwrap_or_default();
        vec![Fault::new(span, format!("this is not TOML: {}", error.message().trim()))]
    })?;
    let faults = RefCell::new(Vec::new());
    let mut root = Section::new(root.get_ref(), "", &faults);
    let mut config = Config::default();
    let mut defaults = definition::template();
    if let Some(mut orchestrator) = root.section("orchestrator") {
        settings(&mut orchestrator, &mut config.settings);
        if let Some(section) = orchestrator.section("service_defaults") {
            definition::defaults(section, &mut defaults);
        }
        orchestrator.finish();
    }
    if let Some(services) = root.section("services") {
        for (key, section) in services.sections() {
            match service_name(key.get_ref()) {
                Ok(name) => config.services.push(definition::service(section, name, key.span(), &defaults)),
                Err(message) => section.report(key.span(), message),
            }
        }
    }
    root.finish();
    let mut faults = faults.into_inner();
    faults.sort_by_key(|fault| fault.span.start);
    if faults.is_empty() { Ok(config) } else { Err(faults) }
}

fn service_name(text: &str) -> Result<Name, String> {
    if service_api::routes::RESERVED_NAMES.contains(&text) {
        return Err(format!("`{text}` cannot be a service's name: it stands for something else in the API"));
    }
    Name::new(text).map_err(|error| error.to_string())
}

fn settings(orchestrator: &mut Section<'_>, settings: &mut Settings) {
    if let Some(mut services) = orchestrator.section("services") {
        services.flag("manager_enabled", &mut settings.manager_enabled);
        services.flag("auto_start_dependencies", &mut settings.auto_start_dependencies);
        services.finish();
    }
    if let Some(mut managers) = orchestrator.section("managers") {
        managers.string("nu", |nu| settings.nu = Some(nu));
        managers.duration("timeout", &mut settings.manager_timeout);
        if settings.manager_timeout.is_zero() {
            managers.senseless("timeout", "0s", "no call of a manager would ever succeed; try \"30s\"");
        }
        managers.finish();
    }
}

fn fault(error: &PlanError) -> Fault {
    let spans = error.spans();
    let mut spans = spans.iter().map(|span| span.start..span.end);
    let mut fault = Fault::new(spans.next().unwrap_or_default(), error.to_string());
    fault.help = error.help();
    fault.also = spans.collect();
    fault
}

#[cfg(test)]
mod tests;
