//! Definitions of added services, which are given as values.
//!
//! Each definition is written as TOML and read like `services.toml`, so that a key has the same meaning and the same
//! errors in both. The location of an error is a row and a column.

use super::file::parse_services;
use super::key_map::{KeyMap, KeyPaths};
use super::section::{Diagnostic, Section};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use service_api::{Code, Problem};
use service_core::config::{Config, Origin, Service, Span};
use service_core::plan::PlanError;
use service_core::{Name, Plan};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use toml::de::DeTable;

/// The maximum number of problems that are reported for one request.
const MAX_PROBLEM_COUNT: usize = 100;
/// The error without a diagnostic.
const UNREADABLE: &str = "it cannot be read";

/// One definition, with the keys as the user gave them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Addition {
    /// The name of the service.
    pub name: Name,
    /// The keys of `[services.NAME]`.
    pub keys: serde_json::Map<String, Value>,
    /// Whether the definition is deleted some time after its run.
    #[serde(default)]
    pub transient: bool,
}

impl Addition {
    /// The beginning of each error of this definition, such as "cannot add `web`".
    pub fn error_prefix(&self) -> String {
        format!("cannot {} `{}`", if self.transient { "run" } else { "add" }, self.name)
    }
}

/// An error in an added definition, with the path of the key.
struct InvalidAddition {
    diagnostic: Diagnostic,
    path: Vec<String>,
}

/// Adds the valid added services to a plan. The file may have changed since they were added: a service that the file
/// defines now is not added, and an added service with a missing dependency is left out until the dependency exists
/// again.
pub(super) fn merge(plan: Plan, additions: &[Addition], defaults: &Service) -> Plan {
    let read = |addition: &Addition| match parse_addition(addition, defaults) {
        Ok(service) => Some(service),
        Err(invalid) => {
            let why = invalid.first().map_or(UNREADABLE, |invalid| invalid.diagnostic.message.as_str());
            tracing::warn!(service = %addition.name, why, "cannot load the added services");
            None
        }
    };
    let free = additions.iter().filter(|addition| plan.id(&addition.name).is_none());
    let mut added: Vec<Service> = free.filter_map(read).collect();
    while !added.is_empty() {
        match Plan::compile(with(&plan, added.iter().cloned())) {
            Ok(plan) => return plan,
            Err(errors) => {
                let before = added.len();
                for error in &errors {
                    tracing::warn!(%error, "cannot load the added services");
                }
                let gone = with_dependents(errors.iter().flat_map(offending_services), &added);
                added.retain(|service| !gone.contains(&service.name));
                if added.len() == before {
                    break;
                }
            }
        }
    }
    plan
}

/// These services, and all services in `added` that depend on one of them, directly or indirectly.
fn with_dependents<'n>(names: impl Iterator<Item = &'n Name>, added: &[Service]) -> BTreeSet<Name> {
    let mut dependents: BTreeMap<&Name, Vec<&Name>> = BTreeMap::new();
    for service in added {
        for need in &service.dependencies {
            dependents.entry(&need.name).or_default().push(&service.name);
        }
    }
    let mut gone: BTreeSet<Name> = names.cloned().collect();
    let mut open: Vec<Name> = gone.iter().cloned().collect();
    while let Some(name) = open.pop() {
        for dependent in dependents.get(&name).into_iter().flatten() {
            if gone.insert((*dependent).clone()) {
                open.push((*dependent).clone());
            }
        }
    }
    gone
}

/// Checks services that are to be added to the plan and to `others`, which were added before.
///
/// # Errors
/// Every problem, with its row among `fresh` and the path of its key.
pub fn check(
    (plan, defaults): &(Plan, Service),
    others: &[Addition],
    fresh: &[Addition],
) -> Result<Vec<Service>, Problem> {
    let mut services = Vec::new();
    let mut problems = Vec::new();
    for (row, addition) in fresh.iter().enumerate() {
        match parse_addition(addition, defaults) {
            Ok(service) => services.push(service),
            Err(invalid) => {
                problems.extend(invalid.into_iter().map(|invalid| invalid.problem(row, addition)));
            }
        }
    }
    let mut count = problems.len();
    if problems.is_empty() {
        // Problems of services that were added before are not reported here.
        let base = merge(plan.clone(), others, defaults);
        let errors = Plan::compile(with(&base, services.iter().cloned())).err().unwrap_or_default();
        let rows: BTreeMap<&Name, usize> =
            fresh.iter().enumerate().map(|(row, addition)| (&addition.name, row)).collect();
        let shown = errors.iter().take(MAX_PROBLEM_COUNT);
        problems.extend(shown.map(|error| problem_between(error, fresh, &rows)));
        count = errors.len();
    }
    problems.truncate(MAX_PROBLEM_COUNT);
    if let Some(more) = count.checked_sub(MAX_PROBLEM_COUNT).filter(|more| *more > 0) {
        problems.push(Problem::new(Code::BadDefinition, format!("and {more} more problems")));
    }
    match problems.is_empty() {
        true => Ok(services),
        false => {
            let mut first = problems.remove(0);
            first.others = problems;
            Err(first)
        }
    }
}

/// A problem between services, in the row of the service that caused it.
fn problem_between(error: &PlanError, fresh: &[Addition], rows: &BTreeMap<&Name, usize>) -> Problem {
    let row = offending_services(error).into_iter().filter_map(|name| rows.get(name).copied()).min();
    let cannot =
        row.and_then(|row| fresh.get(row)).map_or_else(|| "cannot add it".to_owned(), Addition::error_prefix);
    let mut problem = Problem::new(Code::BadDefinition, format!("{cannot}: {error}"));
    problem.help = match error {
        PlanError::Unknown { suggestion: None, dependency, .. } => {
            Some(format!("add `{dependency}` as well, or remove the dependency"))
        }
        error => error.help(),
    };
    problem.in_cell(row.unwrap_or_default(), vec!["dependencies".to_owned()])
}

fn offending_services(error: &PlanError) -> Vec<&Name> {
    match error {
        PlanError::Duplicate { name, .. } => vec![name],
        PlanError::Unknown { service, .. } => vec![service],
        PlanError::Cycle { edges } => edges.iter().map(|(name, _)| name).collect(),
        PlanError::TooMany(_) => Vec::new(),
    }
}

fn with(plan: &Plan, added: impl Iterator<Item = Service>) -> Config {
    let own = plan.ids().map(|id| Service::clone(plan.service(id)));
    Config { settings: plan.settings().clone(), services: own.chain(added).collect() }
}

fn parse_addition(addition: &Addition, defaults: &Service) -> Result<Service, Vec<InvalidAddition>> {
    let text = text(addition);
    let root = DeTable::parse(&text).map_err(|error| {
        let diagnostic = Diagnostic::new(0..0, error.message().trim());
        vec![InvalidAddition { diagnostic, path: Vec::new() }]
    })?;
    let diagnostics = RefCell::new(Vec::new());
    let mut root = Section::new(root.get_ref(), "", &diagnostics);
    let service = root.section("services").and_then(|services| parse_services(services, defaults).pop());
    let diagnostics = diagnostics.take();
    match service {
        Some(service) if diagnostics.is_empty() => Ok(with_origin(service, addition)),
        _ => {
            let map = KeyMap::parse(&text);
            let key_paths = map.key_paths();
            let invalid = |diagnostic: Diagnostic| InvalidAddition {
                path: column_path(&key_paths, &diagnostic),
                diagnostic,
            };
            Err(diagnostics.into_iter().map(invalid).collect())
        }
    }
}

/// Sets the origin and drops the spans, because they refer to a text that the user has not written.
fn with_origin(mut service: Service, addition: &Addition) -> Service {
    service.origin = if addition.transient { Origin::Transient } else { Origin::Added };
    service.span = Span::default();
    service.dependencies.iter_mut().for_each(|need| need.span = Span::default());
    service
}

fn column_path(key_paths: &KeyPaths<'_>, diagnostic: &Diagnostic) -> Vec<String> {
    match diagnostic.missing {
        Some(missing) => vec![missing.to_owned()],
        // The path without `services.NAME`.
        None => key_paths.path(&diagnostic.span).into_iter().skip(2).collect(),
    }
}

impl InvalidAddition {
    fn problem(self, row: usize, addition: &Addition) -> Problem {
        let name = &addition.name;
        let message =
            self.diagnostic.message.replace(&format!(" in [services.{name}"), &format!(" in [{name}"));
        let mut problem =
            Problem::new(Code::BadDefinition, format!("{}: {message}", addition.error_prefix()));
        problem.help = self.diagnostic.help;
        problem.in_cell(row, self.path)
    }
}

/// `services = { "NAME" = { ... } }`, on one line, so that no key can open a table of another service.
fn text(addition: &Addition) -> String {
    let mut text = format!("services = {{ \"{}\" = ", addition.name);
    table(&mut text, &addition.keys);
    text.push_str(" }");
    text
}

fn table(text: &mut String, keys: &serde_json::Map<String, Value>) {
    text.push_str("{ ");
    let said = keys.iter().filter(|(_, value)| !value.is_null());
    for (nth, (key, value)) in said.enumerate() {
        text.push_str(if nth > 0 { ", " } else { "" });
        scalar(text, &Value::from(key.as_str()));
        text.push_str(" = ");
        toml(text, value);
    }
    text.push_str(" }");
}

fn toml(text: &mut String, value: &Value) {
    match value {
        Value::Object(keys) => table(text, keys),
        Value::Array(values) => {
            text.push('[');
            for (nth, value) in values.iter().enumerate() {
                text.push_str(if nth > 0 { ", " } else { "" });
                toml(text, value);
            }
            text.push(']');
        }
        // TOML has no null. With another value, the reader of the key reports a wrong type.
        Value::Null => text.push_str("false"),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            scalar(text, value);
        }
    }
}

/// A JSON scalar is a TOML scalar, except that TOML needs the delete character escaped.
fn scalar(text: &mut String, value: &Value) {
    text.push_str(&value.to_string().replace('\u{7f}', "\\u007F"));
}

/// The built-in defaults.
#[cfg(test)]
fn plain() -> Service {
    super::definition::template()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn addition(name: &str, keys: Value) -> Addition {
        let Value::Object(keys) = keys else { panic!("not keys") };
        Addition { name: Name::new(name).unwrap(), keys, transient: false }
    }

    fn base() -> (Plan, Service) {
        (
            Plan::compile(Config {
                services: vec![Service::new(Name::new("db").unwrap())],
                ..Config::default()
            })
            .unwrap(),
            plain(),
        )
    }

    fn problem(others: &[Addition], fresh: &[Addition]) -> (String, usize, String) {
        let problem = check(&base(), others, fresh).unwrap_err();
        let cell = problem.cell.unwrap();
        (problem.message, cell.row, cell.path.join("."))
    }

    #[test]
    fn a_record_means_what_the_same_keys_mean_in_the_file() {
        let keys = json!({
            "start_command": "say \"a b\" \u{7f}c", "env": {"A": 1, "B": "x\ny"}, "stop_timeout": "3s", "user": null,
            "dependencies": ["db"], "health": {"interval": "2s"}, "memory_limit": 2_000_000
        });
        let service = check(&base(), &[], &[addition("a", keys)]).unwrap().remove(0);
        assert_eq!(service.start_command.argv, ["say", "a b", "\u{7f}c"]);
        assert_eq!(service.env, [("A".into(), "1".into()), ("B".into(), "x\ny".into())]);
        assert_eq!(service.health.interval.as_secs(), 2);
        assert_eq!(
            (service.limits.memory, service.user, service.origin),
            (Some(2_000_000), None, Origin::Added)
        );
    }

    #[test]
    fn of_thousands_of_problems_the_first_hundred_are_told_and_the_others_counted() {
        let fresh = |keys: &dyn Fn(usize) -> Value| -> Vec<Addition> {
            (0..300).map(|nth| addition(&format!("a{nth}"), keys(nth))).collect()
        };
        let unknown = fresh(&|nth| json!({"start_command": "x", "dependencies": [format!("gone-{nth}")]}));
        let wrong = fresh(&|_| json!({"start_command": "x", "prot": 1}));
        for fresh in [unknown, wrong] {
            let problem = check(&base(), &[], &fresh).unwrap_err();
            assert_eq!(problem.others.len(), MAX_PROBLEM_COUNT);
            assert_eq!(problem.others[98].cell.as_ref().unwrap().row, 99);
            assert_eq!(problem.others[99].message, "and 200 more problems");
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_row_and_column() {
        let good = || addition("a", json!({"start_command": "x"}));
        let at = |keys| problem(&[], &[good(), addition("b", keys)]);
        let (message, row, column) = at(json!({"start_command": "x", "health": {"interval": 5}}));
        assert!(message.starts_with("cannot add `b`: `interval` should be a duration"), "{message}");
        assert_eq!((row, column.as_str()), (1, "health.interval"));
        assert_eq!(
            at(json!({"start_command": "x", "prot": 1})).0,
            "cannot add `b`: unknown key `prot` in [b]"
        );
        assert_eq!(at(json!({})).2, "start_command");
        let (message, row, column) = at(json!({"start_command": "x", "dependencies": ["bd"]}));
        assert!(message.ends_with("service `b` depends on `bd`, which is not defined"), "{message}");
        assert_eq!((row, column.as_str()), (1, "dependencies"));
        assert_eq!(at(json!({"start_command": "x", "env": [null]})).2, "env");
        let (message, _, column) = at(json!({"start_command": "x", "env": {"A=B": "1"}}));
        assert_eq!(message, "cannot add `b`: \"A=B\" cannot be the name of a variable");
        assert_eq!(column, "env.A=B");
        let (message, _, column) =
            at(json!({"start_command": "x", "health_check_endpoint": "http://h:99999/"}));
        assert_eq!(message, "cannot add `b`: `http://h:99999/` is not usable: invalid port number");
        assert_eq!(column, "health_check_endpoint");
    }

    #[test]
    fn what_does_not_fit_a_changed_file_waits_and_the_file_has_its_own() {
        let needs =
            |name: &str, need: &str| addition(name, json!({"start_command": "x", "dependencies": [need]}));
        let (plan, defaults) = base();
        let all = [needs("db", "a"), needs("a", "gone"), needs("b", "a"), needs("c", "db")];
        let plan = merge(plan, &all, &defaults);
        let names: Vec<&str> = plan.ids().map(|id| &*plan.service(id).name).collect();
        assert_eq!(names, ["db", "c"]);
        assert_eq!(plan.service(plan.id("db").unwrap()).origin, Origin::File);
    }
}
