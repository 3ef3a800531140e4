//! Definitions that are in no file: given as values, understood by the same words as the file.
//!
//! Each is written as TOML and read as that of a file is, so a key means the same in both, and what is wrong with it is
//! told in the same words; only the place is a row and a column.

use super::file::each;
use super::map::{Map, Ways};
use super::section::{Fault, Section};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use service_api::{Code, Problem};
use service_core::config::{Config, Origin, Service, Span};
use service_core::plan::PlanError;
use service_core::{Name, Plan};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use toml::de::DeTable;

/// What is wrong where nothing more is known.
const UNREADABLE: &str = "it cannot be read";

/// One definition, in the user's own words.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Addition {
    pub(crate) name: Name,
    /// The keys of `[services.NAME]`.
    pub(crate) keys: serde_json::Map<String, Value>,
    /// Whether it is forgotten some time after its run.
    #[serde(default)]
    pub(crate) transient: bool,
}

impl Addition {
    /// How an error about it begins.
    pub(crate) fn cannot(&self) -> String {
        format!("cannot {} `{}`", if self.transient { "run" } else { "add" }, self.name)
    }
}

/// A definition that cannot be, and in which of its keys.
struct Wrong {
    fault: Fault,
    path: Vec<String>,
}

/// Adds them to what a file defines, as far as they fit. The file may have changed since they were added: what it
/// defines now is its own, and what needs a service that is gone waits until that is back.
pub(super) fn merge(plan: Plan, additions: &[Addition], defaults: &Service) -> Plan {
    let read = |addition: &Addition| match understand(addition, defaults) {
        Ok(service) => Some(service),
        Err(wrong) => {
            let why = wrong.first().map_or(UNREADABLE, |wrong| wrong.fault.message.as_str());
            tracing::warn!(service = %addition.name, why, "cannot take up what was added");
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
                    tracing::warn!(%error, "cannot take up what was added");
                }
                let gone = with_dependents(errors.iter().flat_map(blamed), &added);
                added.retain(|service| !gone.contains(&service.name));
                if added.len() == before {
                    break;
                }
            }
        }
    }
    plan
}

/// These, and those of `added` that need one of them, and so on.
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

/// Whether these can be added to what a file defines, beside `others` that were added before. `rows` has the place of
/// each among those that were sent.
pub(crate) fn check(
    (plan, defaults): &(Plan, Service),
    others: &[Addition],
    fresh: &[Addition],
) -> Result<Vec<Service>, Problem> {
    let mut services = Vec::new();
    let mut problems = Vec::new();
    for (row, addition) in fresh.iter().enumerate() {
        match understand(addition, defaults) {
            Ok(service) => services.push(service),
            Err(wrong) => problems.extend(wrong.into_iter().map(|wrong| wrong.problem(row, addition))),
        }
    }
    if problems.is_empty() {
        // What was added before and does not fit now is no fault of these.
        let base = merge(plan.clone(), others, defaults);
        let errors = Plan::compile(with(&base, services.iter().cloned())).err().unwrap_or_default();
        problems.extend(errors.iter().map(|error| between(error, fresh)));
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

/// What is wrong between services, in the row that says so.
fn between(error: &PlanError, fresh: &[Addition]) -> Problem {
    let blamed: BTreeSet<&Name> = blamed(error).into_iter().collect();
    let row = fresh.iter().position(|addition| blamed.contains(&addition.name));
    let cannot =
        row.and_then(|row| fresh.get(row)).map_or_else(|| "cannot add it".to_owned(), Addition::cannot);
    let mut problem = Problem::new(Code::BadDefinition, format!("{cannot}: {error}"));
    problem.help = match error {
        PlanError::Unknown { suggestion: None, dependency, .. } => {
            Some(format!("add `{dependency}` as well, or leave the dependency out"))
        }
        error => error.help(),
    };
    problem.in_cell(row.unwrap_or_default(), vec!["dependencies".to_owned()])
}

fn blamed(error: &PlanError) -> Vec<&Name> {
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

fn understand(addition: &Addition, defaults: &Service) -> Result<Service, Vec<Wrong>> {
    let text = text(addition);
    let root = DeTable::parse(&text).map_err(|error| {
        let fault = Fault::new(0..0, error.message().trim());
        vec![Wrong { fault, path: Vec::new() }]
    })?;
    let faults = RefCell::new(Vec::new());
    let mut root = Section::new(root.get_ref(), "", &faults);
    let service = root.section("services").and_then(|services| each(services, defaults).pop());
    let faults = faults.take();
    match service {
        Some(service) if faults.is_empty() => Ok(ours(service, addition)),
        _ => {
            let map = Map::of(&text);
            let ways = map.ways();
            let wrong = |fault: Fault| Wrong { path: column(&ways, &fault), fault };
            Err(faults.into_iter().map(wrong).collect())
        }
    }
}

/// Its places are in a text that nobody sees.
fn ours(mut service: Service, addition: &Addition) -> Service {
    service.origin = if addition.transient { Origin::Transient } else { Origin::Added };
    service.span = Span::default();
    service.dependencies.iter_mut().for_each(|need| need.span = Span::default());
    service
}

fn column(ways: &Ways<'_>, fault: &Fault) -> Vec<String> {
    match fault.missing {
        Some(missing) => vec![missing.to_owned()],
        // Below `services.NAME`.
        None => ways.path(&fault.span).into_iter().skip(2).collect(),
    }
}

impl Wrong {
    fn problem(self, row: usize, addition: &Addition) -> Problem {
        let name = &addition.name;
        let message = self.fault.message.replace(&format!(" in [services.{name}"), &format!(" in [{name}"));
        let mut problem = Problem::new(Code::BadDefinition, format!("{}: {message}", addition.cannot()));
        problem.help = self.fault.help;
        problem.in_cell(row, self.path)
    }
}

/// `services = { "NAME" = { ... } }`: what follows is one line, so that a key is never taken for another's table.
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
        // There is nothing like it in a list; whoever reads it says what should stand there.
        Value::Null => text.push_str("false"),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            scalar(text, value);
        }
    }
}

/// Numbers, words and strings of JSON are those of TOML, but for one character that has to be escaped there.
fn scalar(text: &mut String, value: &Value) {
    text.push_str(&value.to_string().replace('\u{7f}', "\\u007F"));
}

/// What every service begins with where no file says otherwise.
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
        assert_eq!(message, "cannot add `b`: `http://h:99999/` cannot be asked: invalid port number");
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
