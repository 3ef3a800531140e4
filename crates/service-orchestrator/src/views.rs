//! From the board to the rows that cross the wire.

use crate::board::{Board, Checked, Entry};
use crate::clock;
use crate::usage::Usage;
use crate::world::Places;
use service_api::view;
use service_core::config::{Command, Condition, Manager, Service, WhenLost, word};
use service_core::service::{Exit, signal_name};
use service_core::{Id, Name, Plan};

/// A service as it is defined.
pub(crate) fn service(service: &Service) -> view::Service {
    view::Service {
        name: service.name.to_string(),
        description: service.description.clone(),
        dependencies: service
            .dependencies
            .iter()
            .map(|dependency| view::Dependency {
                name: dependency.name.to_string(),
                condition: word(&Condition::ALL, dependency.condition).to_owned(),
                when_lost: word(&WhenLost::ALL, dependency.when_lost).to_owned(),
            })
            .collect(),
        manager: manager(&service.manager),
        start_command: service.start_command.text.clone(),
        stop_command: service.stop_command.clone(),
        health_check_endpoint: service.endpoint.as_ref().map(ToString::to_string),
    }
}

fn manager(manager: &Manager) -> String {
    match manager {
        Manager::Process => "process".to_owned(),
        Manager::BuiltIn(name) => name.clone(),
        Manager::Module(path) => path.clone(),
    }
}

/// Every service of a plan as it is defined, in the order of the file.
pub(crate) fn services(plan: &Plan) -> Vec<view::Service> {
    plan.ids().map(|id| service(plan.service(id))).collect()
}

/// The steps of a start of these services, or of all.
pub(crate) fn steps(plan: &Plan, ids: &[Id]) -> Vec<view::Step> {
    let order = if ids.is_empty() { plan.order().to_vec() } else { plan.with_dependencies(ids) };
    (1..).zip(order).map(|(number, id)| step(plan, number, id)).collect()
}

fn step(plan: &Plan, step: usize, id: Id) -> view::Step {
    let name = |id: Id| plan.service(id).name.to_string();
    view::Step {
        step,
        name: name(id),
        level: plan.level(id) as usize,
        dependencies: plan.needs(id).iter().map(|need| name(need.on)).collect(),
    }
}

/// How much of a status is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detail {
    /// The columns that fit a terminal.
    Short,
    /// All.
    Long,
}

/// The state of one service.
pub(crate) fn status(
    board: &Board,
    entry: &Entry,
    usage: Option<Usage>,
    places: &Places,
    project: &str,
    detail: Detail,
) -> view::Status {
    let snapshot = &entry.snapshot;
    view::Status {
        name: entry.definition.name.to_string(),
        status: snapshot.status.word().to_owned(),
        state: snapshot.state_word().to_owned(),
        health: snapshot.health.word().to_owned(),
        pid: entry.pid,
        uptime_ms: entry
            .pid
            .and(snapshot.launched)
            .map(|launched| clock::millis(clock::now().since(launched))),
        memory: usage.map(|usage| usage.memory),
        restarts: snapshot.restarts,
        details: (detail == Detail::Long).then(|| details(board, entry, usage, places, project)),
    }
}

fn details(
    board: &Board,
    entry: &Entry,
    usage: Option<Usage>,
    places: &Places,
    project: &str,
) -> view::Details {
    let (snapshot, definition) = (&entry.snapshot, &entry.definition);
    let files = places.files(&definition.name);
    view::Details {
        cpu: usage.and_then(|usage| usage.cpu),
        since: snapshot.state.since().map(|since| clock::wall(since).to_string()),
        exit_code: match snapshot.last_exit {
            Some(Exit::Code(code)) => Some(code),
            _ => None,
        },
        exit_signal: match snapshot.last_exit {
            Some(Exit::Signal(signal)) => {
                Some(signal_name(signal).map_or_else(|| signal.to_string(), str::to_owned))
            }
            _ => None,
        },
        command: command(&definition.start_command),
        cwd: places.working_dir(definition.working_dir.as_deref()).display().to_string(),
        log: (definition.manager == Manager::Process).then(|| files.log().display().to_string()),
        dependencies: board
            .plan
            .needs(snapshot.id)
            .iter()
            .map(|need| board.plan.service(need.on).name.to_string())
            .collect(),
        reason: reason(entry),
        project: project.to_owned(),
    }
}

fn reason(entry: &Entry) -> Option<String> {
    let dropped = (entry.dropped > 0).then(|| format!("{} log lines could not be written", entry.dropped));
    match (entry.reason(), dropped) {
        (Some(reason), Some(dropped)) => Some(format!("{reason}; {dropped}")),
        (reason, dropped) => reason.or(dropped),
    }
}

fn command(command: &Command) -> String {
    command.text.clone()
}

/// The result of a check.
pub(crate) fn health(service: &Service, checked: Checked) -> view::Health {
    view::Health {
        name: service.name.to_string(),
        healthy: checked.healthy,
        kind: checked.kind.to_owned(),
        message: checked.message,
        latency_ms: clock::millis(checked.latency),
        checked: checked.at.to_string(),
        endpoint: service.endpoint.as_ref().map(ToString::to_string),
    }
}

/// A line of a service's log.
pub(crate) fn log_line(name: &Name, line: service_shim::Line) -> view::LogLine {
    view::LogLine {
        time: line.time.to_string(),
        service: name.to_string(),
        stream: line.stream.as_str().to_owned(),
        line: line.text,
    }
}
