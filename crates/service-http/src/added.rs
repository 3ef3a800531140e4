//! `add` and `remove`: services outside the file.

use super::actions::{bad, parse_body, read, wait};
use super::definitions::Unchanged;
use super::reply::{ErrorResponse, JsonBody};
use super::request_origin::Actor;
use super::rows::outcomes;
use super::state::ApiState;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::Value;
use service_api::{Action, AddRequest, Code, Outcome, Problem, routes};
use service_config::load::{self, Addition};
use service_core::{Name, Plan};
use service_openapi::{Broken, Conflict, Definitions, Malformed, NoService, OutcomeRows, WrongFile, tag};
use service_orchestrator::lookup::not_found;
use service_orchestrator::request::{ON_BEHALF, Propagate, Request, Verb};
use service_orchestrator::snapshot::FleetSnapshot;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// The default name if the program has none.
const DEFAULT_NAME: &str = "run";
/// The states of inactive services.
const INACTIVE_STATES: [&str; 3] = ["stopped", "completed", "failed"];

/// Define services outside the file
///
/// All services are defined, or none. No service is started. The error of an invalid definition has its `cell`: the row
/// and the key.
#[utoipa::path(
    post,
    path = routes::ADD,
    operation_id = "add_services",
    tag = tag::ACTIONS,
    request_body = Definitions,
    responses(OutcomeRows, Malformed, Conflict, WrongFile, Broken),
)]
pub(super) async fn add(
    State(api): State<Arc<ApiState>>,
    Actor(by): Actor,
    headers: HeaderMap,
    JsonBody(body): JsonBody,
) -> Result<Response, ErrorResponse> {
    // A large body takes long to parse, so it is parsed on the thread that checks it.
    let choose = move |file: &Plan, before: &[Addition], fleet: &FleetSnapshot| {
        choose_names(parse_body::<AddRequest>(&body, "what to add")?, file, before, fleet)
    };
    let entered = ON_BEHALF.scope(by, api.definitions.add(&api.orchestrator, choose)).await?;
    let fleet = api.orchestrator.fleet_snapshot();
    let (rows, receiver) = unbounded_channel();
    for one in entered {
        let action = match one.before {
            None => Action::Added,
            Some(Unchanged::No) => Action::Updated,
            Some(Unchanged::Yes) => Action::Unchanged,
        };
        let _ = rows.send(row(&fleet, &one.name, action)); // the receiver is below
    }
    drop(rows);
    Ok(outcomes(&headers, receiver).await)
}

fn row(fleet: &FleetSnapshot, name: &str, action: Action) -> Outcome {
    let absent = || Outcome::new(name, action, "stopped");
    fleet.entry(name).map_or_else(absent, |entry| entry.outcome(action))
}

/// The definitions of a request, each with a free name.
fn choose_names(
    asked: AddRequest,
    file: &Plan,
    before: &[Addition],
    fleet: &FleetSnapshot,
) -> Result<Vec<Addition>, Problem> {
    let mut chosen: Vec<Addition> = Vec::new();
    let known: BTreeMap<&str, &Addition> =
        before.iter().map(|addition| (&*addition.name, addition)).collect();
    let mut given: BTreeSet<Name> = BTreeSet::new();
    let mut tried: BTreeMap<String, u32> = BTreeMap::new();
    let alone = asked.services.len() == 1;
    let which = |row: usize| if alone { "it".to_owned() } else { format!("row {}", row + 1) };
    for (row, mut keys) in asked.services.into_iter().enumerate() {
        let name_given = keys.remove("name").filter(|name| !name.is_null());
        let name = match name_given {
            Some(Value::String(name)) => load::parse_service_name(&name).map_err(|error| {
                wrong(format!("cannot add {}: {error}", which(row))).in_cell(row, named())
            })?,
            Some(_) => {
                let message = format!("cannot add {}: its `name` should be a string", which(row));
                return Err(wrong(message).in_cell(row, named()));
            }
            None if asked.transient => {
                let taken = |name: &str| {
                    file.id(name).is_some()
                        || fleet.plan.id(name).is_some()
                        || known.contains_key(name)
                        || given.contains(name)
                };
                free_name(keys.get("start_command"), &mut tried, taken)
            }
            None => {
                let message = format!("cannot add {}: it has no `name`", which(row));
                return Err(wrong(message).in_cell(row, Vec::new()));
            }
        };
        if !given.insert(name.clone()) {
            let message = format!("cannot add `{name}`: it is given twice");
            return Err(wrong(message).in_cell(row, named()));
        }
        let addition = Addition { name, keys, transient: asked.transient };
        if let Some(problem) = name_conflict(&addition, file, known.get(&*addition.name).copied(), fleet) {
            return Err(problem.in_cell(row, named()));
        }
        chosen.push(addition);
    }
    Ok(chosen)
}

fn wrong(message: String) -> Problem {
    Problem::new(Code::BadDefinition, message)
}

fn named() -> Vec<String> {
    vec!["name".to_owned()]
}

/// The reason why a name is not free.
fn name_conflict(
    addition: &Addition,
    file: &Plan,
    old: Option<&Addition>,
    fleet: &FleetSnapshot,
) -> Option<Problem> {
    let Addition { name, transient, .. } = addition;
    let problem = |why: &str| Problem::new(Code::NameTaken, format!("{}: {why}", addition.error_prefix()));
    if file.id(name).is_some() {
        return Some(
            problem("services.toml defines a service of this name")
                .help("choose another name, or change it there and run `service apply`"),
        );
    }
    if !transient {
        return None;
    }
    if old.is_some_and(|old| !old.transient) {
        return Some(
            problem("a permanent service of this name was added")
                .help(format!("choose another name, or run `service remove {name}` first")),
        );
    }
    let entry = fleet.entry(name);
    if let Some(state) =
        entry.map(|entry| entry.snapshot.state_word()).filter(|state| !INACTIVE_STATES.contains(state))
    {
        return Some(
            problem(&format!("it is {state} already"))
                .help(format!("choose another name, or run `service stop {name}` first")),
        );
    }
    // The service was added but has never run, so another request is about to start it.
    (old.is_some() && entry.is_none_or(|entry| entry.snapshot.run == 0))
        .then(|| problem("it is being started already").help("choose another name"))
}

/// A free name derived from the program. `tried` has the last tried number of each program.
fn free_name(
    command: Option<&Value>,
    tried: &mut BTreeMap<String, u32>,
    taken: impl Fn(&str) -> bool,
) -> Name {
    let first = match command {
        Some(Value::String(text)) => shell_words::split(text).ok().and_then(|words| words.into_iter().next()),
        Some(Value::Array(words)) => words.first().and_then(Value::as_str).map(str::to_owned),
        _ => None,
    };
    let program = first.as_deref().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
    let fits = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' };
    let base: String = program.chars().map(fits).take(32).collect();
    let base = base.trim_start_matches(['.', '_', '-']);
    let base = if base.is_empty() { DEFAULT_NAME } else { base };
    let last = tried.entry(base.to_owned()).or_default();
    let names = (*last + 1..).map(|nth| {
        *last = nth;
        if nth == 1 { base.to_owned() } else { format!("{base}-{nth}") }
    });
    let mut free = names.filter(|name| !taken(name)).filter_map(|name| load::parse_service_name(&name).ok());
    free.next().expect("there are more numbers than services")
}

/// Stop and delete added services
///
/// Also deletes their logs. Dependents must be removed in the same request. A service that does not stop remains
/// defined.
#[utoipa::path(
    post,
    path = routes::REMOVE,
    operation_id = "remove_services",
    tag = tag::ACTIONS,
    request_body = service_api::ActionRequest,
    responses(OutcomeRows, Malformed, NoService, Conflict, Broken),
)]
pub(super) async fn remove(
    State(api): State<Arc<ApiState>>,
    Actor(by): Actor,
    headers: HeaderMap,
    JsonBody(body): JsonBody,
) -> Result<Response, ErrorResponse> {
    let asked = read(&body)?;
    let added = api.definitions.additions().await;
    let names = match (asked.names.is_empty(), asked.all) {
        (true, false) => {
            return Err(bad("no services are named").help("fill `names`, or set `all` to true").into());
        }
        (false, true) => {
            return Err(bad("both `names` and `all` are given").help("use only one of the two").into());
        }
        (_, true) => added.iter().map(|addition| addition.name.clone()).collect(),
        (_, false) => removable(&api.orchestrator.plan(), &added, &asked.names)?,
    };
    let (rows, receiver) = unbounded_channel();
    if names.is_empty() {
        drop(rows); // otherwise a response without rows would wait for more
    } else {
        let fleet = api.orchestrator.fleet_snapshot();
        // An addition that contradicts the file is not in the plan and does not run.
        let (there, apart): (Vec<&Name>, Vec<&Name>) =
            names.iter().partition(|name| fleet.plan.id(name).is_some());
        let request = Request {
            relatives: Some(Propagate::No),
            wait: wait(true, asked.timeout_ms),
            ..Request::new(Verb::Stop, there.iter().map(ToString::to_string).collect())
        };
        let request = request.for_command("service remove").by(&by);
        let stopped = api.orchestrator.request(request).await?;
        let done = apart.into_iter().map(|name| row(&fleet, name, Action::Removed)).collect();
        // The task runs to its end even if the client disconnects.
        tokio::spawn(ON_BEHALF.scope(by, remove_stopped(Arc::clone(&api), stopped, done, rows)));
    }
    Ok(outcomes(&headers, receiver).await)
}

/// The names, if each is an added service and no remaining service depends on it.
fn removable(plan: &Plan, added: &[Addition], names: &[String]) -> Result<Vec<Name>, Problem> {
    let added: BTreeMap<&str, &Addition> = added.iter().map(|addition| (&*addition.name, addition)).collect();
    let (mut found, mut go) = (Vec::new(), BTreeSet::new());
    for name in names {
        match (added.get(name.as_str()), plan.id(name)) {
            (Some(addition), _) if !go.insert(addition.name.clone()) => {}
            (Some(addition), _) => found.push(addition.name.clone()),
            (None, None) => return Err(not_found(plan, name)),
            (None, Some(_)) => {
                return Err(bad(&format!(
                    "cannot remove `{name}`: it was not added, services.toml defines it"
                ))
                .help("remove it there, then run `service apply`"));
            }
        }
    }
    for name in &found {
        let dependents = plan.id(name).map(|id| plan.dependents(id)).unwrap_or_default();
        let stays = dependents.iter().map(|id| &plan.service(*id).name).find(|name| !go.contains(*name));
        if let Some(dependent) = stays {
            return Err(bad(&format!("cannot remove `{name}`: `{dependent}` depends on it"))
                .help(format!("remove `{dependent}` as well: `service remove {dependent} {name}`")));
        }
    }
    Ok(found)
}

/// Removes the stopped services. A service that did not stop remains defined, and its row has the reason.
async fn remove_stopped(
    api: Arc<ApiState>,
    mut stopped: UnboundedReceiver<Outcome>,
    mut done: Vec<Outcome>,
    rows: UnboundedSender<Outcome>,
) {
    while let Some(row) = stopped.recv().await {
        match row.ok {
            true => done.push(row),
            false => drop(rows.send(row)),
        }
    }
    let names: Vec<Name> = done.iter().filter_map(|row| Name::new(&row.name).ok()).collect();
    let result = api.remove(names).await;
    for row in done {
        let removed = Outcome { action: Action::Removed, ..row };
        let failed = |error| Outcome { action: Action::Failed, ..removed.clone() }.with_error(Some(error));
        let row = match &result {
            Ok(gone) if gone.iter().any(|name| **name == *removed.name) => removed.clone(),
            Ok(_) => {
                let message = format!("cannot remove `{}`: it was started again", removed.name);
                failed(Problem::new(Code::Cancelled, message))
            }
            Err(problem) => failed(problem.clone()),
        };
        let _ = rows.send(row); // the client may have disconnected
    }
}

#[cfg(test)]
mod tests {
    use super::free_name;
    use serde_json::{Value, json};

    fn named(command: &Value) -> String {
        free_name(Some(command), &mut std::collections::BTreeMap::new(), |name| {
            name == "ssh" || name == "ssh-2"
        })
        .to_string()
    }

    #[test]
    fn a_name_is_derived_from_the_program_and_free() {
        assert_eq!(named(&json!("/usr/bin/ssh -N host")), "ssh-3");
        assert_eq!(named(&json!(["./my server", "x"])), "my-server");
        assert_eq!(named(&json!("")), "run");
        assert_eq!(named(&json!("status")), "status-2", "the name is part of a path of the API");
    }
}
