//! Why a service is as it is: what the board knows, and what the world says to it.

use crate::acceptance::{NOT_ASKED, not_asked};
use crate::board::{Board, Entry};
use crate::clock;
use crate::orchestrator::{in_the_way, is_managed};
use crate::probe;
use crate::views;
use crate::world::Places;
use service_api::redact;
use service_api::view::{self, Why};
use service_core::config::Condition;
use service_core::fleet::Obstacle;
use service_core::plan::Need;
use service_core::service::{Goal, State};
use service_core::why::{Facts, explain, in_words, wanted};
use service_shim::Tail;

/// How many lines of its log are told.
const LINES: usize = 10;

/// Everything. Reads the log and looks at ports, so it takes a moment.
pub(crate) fn why(board: &Board, entry: &Entry, places: &Places) -> Why {
    let snapshot = &entry.snapshot;
    let definition = &entry.definition;
    let need = snapshot.waits_for.map(|need| (need, board.at(need.on)));
    let holder = if is_calm(entry) { None } else { probe::holder(entry) };
    let holder_name = holder.as_ref().map(probe::Holder::to_string);
    let lost = lost(board, entry).map(|on| (&*on.definition.name, in_the_way(on)));
    let facts = Facts {
        lost: lost.as_ref().map(|(name, how)| (*name, how.as_str())),
        need: need.map(|(_, on)| (&*on.definition.name, is_stuck(on).then_some(Obstacle::Failed))),
        holder: holder_name.as_deref(),
        oneshot: definition.oneshot,
        origin: definition.origin,
        shell_word: definition.start_command.shell_word(),
    };
    let (summary, help) = explain(&definition.name, snapshot, facts);
    let (summary, help) = match entry.is_unknown() {
        true => (NOT_ASKED.to_owned(), not_asked("").help),
        false => (summary, help),
    };
    let now = clock::now();
    Why {
        name: definition.name.to_string(),
        summary: redact(&summary_with_reason(summary, entry)).into_owned(),
        goal: match snapshot.goal {
            Goal::Up => "up",
            Goal::Down => "down",
            Goal::Again => "restart",
        }
        .to_owned(),
        state: entry.state_word().to_owned(),
        health: snapshot.health.word().to_owned(),
        since: Some(clock::wall(snapshot.state.since().unwrap_or(entry.since)).to_string()),
        waits_for: need.map(|(need, on)| view::WaitsFor {
            service: on.definition.name.to_string(),
            condition: wanted(need.condition).to_owned(),
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
            None => in_words(exit),
        }),
        port_holder: holder.map(|holder| view::PortHolder {
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
        log: match is_managed(definition) {
            true => Vec::new(),
            false => places
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

/// Whether nothing can be wrong with its port.
fn is_calm(entry: &Entry) -> bool {
    let well = entry.check.as_ref().is_none_or(|check| check.healthy);
    matches!(entry.snapshot.state, State::Ready { .. }) && well
}

/// Whether a dependency will not come unless somebody does something.
fn is_stuck(on: &Entry) -> bool {
    matches!(on.snapshot.state, State::Failed { .. } | State::Completed { .. })
        || (on.snapshot.state == State::Stopped && on.snapshot.goal == Goal::Down)
}

/// What a running service needs and does without: it was lost, and `when_lost` keeps the service.
fn lost<'a>(board: &'a Board, entry: &Entry) -> Option<&'a Entry> {
    let is_lost = |need: &&Need| match &board.at(need.on).snapshot.state {
        State::Stopped | State::Backoff { .. } | State::Failed { .. } => true,
        State::Completed { exit, .. } => {
            let is_work = board.at(need.on).definition.oneshot || need.condition == Condition::Completed;
            !(is_work && exit.is_success())
        }
        _ => false,
    };
    let need = board.plan.needs(entry.snapshot.id).iter().find(is_lost)?;
    Some(board.at(need.on))
}

/// What the last check or the manager said belongs to it.
fn summary_with_reason(summary: String, entry: &Entry) -> String {
    let failed = entry.check.as_ref().filter(|check| !check.healthy && !is_calm(entry));
    let detail = entry.complaint.as_ref().or(failed.map(|check| &check.message));
    let detail = detail.filter(|_| entry.snapshot.state.is_alive()).cloned();
    match detail.or_else(|| views::remains(entry)) {
        Some(detail) => format!("{summary}: {detail}"),
        None => summary,
    }
}
