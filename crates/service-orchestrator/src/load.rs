//! From `services.toml` to a [`Plan`]: reading, typing, and every problem with file, line and column.
//!
//! The TOML tree is walked by hand so that each value keeps its place and all problems are found at once.

mod added;
mod additions;
mod api;
mod asked;
mod check;
mod client;
mod container;
mod definition;
mod doubts;
mod file;
mod idle_keys;
mod limits;
mod map;
mod private;
mod section;
pub(crate) mod shell_syntax;
mod text;
mod whereabouts;
mod with;

pub(crate) use added::{Addition, check as check_additions};
pub(crate) use additions::Additions;
pub use check::check;
pub(crate) use file::service_name;
pub(crate) use whereabouts::places;

use crate::host::acceptance::Acceptance;
use file::{fault, parse, read, understand};
use service_api::Problem;
use service_core::Plan;
use service_core::config::{Config, Service};
use std::path::Path;
use text::Text;

/// `config.defaults.toml`: every setting with its default.
pub const DEFAULTS: &str = include_str!("../../../config.defaults.toml");

/// Reads and compiles the file.
///
/// # Errors
/// [`Code::BadDefinition`](service_api::Code::BadDefinition); the first problem, the others in [`Problem::others`].
pub fn plan(path: &Path) -> Result<Plan, Problem> {
    let text = read(path)?;
    let reading = understand(&text);
    reading.plan.ok_or_else(|| text.problem(&reading.faults))
}

/// As [`plan`], with what was added to it, as far as that fits: what the file defines is the file's.
pub(crate) fn plan_with(path: &Path, additions: &[Addition]) -> Result<Plan, Problem> {
    let text = read(path)?;
    let reading = understand(&text);
    let plan = reading.plan.ok_or_else(|| text.problem(&reading.faults))?;
    Ok(added::merge(plan, additions, &reading.defaults))
}

/// What the file says for itself, with what was added to it, as far as that fits.
pub(crate) fn merged((plan, defaults): &(Plan, Service), additions: &[Addition]) -> Plan {
    added::merge(plan.clone(), additions, defaults)
}

/// As [`plan_with`]; what is taken up is known to be so.
pub(crate) fn plan_for(
    acceptance: &Acceptance,
    path: &Path,
    additions: &[Addition],
) -> Result<Plan, Problem> {
    let text = read(path)?;
    let reading = understand(&text);
    let plan = reading.plan.ok_or_else(|| text.problem(&reading.faults))?;
    let plan = added::merge(plan, additions, &reading.defaults);
    acceptance.taken_up(text.as_str().as_bytes(), &plan);
    Ok(plan)
}

/// What the file says for itself: its services, and the defaults of every service.
pub(crate) fn with_defaults(path: &Path) -> Result<(Plan, Service), Problem> {
    let text = read(path)?;
    let reading = understand(&text);
    let plan = reading.plan.ok_or_else(|| text.problem(&reading.faults))?;
    Ok((plan, reading.defaults))
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

#[cfg(test)]
mod tests;
