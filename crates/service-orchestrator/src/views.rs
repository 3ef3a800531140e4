//! Converts the snapshot to the rows of the API.

use crate::snapshot::{FleetSnapshot, ServiceSnapshot};
use service_api::{redact, view};
use service_core::config::{Command, Condition, Dependency, Manager, Service, WhenLost, name_of};
use service_core::health::Endpoint;
use service_core::service::{Exit, Goal, State};
use service_core::{Id, Name, Plan};
use service_host::clock;
use service_host::paths::Paths;
use service_host::procfs::{self, Usage};
use service_host::report::CheckResult;
use service_process::limits::AppliedLimits;

/// The warning about a running service whose module was changed on disk.
const MODULE_CHANGED: &str =
    "its module has changed; its accepted content is used until `service trust` or a restart";

/// The maximum number of processes that a reason names.
const MAX_NAMED_PROCESSES: usize = 3;

/// The definition of a service.
pub fn service(service: &Service) -> view::Service {
    view::Service {
        name: service.name.to_string(),
        description: redacted(&service.description),
        dependencies: dependencies(service),
        manager: service.manager.name().to_owned(),
        start_command: command(&service.start_command),
        stop_command: service.stop_command.as_deref().map(redacted),
        health_check_endpoint: endpoint(service),
        origin: service.origin.as_str().to_owned(),
        auto: service.auto,
    }
}

fn dependencies(service: &Service) -> Vec<view::Dependency> {
    let view = |dependency: &Dependency| view::Dependency {
        name: dependency.name.to_string(),
        condition: name_of(&Condition::ALL, dependency.condition).to_owned(),
        when_lost: name_of(&WhenLost::ALL, dependency.when_lost).to_owned(),
    };
    service.dependencies.iter().map(view).collect()
}

/// The definitions of a plan's services, in the order of the file.
pub fn services(plan: &Plan) -> Vec<view::Service> {
    plan.ids().map(|id| service(plan.service(id))).collect()
}

/// The steps of a start of these services, or of all.
pub fn steps(plan: &Plan, ids: &[Id]) -> Vec<view::Step> {
    (1..).zip(with_needs(plan, ids)).map(|(number, id)| step(plan, number, id)).collect()
}

/// These services with all their dependencies, or all services, in start order.
fn with_needs(plan: &Plan, ids: &[Id]) -> Vec<Id> {
    if ids.is_empty() { plan.order().to_vec() } else { plan.with_dependencies(ids) }
}

/// One step of a start.
pub fn step(plan: &Plan, step: usize, id: Id) -> view::Step {
    let name = |id: Id| plan.service(id).name.to_string();
    view::Step {
        step,
        name: name(id),
        level: plan.level(id) as usize,
        dependencies: plan.dependencies(id).iter().map(|need| name(need.on)).collect(),
    }
}

/// The rows of a graph: services with their dependencies.
pub fn graph(plan: &Plan, ids: &[Id], state: impl Fn(Id) -> &'static str) -> Vec<view::Node> {
    let shown = with_needs(plan, ids);
    shown.iter().map(|id| node(plan, &shown, *id, &state)).collect()
}

/// One of the shown services.
pub fn node(plan: &Plan, shown: &[Id], id: Id, state: impl Fn(Id) -> &'static str) -> view::Node {
    let dependents = |id: Id| {
        let mut names: Vec<String> = Vec::new();
        for id in plan.dependents(id).iter().filter(|id| shown.contains(id)) {
            let name = plan.service(*id).name.to_string();
            // Two edges may lead to one service.
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    };
    view::Node {
        name: plan.service(id).name.to_string(),
        level: plan.level(id) as usize,
        dependencies: dependencies(plan.service(id)),
        dependents: dependents(id),
        state: state(id).to_owned(),
    }
}

/// The selected columns of a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// The columns that fit into a terminal.
    Short,
    /// All columns.
    Long,
}

/// The state of one service.
pub fn status(
    fleet: &FleetSnapshot,
    entry: &ServiceSnapshot,
    usage: Option<Usage>,
    paths: &Paths,
    project: &str,
    detail: Detail,
) -> view::Status {
    let snapshot = &entry.snapshot;
    view::Status {
        name: entry.definition.name.to_string(),
        status: if entry.is_unknown() { "unknown" } else { snapshot.status.as_str() }.to_owned(),
        state: entry.state_word().to_owned(),
        health: snapshot.health.as_str().to_owned(),
        pid: entry.pid,
        uptime_ms: uptime(entry),
        memory: entry.manager_info.memory.or(usage.map(|usage| usage.memory)),
        restarts: snapshot.restarts.saturating_add(entry.manager_info.restarts),
        details: (detail == Detail::Long).then(|| details(fleet, entry, usage, paths, project)),
    }
}

/// The time since the launch, or since the start that the manager reports.
fn uptime(entry: &ServiceSnapshot) -> Option<f64> {
    if entry.pid.is_none() && entry.manager_info.id.is_none() {
        return None;
    }
    let told =
        entry.manager_info.since.map(|since| clock::today().duration_since(since).as_millis_f64().max(0.0));
    told.or_else(|| Some(clock::millis(clock::now().since(entry.snapshot.launched?))))
}

fn details(
    fleet: &FleetSnapshot,
    entry: &ServiceSnapshot,
    usage: Option<Usage>,
    paths: &Paths,
    project: &str,
) -> view::Details {
    let (snapshot, definition) = (&entry.snapshot, &entry.definition);
    let files = paths.files(&definition.name);
    // A changed definition applies from the next start on.
    let kept = snapshot
        .state
        .is_alive()
        .then(|| AppliedLimits::read(paths, &definition.name, snapshot.run))
        .flatten();
    view::Details {
        cpu: usage.and_then(|usage| usage.cpu),
        since: snapshot.state.since().map(|since| clock::wall(since).to_string()),
        exit_code: snapshot.last_exit.and_then(Exit::code),
        exit_signal: snapshot.last_exit.and_then(Exit::signal),
        command: command(&definition.start_command),
        cwd: redacted(&paths.working_dir(definition.working_dir.as_deref()).display().to_string()),
        log: (definition.manager == Manager::Process).then(|| files.log().display().to_string()),
        dependencies: fleet
            .plan
            .dependencies(snapshot.id)
            .iter()
            .map(|need| fleet.plan.service(need.on).name.to_string())
            .collect(),
        memory_limit: match &kept {
            Some(kept) if kept.is_read() => kept.memory.as_ref().map(|limit| limit.most),
            _ => definition.limits.memory,
        },
        cpu_limit: match &kept {
            Some(kept) if kept.is_read() => kept.cpu.as_ref().map(|limit| limit.most),
            _ => definition.limits.cpu,
        },
        limits: kept.as_ref().map(AppliedLimits::describe),
        reason: reason(entry, kept.as_ref()),
        id: entry.manager_info.id.clone(),
        project: project.to_owned(),
    }
}

fn reason(entry: &ServiceSnapshot, kept: Option<&AppliedLimits>) -> Option<String> {
    let facts = [entry.reason(), remains(entry)].into_iter().flatten().chain(caveats(entry, kept));
    let facts: Vec<String> = facts.collect();
    (!facts.is_empty()).then(|| redacted(&facts.join("; ")))
}

/// Warnings that apply in any state.
pub fn caveats(entry: &ServiceSnapshot, kept: Option<&AppliedLimits>) -> Vec<String> {
    let lines = entry.missing.total;
    let dropped = (lines > 0).then(|| format!("{lines} log lines could not be written"));
    let frozen = |who: &str, pid: Option<u32>| {
        let pid = pid.filter(|pid| procfs::is_frozen(*pid))?;
        Some(format!("its {who} (pid {pid}) is stopped by a signal; `kill -CONT {pid}` continues it"))
    };
    let out_of_reach = entry.out_of_reach.clone().filter(|_| entry.snapshot.state.is_alive());
    let [shim, process] = [frozen("shim", entry.shim), frozen("process", entry.pid)];
    let module = entry.manager_info.is_module_changed.then(|| MODULE_CHANGED.to_owned());
    let facts = [shim, process, module, out_of_reach, dropped, kept.and_then(AppliedLimits::caveat)];
    facts.into_iter().flatten().collect()
}

/// Describes the processes that a stop waits for, and the time until they are killed.
pub fn remains(entry: &ServiceSnapshot) -> Option<String> {
    let State::Stopping { kill_at, kills, .. } = entry.snapshot.state else { return None };
    let pids = procfs::descendants(entry.shim?);
    let told: Vec<String> = pids.iter().take(MAX_NAMED_PROCESSES).map(|pid| procfs::describe(*pid)).collect();
    let others = pids.len().saturating_sub(MAX_NAMED_PROCESSES);
    let others = if others > 0 { format!(" and {others} more") } else { String::new() };
    let then = match kill_at.since(clock::now()) {
        left if kills == 0 && !left.is_zero() => format!(", killed in {:.1} s", left.as_secs_f64()),
        _ => String::new(),
    };
    (!told.is_empty()).then(|| format!("still running: {}{others}{then}", told.join(", ")))
}

fn command(command: &Command) -> String {
    redacted(&command.text)
}

fn endpoint(service: &Service) -> Option<String> {
    service.endpoint.as_ref().map(|endpoint| redacted(&endpoint.to_string()))
}

/// Removes secrets from a text of the user.
fn redacted(text: &str) -> String {
    redact(text).into_owned()
}

/// The row of an inactive service, in place of a check.
pub fn at_rest(entry: &ServiceSnapshot) -> Option<view::Health> {
    let definition = &entry.definition;
    let message = match (&entry.snapshot.state, entry.snapshot.goal) {
        (State::Stopped, Goal::Down) => "not checked: it is stopped, and its goal is down",
        (State::Completed { exit, .. }, _) if definition.oneshot && exit.is_success() => {
            "not checked: it has done its work"
        }
        (State::Unknown { why, .. }, _) if definition.endpoint.is_none() => why,
        _ => return None,
    };
    let by_itself = if definition.manager == Manager::Process { "process" } else { "manager" };
    Some(view::Health {
        name: definition.name.to_string(),
        healthy: None,
        kind: definition.endpoint.as_ref().map_or(by_itself, Endpoint::kind).to_owned(),
        message: message.to_owned(),
        latency_ms: 0.0,
        checked: clock::today().to_string(),
        endpoint: endpoint(definition),
    })
}

/// The result of a check.
pub fn health(service: &Service, checked: CheckResult) -> view::Health {
    view::Health {
        name: service.name.to_string(),
        healthy: Some(checked.healthy),
        kind: checked.kind.to_owned(),
        message: checked.message,
        latency_ms: clock::millis(checked.latency),
        checked: checked.at.to_string(),
        endpoint: endpoint(service),
    }
}

/// A line of a service's log.
pub fn log_line(name: &Name, line: service_shim::Line) -> view::LogLine {
    view::LogLine {
        time: line.time.to_string(),
        service: name.to_string(),
        stream: line.stream.as_str().to_owned(),
        line: line.text,
        partial: line.partial,
        continues: line.continues,
    }
}
