//! Reads `services.toml` and compiles it to a [`Plan`]. Every problem has its file, line and column.
//!
//! The TOML tree is walked without `serde`, so that each value keeps its span and one pass finds all problems.

mod added;
mod additions;
mod api;
mod check;
mod client;
mod container;
mod definition;
mod file;
mod key_map;
mod limits;
mod lint;
mod locate;
mod secret;
mod section;
pub mod shell_syntax;
mod syntax_error;
mod text;
mod with;

pub use added::{Addition, check as check_additions};
pub use additions::Additions;
pub use check::check;
pub use file::{ServiceNameError, parse_service_name};
pub use lint::Obstacle;
pub use locate::locate_keys;

use file::{analyze, parse, read, to_diagnostic};
use service_api::Problem;
use service_core::Plan;
use service_core::config::{Config, Service};
use service_host::acceptance::Acceptance;
use std::path::Path;
use text::Text;

/// `config.defaults.toml`: every setting with its default.
pub const DEFAULTS: &str = include_str!("../../../config.defaults.toml");

/// Reads and compiles the file.
///
/// # Errors
/// [`Code::BadDefinition`](service_api::Code::BadDefinition): the first problem, with the others in
/// [`Problem::others`].
pub fn plan(path: &Path) -> Result<Plan, Problem> {
    let text = read(path)?;
    let analysis = analyze(&text);
    analysis.plan.ok_or_else(|| text.problem(&analysis.diagnostics))
}

/// Like [`plan`], with the valid added services. A service in the file replaces an added one with the same name.
///
/// # Errors
/// The errors of [`plan`].
pub fn plan_with(path: &Path, additions: &[Addition]) -> Result<Plan, Problem> {
    let text = read(path)?;
    let analysis = analyze(&text);
    let plan = analysis.plan.ok_or_else(|| text.problem(&analysis.diagnostics))?;
    Ok(added::merge(plan, additions, &analysis.defaults))
}

/// Adds the valid added services to the plan of a file.
pub fn merged((plan, defaults): &(Plan, Service), additions: &[Addition]) -> Plan {
    added::merge(plan.clone(), additions, defaults)
}

/// Like [`plan_with`], and sets the content of the file for `acceptance`.
///
/// # Errors
/// The errors of [`plan`].
pub fn plan_for(acceptance: &Acceptance, path: &Path, additions: &[Addition]) -> Result<Plan, Problem> {
    let text = read(path)?;
    let analysis = analyze(&text);
    let plan = analysis.plan.ok_or_else(|| text.problem(&analysis.diagnostics))?;
    let plan = added::merge(plan, additions, &analysis.defaults);
    acceptance.set_content_blocking(text.as_str().as_bytes(), &plan);
    Ok(plan)
}

/// The plan of the file alone, and its `service_defaults`.
///
/// # Errors
/// The errors of [`plan`].
pub fn with_defaults(path: &Path) -> Result<(Plan, Service), Problem> {
    let text = read(path)?;
    let analysis = analyze(&text);
    let plan = analysis.plan.ok_or_else(|| text.problem(&analysis.diagnostics))?;
    Ok((plan, analysis.defaults))
}

/// Reads the file.
///
/// # Errors
/// The errors of [`plan`].
pub fn config(path: &Path) -> Result<Config, Problem> {
    let text = read(path)?;
    parse(&text).map_err(|diagnostics| text.problem(&diagnostics))
}

/// Reads a configuration from text. `file` is the name of the file in problems.
///
/// # Errors
/// The errors of [`plan`].
pub fn config_from_str(text: &str, file: &str) -> Result<Config, Problem> {
    let text = Text::new(file.to_owned(), text.to_owned());
    parse(&text).map_err(|diagnostics| text.problem(&diagnostics))
}

/// Compiles a configuration. Problems between services get their locations in `file`.
///
/// # Errors
/// The errors of [`plan`].
pub fn compile(config: Config, file: &Path) -> Result<Plan, Problem> {
    Plan::compile(config).map_err(|errors| {
        let text = read(file).unwrap_or_else(|_| Text::new(file.display().to_string(), String::new()));
        text.problem(&errors.iter().map(to_diagnostic).collect::<Vec<_>>())
    })
}

#[cfg(test)]
mod tests;
