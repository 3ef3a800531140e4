//! Eight clients: six send requests about the graph, two about the independent services.

use crate::ask::Answer;
use crate::books;
use crate::chance::Chance;
use crate::graph::{ALONE, Edit};
use crate::project::{ActionRecord, Project, now, seconds};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Duration;

/// The number of clients.
pub(crate) const CLIENTS: usize = 8;
/// Clients from this number on use the independent services.
const OF_THE_GRAPH: usize = 6;
/// The time limit for a response. Requests take a few seconds at most.
const WAIT: Duration = Duration::from_secs(90);

/// The required state of an independent service, with the time of the response that requires it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Held {
    Up(i64),
    Down(i64),
    /// The last request for the service was not answered with `ok`.
    Unknown,
}

/// The promises about independent services, and about added ones.
#[derive(Default)]
pub(crate) struct Promises(Mutex<BTreeMap<String, Held>>, Mutex<BTreeMap<String, Option<i64>>>);

impl Promises {
    pub(crate) fn get(&self, name: &str) -> Held {
        self.0.lock().map_or(Held::Unknown, |held| held.get(name).copied().unwrap_or(Held::Unknown))
    }

    /// The services that were added, with the time; `None` for services that were added and removed.
    pub(crate) fn added(&self) -> BTreeMap<String, Option<i64>> {
        self.1.lock().map(|added| added.clone()).unwrap_or_default()
    }

    fn add(&self, name: &str, action: &ActionRecord, at: Option<i64>) {
        let is_done = action.rows.iter().any(|row| row["name"] == name && row["ok"] == true);
        if let (true, Ok(mut added)) = (is_done, self.1.lock()) {
            added.insert(name.to_owned(), at);
        }
    }

    /// Forgets an added service: the result of a removal without `ok` is unknown.
    pub(crate) fn forget(&self, name: &str) {
        if let Ok(mut added) = self.1.lock() {
            added.remove(name);
        }
    }

    pub(crate) fn set(&self, name: &str, held: Held) {
        if let Ok(mut promises) = self.0.lock() {
            promises.insert(name.to_owned(), held);
        }
    }
}

/// Runs one client of one round, until `over`.
pub(crate) fn play(project: &Project, promises: &Promises, round: u64, client: usize, over: &AtomicBool) {
    let mut chance = Chance::new(project.seed, &[2, round, client as u64]);
    for turn in 0.. {
        if over.load(Ordering::Relaxed) {
            return;
        }
        let pause = Duration::from_millis(chance.below(150));
        if client < OF_THE_GRAPH {
            match client {
                5 => edit(project, &mut chance, turn),
                4 => add(project, promises, &mut chance, client, round, turn),
                _ => connected(project, &mut chance, client),
            }
        } else {
            alone(project, promises, &mut chance, client);
        }
        sleep(pause);
    }
}

/// Sends a request and records its result.
pub(crate) fn send_action(project: &Project, client: usize, path: &str, body: &Value) -> ActionRecord {
    let sent = now();
    let answer = project.request("POST", path, &body.to_string(), WAIT);
    let mut action = ActionRecord {
        client,
        what: format!("{path} {body}"),
        sent,
        answered: now(),
        rows: Vec::new(),
        trouble: None,
    };
    match answer {
        Answer::Told(200, value) => action.rows = value["data"].as_array().cloned().unwrap_or_default(),
        Answer::Told(status, value) => {
            action.trouble = Some(format!("{status} {value}"));
            if value["error"]["code"] == "internal" {
                project.violation("words", &format!("{}: {value}", action.what));
            }
        }
        Answer::Silence => {
            action.trouble = Some("silence".into());
            project.violation("answers", &format!("no answer within {WAIT:?} to {}", action.what));
        }
        other => action.trouble = Some(format!("{other:?}")),
    }
    project.record_action(action.clone());
    action
}

fn connected(project: &Project, chance: &mut Chance, client: usize) {
    let names = project.graph.connected();
    let (one, other) = (chance.pick(&names).clone(), chance.pick(&names).clone());
    let what = chance.below(100);
    let (relatives, both) = (chance.percent(30), chance.percent(25));
    let mut body = json!({ "names": [one], "timeout_ms": 5000, "wait": !chance.percent(10) });
    if both && one != other {
        body["names"] = json!([one, other]);
    }
    if relatives {
        body["relatives"] = json!(chance.percent(50));
    }
    match what {
        0..30 => drop(send_action(project, client, "/api/v1/services/start", &body)),
        30..50 => drop(send_action(project, client, "/api/v1/services/stop", &body)),
        50..68 => drop(send_action(project, client, "/api/v1/services/restart", &body)),
        68..70 => {
            body["names"] = json!(names);
            drop(send_action(project, client, "/api/v1/services/stop", &body));
        }
        70..73 => {
            body["names"] = json!(names);
            drop(send_action(project, client, "/api/v1/services/start", &body));
        }
        _ => query_service(project, chance, &one),
    }
}

/// Sends one of many kinds of queries.
fn query_service(project: &Project, chance: &mut Chance, name: &str) {
    let path = match chance.below(12) {
        0 => format!("/api/v1/services/{name}/why"),
        1 => format!("/api/v1/services/{name}/logs?tail=50"),
        2 => format!("/api/v1/services/history?names={name}"),
        3 => "/api/v1/services/history?starts=true".into(),
        4 => "/api/v1/plan".into(),
        5 => "/api/v1/services/status?long=true".into(),
        6 => "/metrics".into(),
        7 => "/api/v1/why".into(),
        8 => "/api/v1/events?limit=50".into(),
        9 => "/api/v1/graph".into(),
        10 => format!("/api/v1/wait?names={name}&timeout_ms=500"),
        _ => "/api/v1/services/status".into(),
    };
    let sent = now();
    match project.request("GET", &path, "", WAIT) {
        Answer::Silence => project.violation("answers", &format!("no answer within {WAIT:?} to GET {path}")),
        Answer::Told(200, _) => (),
        Answer::Told(status, value) => {
            project.log(&format!("GET {path} of {}: {status} {value}", seconds(sent)));
            if value["error"]["code"] == "internal" {
                project.violation("words", &format!("GET {path}: {value}"));
            }
        }
        _ => (),
    }
}

/// Changes the file, sometimes to one that cannot be applied, and applies it.
fn edit(project: &Project, chance: &mut Chance, turn: u64) {
    let (names, leaves) = (project.graph.connected(), project.graph.leaves());
    let mut edit = Edit::default();
    for _ in 0..chance.below(3) {
        edit.changed.push((chance.pick(&names).clone(), turn + 1));
    }
    let (broken, missing) = (chance.pick(&names).clone(), chance.pick(&leaves).clone());
    if chance.percent(25) {
        edit.changed.push((broken.clone(), turn + 1));
        edit.broken = Some(broken);
    }
    if chance.percent(20) {
        edit.missing = Some(missing);
    }
    let start = chance.percent(30);
    if project.define(&edit).is_ok() {
        drop(send_action(project, 5, "/api/v1/apply", &json!({ "timeout_ms": 4000, "start": start })));
    }
    sleep(Duration::from_millis(chance.below(1500)));
}

/// Adds a service, uses it, and sometimes removes it.
fn add(project: &Project, promises: &Promises, chance: &mut Chance, client: usize, round: u64, turn: u64) {
    let name = format!("x{round}-{turn}");
    let program = project.programs.join("chaos-service");
    let needs: Vec<String> =
        if chance.percent(50) { vec![chance.pick(&project.graph.connected()).clone()] } else { vec![] };
    let is_oneshot = chance.percent(40);
    let last = if is_oneshot { "work=30" } else { "ready=log" };
    let mut definition = json!({ "name": name, "start_command": [program, project.books(), name, last], "dependencies": needs });
    if is_oneshot {
        definition["oneshot"] = json!(true);
    } else {
        definition["ready"] = json!({ "log": "^READY ", "timeout": "20s" });
    }
    let (stays, pause) = (chance.percent(10), chance.below(400));
    let added = send_action(project, client, "/api/v1/services/add", &json!({ "services": [definition] }));
    promises.add(&name, &added, Some(added.answered));
    send_action(project, client, "/api/v1/services/start", &json!({ "names": [name], "timeout_ms": 4000 }));
    sleep(Duration::from_millis(pause));
    if !stays {
        promises.forget(&name);
        let removed = send_action(
            project,
            client,
            "/api/v1/services/remove",
            &json!({ "names": [name], "timeout_ms": 4000 }),
        );
        promises.add(&name, &removed, None);
    }
}

/// Controls an independent service, which no other client controls. The response is compared with the kernel's lock,
/// now and after the disturbance.
fn alone(project: &Project, promises: &Promises, chance: &mut Chance, client: usize) {
    let own: Vec<usize> = (0..ALONE).filter(|n| n % 2 == client % 2).collect();
    let name = format!("alone{}", chance.pick(&own));
    let verb = *chance.pick(&["start", "start", "stop", "restart"]);
    let before = promises.get(&name);
    promises.set(&name, Held::Unknown);
    let body = json!({ "names": [name], "timeout_ms": 8000 });
    let action = send_action(project, client, &format!("/api/v1/services/{verb}"), &body);
    let is_held = books::is_held(project, &name, "lock");
    let Some(row) = action.rows.iter().find(|row| row["name"] == name.as_str()) else { return };
    if row["ok"] != true {
        return;
    }
    if project.graph.get(&name).is_none_or(crate::graph::Service::is_oneshot) {
        return judge_oneshot(project, &name, verb, &action);
    }
    let told = format!("`{verb} {name}` of {} to {}: {row}", seconds(action.sent), seconds(action.answered));
    if verb == "stop" {
        if is_held || books::is_held(project, &name, "tree") {
            project.violation("stop", &format!("{told}, and it runs; before: {before:?}"));
        }
        promises.set(&name, Held::Down(action.answered));
    } else {
        promises.set(&name, Held::Up(action.answered));
        // A service that is ready by delay may not have written a line yet, and a killed service restarts.
        let is_slow =
            project.graph.get(&name).is_some_and(|one| one.readiness == crate::graph::Readiness::Delay);
        if !is_held && !is_slow && !was_hit(project, &name, action.sent) {
            project.violation("start", &format!("{told}, and it does not run; before: {before:?}"));
        }
    }
}

fn judge_oneshot(project: &Project, name: &str, verb: &str, action: &ActionRecord) {
    let runs = books::runs(project, name);
    let done = runs.iter().any(|run| run.end.is_some_and(|(at, code)| code == 0 && at < action.answered));
    let anew = runs.iter().any(|run| run.begin > action.sent && run.begin < action.answered);
    if verb == "start" && !done || verb == "restart" && !anew {
        let at = (seconds(action.sent), seconds(action.answered));
        project.violation(
            verb,
            &format!("`{verb} {name}` of {at:?} is ok, and its last run is {:?}", runs.last()),
        );
    }
    if verb == "stop" && books::is_held(project, name, "lock") {
        project.violation("stop", &format!("{name} runs after it at {}", seconds(action.answered)));
    }
}

/// Whether a process of this service, or of an unknown one, was hit by a fault since shortly before.
pub(crate) fn was_hit(project: &Project, name: &str, since: i64) -> bool {
    let since = since - 1_000_000_000;
    let hits = |fault: &crate::project::InjectedFault| {
        fault.at >= since
            && match &fault.service {
                Some(service) => service == name,
                None => fault.whom == "service-shim" || fault.whom == "all",
            }
    };
    project.faults().iter().any(hits)
}
