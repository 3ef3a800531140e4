//! The checks after a disturbance: every requested service starts, all can be started, no process is left over, and no
//! resource has grown.

use crate::books;
use crate::client::{CLIENTS, Held, Promises, send_action};
use crate::graph::{Edit, Readiness};
use crate::processes::{self, Kind};
use crate::project::{Project, now, seconds};
use serde_json::{Value, json};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The time limit for requested services to start, on a machine under load.
const COMES_UP: Duration = Duration::from_mins(1);
/// The maximum median latency of an idle daemon.
const PROMPT: Duration = Duration::from_millis(50);
/// The age from which a request must survive a power loss, in nanoseconds.
const SYNCED: i64 = 5_500_000_000;
/// The limits of an idle daemon.
const MAX_MEMORY_BYTES: u64 = 64 << 20;

/// The resources of a daemon when every possible service runs.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Rest {
    pub(crate) descriptors: u64,
    pub(crate) tasks: u64,
    pub(crate) memory: u64,
    /// The number of running services; each has its share of the resources.
    running: u64,
}

/// Waits until `holds` returns true. Returns whether this happened within `time`.
pub(crate) fn within(time: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + time;
    loop {
        if holds() {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
        sleep(Duration::from_millis(25));
    }
}

/// Checks that pending transitions finish without further requests, and that the promises about independent services
/// hold.
pub(crate) fn settles(project: &Project, promises: &Promises) {
    // An added service is defined only while the file defines its dependencies, so the whole file comes first.
    if let Err(error) = project.define(&Edit::default()) {
        project.violation("calm", &format!("cannot write services.toml: {error}"));
    }
    knows_what_was_added(project, promises);
    // A service that is broken in the last applied file crashes until the file is applied.
    let is_broken = |row: &Value| row["command"].as_str().is_some_and(|command| command.ends_with(" bad"));
    let mut last = Value::Null;
    let is_settled = within(COMES_UP, || {
        last = project.data("/api/v1/services/status?long=true").unwrap_or_default();
        let rows = last.as_array().cloned().unwrap_or_default();
        let on_its_way = |row: &Value| {
            ["starting", "stopping", "backoff", "unknown"].iter().any(|state| row["state"] == *state)
        };
        !rows.is_empty() && !rows.iter().any(|row| on_its_way(row) && !is_broken(row))
    });
    if !is_settled {
        let rows = last.as_array().into_iter().flatten();
        for row in rows.filter(|row| row["state"] != "ready" && row["state"] != "stopped" && !is_broken(row))
        {
            let name = row["name"].as_str().unwrap_or_default();
            let why = project.data(&format!("/api/v1/services/{name}/why"));
            project.violation("calm", &format!("after {COMES_UP:?} {row}; why: {why:?}"));
        }
    }
    for service in project.graph.services.iter().filter(|service| service.is_alone && !service.is_oneshot()) {
        let held = promises.get(&service.name);
        let failure =
            project.faults().iter().rev().find(|fault| fault.what == "power loss").map(|fault| fault.at);
        let is_so = match held {
            Held::Up(at) | Held::Down(at)
                if failure.is_some_and(|failure| at < failure && at + SYNCED > failure) =>
            {
                true
            }
            Held::Up(_) => within(COMES_UP, || books::is_held(project, &service.name, "lock")),
            Held::Down(_) => !books::is_held(project, &service.name, "lock"),
            Held::Unknown => true,
        };
        if !is_so {
            let why = project.data(&format!("/api/v1/services/{}/why", service.name));
            project.violation(
                "promises",
                &format!("{} was left {held:?}, and it is not so: {why:?}", service.name),
            );
        }
    }
}

/// Checks that added services are defined and removed ones are not, except for changes that a power loss may undo.
fn knows_what_was_added(project: &Project, promises: &Promises) {
    let Some(list) = project.data("/api/v1/services/list") else { return };
    let defined: Vec<&str> =
        list.as_array().into_iter().flatten().filter_map(|row| row["name"].as_str()).collect();
    let failure =
        project.faults().iter().rev().find(|fault| fault.what == "power loss").map(|fault| fault.at);
    for (name, added) in promises.added() {
        let may_be_lost =
            failure.is_some_and(|failure| added.is_none_or(|at| at + SYNCED > failure && at < failure));
        if defined.contains(&name.as_str()) == added.is_some() {
            continue;
        }
        // A change that a power loss has undone remains undone in the following rounds.
        promises.forget(&name);
        if !may_be_lost {
            let when = added.map(seconds);
            project.violation(
                "promises",
                &format!("{name}, added at {when:?}, is defined: {}", added.is_none()),
            );
        }
    }
}

/// Checks that every service starts with the file without errors.
pub(crate) fn starts_all(project: &Project, promises: &Promises) {
    let before = now();
    let apply = || ("/api/v1/apply", json!({ "timeout_ms": 60000 }));
    let start = || ("/api/v1/services/start", json!({ "all": true, "timeout_ms": 60000 }));
    // An apply restarts one-shots whose definition it changes, and some of them fail twice before they succeed.
    for (path, body) in [apply(), start(), start(), apply(), start(), start()] {
        drop(send_action(project, CLIENTS, path, &body));
    }
    for (path, body) in [start(), apply(), start()] {
        let action = send_action(project, CLIENTS, path, &body);
        if let Some(trouble) = &action.trouble {
            project.violation("calm", &format!("{}: {trouble}", action.what));
        }
        for row in action.rows.iter().filter(|row| row["ok"] != true) {
            let name = row["name"].as_str().unwrap_or_default();
            let why = project.data(&format!("/api/v1/services/{name}/why"));
            project
                .violation("calm", &format!("{} of {}: {row}; why: {why:?}", action.what, seconds(before)));
        }
    }
    for service in &project.graph.services {
        let is_up = || match service.readiness {
            Readiness::Completion => {
                books::runs(project, &service.name).iter().any(|run| run.end.is_some_and(|end| end.1 == 0))
            }
            _ => books::is_held(project, &service.name, "lock"),
        };
        // A service that does not report readiness may be ready before it records its beginning.
        if !within(Duration::from_secs(10), is_up) {
            project.violation("calm", &format!("`start --all` is ok, and {} does not run", service.name));
        }
        if service.is_alone {
            promises.set(&service.name, Held::Up(now()));
        }
    }
}

/// Checks that the daemon responds quickly, and that its resources have not grown.
pub(crate) fn is_inactive(project: &Project, first: Option<Rest>) -> Rest {
    let mut times: Vec<Duration> = (0..21)
        .map(|_| {
            let begin = Instant::now();
            drop(project.request("GET", "/api/v1/health", "", Duration::from_secs(20)));
            begin.elapsed()
        })
        .collect();
    times.sort_unstable();
    if times[10] > PROMPT {
        project
            .violation("health", &format!("half of the answers took longer than {:?}: {times:?}", times[10]));
    }
    let health = project.data("/api/v1/health");
    project.log(&format!("health: {health:?}; {:?} and {:?} at most", times[10], times[20]));
    let mut rest = Rest::default();
    let has_shrunk = within(Duration::from_secs(20), || {
        let Some(told) = project.data("/api/v1/daemon") else { return true };
        let pid = told["pid"].as_u64().and_then(|pid| pid.try_into().ok()).unwrap_or(0);
        rest = Rest {
            descriptors: told["descriptors"].as_u64().unwrap_or(0),
            tasks: told["tasks"].as_u64().unwrap_or(0),
            memory: service_tests::memory(pid),
            running: told["services_running"].as_u64().unwrap_or(0),
        };
        first.is_none_or(|first| {
            let more = rest.running.saturating_sub(first.running);
            rest.descriptors <= first.descriptors + 40 + 5 * more
                && rest.tasks <= first.tasks + 10 + 2 * more
                && rest.memory < MAX_MEMORY_BYTES
        })
    });
    project.log(&format!("at rest: {rest:?}"));
    if !has_shrunk {
        project.violation("leak", &format!("{first:?} at first, and now {rest:?}"));
    }
    rest
}

/// Checks that no process is left after a stop of all services.
pub(crate) fn stops_all(project: &Project, promises: &Promises) {
    let action =
        send_action(project, CLIENTS, "/api/v1/services/stop", &json!({ "all": true, "timeout_ms": 60000 }));
    let failed: Vec<&Value> = action.rows.iter().filter(|row| row["ok"] != true).collect();
    if !failed.is_empty() || action.trouble.is_some() {
        project.violation("calm", &format!("`stop --all`: {failed:?} {:?}", action.trouble));
    }
    let mut left = Vec::new();
    let is_over = within(Duration::from_secs(20), || {
        let all = processes::all(project);
        left = all.into_iter().filter(|one| !matches!(one.kind, Kind::Daemon | Kind::Zygote)).collect();
        left.is_empty()
    });
    if !is_over {
        let left: Vec<String> = left.iter().map(processes::describe).collect();
        project.violation("left over", &format!("after `stop --all`: {left:?}"));
    }
    for service in project.graph.services.iter().filter(|service| service.is_alone) {
        promises.set(&service.name, Held::Down(now()));
    }
}

/// Stops the daemon, and checks that no process and no socket is left.
pub(crate) fn goes_down(project: &Project) {
    drop(project.request("POST", "/api/v1/daemon/stop?services=true", "", Duration::from_mins(1)));
    let mut left = Vec::new();
    if !within(Duration::from_secs(20), || {
        left = service_tests::marked(&project.root);
        left.is_empty()
    }) {
        let left: Vec<String> = processes::all(project).iter().map(processes::describe).collect();
        project.violation("left over", &format!("after the end of the daemon: {left:?}"));
    }
}
