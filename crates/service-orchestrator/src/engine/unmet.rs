//! Problems of requests that are not carried out, and of states that are not reached.

use crate::lookup::state_unknown;
use crate::request::Verb;
use crate::snapshot::{FleetSnapshot, ServiceSnapshot};
use service_api::{Action, Code, Problem};
use service_core::config::name_of;
use service_core::explain::{STATE_NOT_WRITTEN, help_for_unknown, next_step_after_start};
use service_core::fleet::{Blocker, WaitCondition};
use service_core::plan::Id;
use service_core::service::Goal;
use std::time::Duration;

/// The action in progress, and its target state.
pub(super) fn under_way(verb: Verb) -> (Action, &'static str) {
    match verb {
        Verb::Start | Verb::Restart => (Action::Starting, "ready"),
        Verb::Stop => (Action::Stopping, "stopped"),
        Verb::Update => (Action::Updated, "healthy by its new health check"),
    }
}

pub(super) fn not_yet(entry: &ServiceSnapshot, goal: &str, limit: Duration, state: &str) -> String {
    let reason = entry.reason().map(|reason| format!(": {reason}")).unwrap_or_default();
    format!("`{}` is not {goal} after {limit:?}; it is {state}{reason}", entry.definition.name)
}

/// Why a request cannot be carried out.
pub(super) fn explain(verb: Verb, id: Id, obstacle: Blocker, fleet: &FleetSnapshot) -> Problem {
    let name = &fleet.at(id).definition.name;
    let verb = verb.as_str();
    match obstacle {
        Blocker::Failed => {
            let reason = fleet.at(id).reason().unwrap_or_else(|| "it ended".to_owned());
            let entry = fleet.at(id);
            let disk = match entry.missing.unreported {
                0 => "",
                _ => "; its log cannot be written: check whether the disk is full",
            };
            let mut message = format!("cannot {verb} `{name}`: {reason}{disk}");
            let mut help = next_step_after_start(&entry.definition, &entry.snapshot.state);
            if let Some(again) = entry.retry_note() {
                message += &again;
                help = format!(
                    "{help}; `service wait {name}` waits for it, `service stop {name}` cancels the \
                             start"
                );
            }
            let code = if reason.starts_with(STATE_NOT_WRITTEN) { Code::Storage } else { Code::StartFailed };
            Problem::new(code, message).help(help)
        }
        Blocker::Dependency(need) => {
            let need = fleet.at(need);
            let state = need.blocking_reason();
            let needed = &need.definition.name;
            Problem::new(
                Code::DependencyFailed,
                format!("cannot {verb} `{name}`: it depends on `{needed}`, {state}"),
            )
            .help(format!("see `service why {needed}`"))
        }
        Blocker::Unclear => {
            let why = fleet.at(id).snapshot.state.unknown_because().unwrap_or_default();
            state_unknown(verb, name, why)
        }
        Blocker::Superseded | Blocker::RestartsForever => Problem::new(
            Code::Cancelled,
            format!("cannot {verb} `{name}`: another request asked for the opposite"),
        ),
    }
}

/// Why a service will not reach a state.
pub(super) fn never(until: WaitCondition, id: Id, obstacle: Blocker, fleet: &FleetSnapshot) -> Problem {
    let entry = fleet.at(id);
    let name = &entry.definition.name;
    let (why, help) = match obstacle {
        Blocker::Failed => {
            let reason = entry.reason().unwrap_or_else(|| "it ended".to_owned());
            (format!("it is {}: {reason}", state_now(entry)), format!("see `service why {name}`"))
        }
        Blocker::Dependency(need) => {
            let need = fleet.at(need);
            let needed = &need.definition.name;
            (
                format!("it depends on `{needed}`, {}", need.blocking_reason()),
                format!("see `service why {needed}`"),
            )
        }
        Blocker::Unclear => {
            let why = entry.snapshot.state.unknown_because().unwrap_or_default();
            (why.to_owned(), help_for_unknown(name))
        }
        Blocker::Superseded if entry.snapshot.state.is_alive() => {
            ("it is being stopped by request".to_owned(), format!("run `service start {name}`"))
        }
        Blocker::Superseded => (
            format!("it is {}, and its goal is down", state_now(entry)),
            format!("run `service start {name}`"),
        ),
        Blocker::RestartsForever => (
            "its restart policy starts it again whenever it ends".to_owned(),
            format!("wait for another state, or change `restart` of [services.{name}]"),
        ),
    };
    let message = format!("`{name}` will not be {}: {why}", name_of(&WaitCondition::ALL, until));
    Problem::new(Code::Never, message).help(help)
}

pub(super) fn state_now(entry: &ServiceSnapshot) -> &'static str {
    match entry.snapshot.state_word() {
        "backoff" if entry.snapshot.goal != Goal::Down => "waiting for the next try",
        word => word,
    }
}

/// Whether the next start is blocked, because the manager failed to stop the service.
pub(super) fn is_held(entry: &ServiceSnapshot) -> bool {
    entry.stop_error.is_some() && entry.snapshot.state_word() == "stopping"
}

pub(super) fn held(entry: &ServiceSnapshot) -> Problem {
    let (name, why) = (&entry.definition.name, entry.stop_error.as_deref().unwrap_or_default());
    let message = format!("cannot start `{name}`: it has to stop first, and its manager refuses: {why}");
    Problem::new(Code::StopFailed, message).help(format!(
        "the stop is tried again, and then `{name}` starts; `service stop {name}` cancels the \
                       start"
    ))
}
