//! Explains the state of a service from its snapshot and facts about the machine.

mod run_output;

use crate::snapshot::{FleetSnapshot, ServiceSnapshot};
use crate::views;
use run_output::RunOutput;
pub use run_output::short;
use service_api::redact;
use service_api::view::{self, Why};
use service_config::load::shell_syntax;
use service_core::Id;
use service_core::config::Condition;
use service_core::explain::{ExplainContext, condition_name, describe_exit, explain, missing_sign};
use service_core::fleet::Blocker;
use service_core::health::Health;
use service_core::plan::DependencyEdge;
use service_core::service::{Cause as Stop, Failure, Goal, State};
use service_host::acceptance::{NOT_ASKED, not_asked};
use service_host::clock;
use service_host::paths::Paths;
use service_probe as probe;
use service_process::limits::AppliedLimits;
use service_shim::Tail;
use std::time::Duration;

/// The number of log lines in an explanation.
const LINES: usize = 10;

/// Whether the output of a service may be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lines {
    /// The client may read lines of the log.
    Shown,
    /// The client may not read lines of the log, which may contain private data.
    Hidden,
}

/// The additions to an error: the remedy, and the last log lines of the service that caused it.
pub struct Explanation {
    /// Facts in addition to the reason of the service.
    pub detail: Option<String>,
    /// The next step.
    pub help: Option<String>,
    /// The last lines of the log.
    pub lines: Vec<String>,
}

/// The explanation in the error of a service that did not start; empty if its state has changed meanwhile.
pub fn cause(fleet: &FleetSnapshot, name: &str, paths: &Paths, lines: Lines) -> Option<Explanation> {
    let entry = fleet.entry(name)?;
    // Follows waiting services to the dependency that has ended. This terminates, because there are no dependency
    // cycles.
    let mut root = entry;
    while let Some(need) = root.snapshot.waits_for {
        root = fleet.at(need.on);
    }
    if matches!(root.snapshot.state, State::Ready { .. } | State::Stopped) {
        return None;
    }
    let known = RunFacts::new(root, paths, lines);
    let (context, own) = (known.context(root), std::ptr::eq(entry, root));
    let (_, help) = explain(&root.definition.name, &root.snapshot, &context);
    let late = matches!(
        root.snapshot.state,
        State::Failed { failure: Failure::StartTimeout, .. }
            | State::Backoff { failure: Failure::StartTimeout, .. }
            | State::Stopping { cause: Stop::Failure(Failure::StartTimeout), .. }
    );
    // The reason already contains the message of the check, or the service's own status.
    let sign = context.check.is_none() && root.said.is_none() && late;
    let detail = missing_sign(&context).filter(|_| own && sign);
    let taken = context.holder.filter(|_| own).map(|holder| format!("its port is held by {holder}"));
    Some(Explanation { detail: detail.or(taken), help, lines: known.output.last })
}

/// Facts about the machine that an explanation uses.
struct RunFacts {
    holder: Option<probe::Holder>,
    held_by: Option<String>,
    output: RunOutput,
    shell: Option<shell_syntax::ShellSyntax>,
    endpoint: Option<String>,
    address_space: Option<u64>,
    lived: Option<Duration>,
    left_to_start: Option<Duration>,
}

impl RunFacts {
    fn new(entry: &ServiceSnapshot, paths: &Paths, lines: Lines) -> Self {
        let (snapshot, definition) = (&entry.snapshot, &entry.definition);
        let holder = if is_calm(entry) {
            None
        } else {
            entry
                .definition
                .endpoint
                .as_ref()
                .and_then(|endpoint| probe::foreign_listener(endpoint, entry.shim))
        };
        let mut output = RunOutput::read(entry, paths);
        if lines == Lines::Hidden {
            output.last.clear();
        }
        let now = clock::now();
        let ended = match snapshot.state {
            State::Completed { at, .. } | State::Failed { at, .. } => Some(at),
            State::Backoff { .. } => Some(entry.since),
            _ => None,
        };
        let limit = definition.start_timeout();
        let starting = matches!(snapshot.state, State::Starting { .. } | State::Launching { .. });
        let kept = AppliedLimits::read(paths, &definition.name, snapshot.run);
        // A command that cannot be split into words was meant for a shell.
        let is_split = shell_words::split(&definition.start_command.text).ok().as_ref()
            == Some(&definition.start_command.argv);
        Self {
            held_by: holder.as_ref().map(probe::Holder::to_string),
            holder,
            output,
            shell: shell_syntax::find(&definition.start_command.text).filter(|_| is_split),
            endpoint: definition.endpoint.as_ref().map(|endpoint| redact(&endpoint.to_string()).into_owned()),
            address_space: kept.as_ref().and_then(AppliedLimits::address_space),
            lived: ended.zip(snapshot.began).map(|(ended, began)| ended.since(began)),
            left_to_start: limit
                .zip(snapshot.began)
                .filter(|_| starting)
                .map(|(limit, began)| began.plus(limit).since(now)),
        }
    }

    fn context<'a>(&'a self, entry: &'a ServiceSnapshot) -> ExplainContext<'a> {
        let failed = entry.check.as_ref().filter(|check| !check.healthy);
        ExplainContext {
            holder: self.held_by.as_deref(),
            shell: self.shell.as_ref().map(|found| (found.message.as_str(), found.help)),
            endpoint: self.endpoint.as_deref(),
            check: failed.map(|check| check.message.as_str()),
            check_fault: failed.and_then(|check| check.fault),
            lived: self.lived,
            left: entry.left.as_deref(),
            lines: self.output.lines,
            counted: self.output.counted,
            said: self.output.last_line(),
            telling: self.output.telling.as_deref(),
            left_to_start: self.left_to_start,
            address_space: self.address_space,
            ..ExplainContext::new(&entry.definition)
        }
    }
}

/// The complete explanation of one service. This blocks: it reads the log and inspects ports.
pub fn explain_one(fleet: &FleetSnapshot, entry: &ServiceSnapshot, paths: &Paths, lines: Lines) -> Why {
    let snapshot = &entry.snapshot;
    let definition = &entry.definition;
    let need = snapshot.waits_for.map(|need| (need, fleet.at(need.on)));
    let known = RunFacts::new(entry, paths, lines);
    let lost = lost(fleet, entry).map(|on| (&*on.definition.name, on.blocking_reason()));
    let context = ExplainContext {
        lost: lost.as_ref().map(|(name, how)| (*name, how.as_str())),
        need: need.map(|(_, on)| (&*on.definition.name, is_stuck(on).then_some(Blocker::Failed))),
        ..known.context(entry)
    };
    let (summary, help) = explain(&definition.name, snapshot, &context);
    let (summary, help) = match entry.is_unknown() {
        true => (NOT_ASKED.to_owned(), not_asked("").help),
        false => (summary, help),
    };
    let alive = snapshot.state.is_alive();
    let kept = alive.then(|| AppliedLimits::read(paths, &definition.name, snapshot.run)).flatten();
    let now = clock::now();
    Why {
        name: definition.name.to_string(),
        summary: redact(&summary_with_reason(summary, entry, kept.as_ref())).into_owned(),
        goal: match snapshot.goal {
            Goal::Up => "up",
            Goal::Down => "down",
            Goal::Restart => "restart",
        }
        .to_owned(),
        state: entry.state_word().to_owned(),
        health: snapshot.health.as_str().to_owned(),
        since: Some(clock::wall(snapshot.state.since().unwrap_or(entry.since)).to_string()),
        waits_for: need.map(|(need, on)| view::WaitsFor {
            service: on.definition.name.to_string(),
            condition: condition_name(need.condition).to_owned(),
            state: on.snapshot.state_word().to_owned(),
            waiting_ms: clock::millis(now.since(entry.since)),
        }),
        last_check: entry.check.as_ref().map(|check| view::LastCheck {
            healthy: check.healthy,
            message: check.message.clone(),
            latency_ms: clock::millis(check.latency),
            checked: check.at.to_string(),
        }),
        exit: snapshot.last_exit.map(|exit| match &snapshot.ended {
            Some(ended) => format!("{exit}: {ended}"),
            None => describe_exit(exit),
        }),
        port_holder: known.holder.map(|holder| view::PortHolder {
            port: holder.port,
            pid: holder.pid,
            process: holder.process,
        }),
        next_retry: match snapshot.state {
            State::Backoff { until, .. } => {
                let left = until.since(now);
                let at = clock::today().checked_add(left).unwrap_or_else(|_| clock::today());
                Some(view::NextRetry { at: at.to_string(), in_ms: clock::millis(left) })
            }
            _ => None,
        },
        log: match definition.is_managed() || lines == Lines::Hidden {
            true => Vec::new(),
            false => paths
                .files(&definition.name)
                .tail(LINES, None)
                .and_then(Tail::all)
                .unwrap_or_default()
                .into_iter()
                .map(|line| views::log_line(&definition.name, line))
                .collect(),
        },
        help,
    }
}

/// Explains these services; without names, every service with a problem.
pub fn explain_all(fleet: &FleetSnapshot, named: &[Id], paths: &Paths, lines: Lines) -> Vec<Why> {
    let explain = |id: &Id| explain_one(fleet, fleet.at(*id), paths, lines);
    if !named.is_empty() {
        return named.iter().map(explain).collect();
    }
    // An inactive service with goal down has no problem if none of its processes is left. Any other state with a remedy
    // is a problem.
    let at_rest = |id: &&Id| {
        let snapshot = &fleet.at(**id).snapshot;
        snapshot.goal == Goal::Down && !snapshot.state.is_alive()
    };
    let all = fleet.plan.order().iter().filter(|id| !at_rest(id) && !is_well(fleet, fleet.at(**id), paths));
    all.map(explain).collect()
}

/// Whether the service has no problem. The log is not read for this.
fn is_well(fleet: &FleetSnapshot, entry: &ServiceSnapshot, paths: &Paths) -> bool {
    let snapshot = &entry.snapshot;
    let kept = || AppliedLimits::read(paths, &entry.definition.name, snapshot.run);
    match snapshot.state {
        State::Ready { .. } => {
            snapshot.goal == Goal::Up
                && matches!(snapshot.health, Health::Alive | Health::Healthy | Health::None)
                && is_calm(entry)
                && lost(fleet, entry).is_none()
                && views::caveats(entry, kept().as_ref()).is_empty()
        }
        State::Completed { exit, .. } => exit.is_success() && entry.definition.oneshot,
        _ => false,
    }
}

/// Whether the port of the service needs no inspection, because the service is ready and passed its last check.
fn is_calm(entry: &ServiceSnapshot) -> bool {
    let well = entry.check.as_ref().is_none_or(|check| check.healthy);
    matches!(entry.snapshot.state, State::Ready { .. }) && well
}

/// Whether this dependency will not become ready without another request.
fn is_stuck(on: &ServiceSnapshot) -> bool {
    matches!(on.snapshot.state, State::Failed { .. } | State::Completed { .. })
        || (on.snapshot.state == State::Stopped && on.snapshot.goal == Goal::Down)
}

/// A lost dependency of a service that keeps running (`when_lost`).
fn lost<'a>(fleet: &'a FleetSnapshot, entry: &ServiceSnapshot) -> Option<&'a ServiceSnapshot> {
    let is_lost = |need: &&DependencyEdge| match &fleet.at(need.on).snapshot.state {
        State::Stopped | State::Backoff { .. } | State::Failed { .. } => true,
        State::Completed { exit, .. } => {
            let is_work = fleet.at(need.on).definition.oneshot || need.condition == Condition::Completed;
            !(is_work && exit.is_success())
        }
        _ => false,
    };
    let need = fleet.plan.dependencies(entry.snapshot.id).iter().find(is_lost)?;
    Some(fleet.at(need.on))
}

/// The summary with the manager's message, the message of a running service's check, and warnings.
fn summary_with_reason(summary: String, entry: &ServiceSnapshot, kept: Option<&AppliedLimits>) -> String {
    let failed = entry
        .check
        .as_ref()
        .filter(|check| !check.healthy && matches!(entry.snapshot.state, State::Ready { .. }));
    let detail = entry.stop_error.as_ref().or(failed.map(|check| &check.message));
    let detail = detail.filter(|_| entry.snapshot.state.is_alive()).cloned();
    let summary = match detail.or_else(|| views::remains(entry)) {
        Some(detail) => format!("{summary}: {detail}"),
        None => summary,
    };
    let caveats = views::caveats(entry, kept);
    if caveats.is_empty() { summary } else { format!("{summary}; but {}", caveats.join("; ")) }
}
