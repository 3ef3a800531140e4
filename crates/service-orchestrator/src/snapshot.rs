//! [`FleetSnapshot`]: the published state of all services. The engine publishes it on a `watch` channel; readers never
//! wait.

use crate::metrics::ServiceMetrics;
use service_api::{Action, Outcome, quoted};
use service_core::config::Service;
use service_core::service::{Cause, Exit, Failure, Goal, State};
use service_core::{Id, Moment, Plan, Snapshot};
use service_host::acceptance::NOT_ASKED;
use service_host::report::CheckResult;
use service_host::report::ManagerInfo;
use service_shim::DroppedLines;
use service_shim::protocol::LeftoverProcesses;
use std::sync::Arc;

/// The state of every service at one moment.
#[derive(Debug, Clone)]
pub struct FleetSnapshot {
    /// The plan that is in force.
    pub plan: Arc<Plan>,
    /// One entry for each service of the plan, in its order.
    pub entries: Vec<Arc<ServiceSnapshot>>,
}

/// One service: its state in the core, and facts about the machine.
#[derive(Debug, Clone)]
pub struct ServiceSnapshot {
    /// The state, the goal and the health.
    pub snapshot: Snapshot,
    /// The definition of the present run.
    pub definition: Arc<Service>,
    /// When the service entered its present state, as named in the API.
    pub since: Moment,
    /// The service's own process, if any.
    pub pid: Option<u32>,
    /// The shim, which is the root of the process tree.
    pub shim: Option<u32>,
    /// The last check of the present run.
    pub check: Option<Arc<CheckResult>>,
    /// The last error of the manager in a stop.
    pub stop_error: Option<String>,
    /// Why the living shim is not connected.
    pub out_of_reach: Option<String>,
    /// The manager's message about the end of the previous run.
    pub ending: Option<String>,
    /// The last data from the manager.
    pub manager_info: ManagerInfo,
    /// The last `STATUS=` message of the service.
    pub said: Option<String>,
    /// Lines that could not be written to the log.
    pub missing: DroppedLines,
    /// Whether the status command is not accepted yet, so that external starts are not detected.
    pub unqueried: bool,
    /// The leftover processes of the run, as text.
    pub left: Option<String>,
    /// A detail of the last stop, for the journal.
    pub stop: Option<String>,
    /// Whether the stop command ended with code 0; `None` while it runs or if there is none.
    pub stopped_by: Option<bool>,
    /// The counters.
    pub metrics: ServiceMetrics,
}

impl FleetSnapshot {
    /// The entry of the service with this name.
    pub fn entry(&self, name: &str) -> Option<&Arc<ServiceSnapshot>> {
        self.plan.id(name).and_then(|id| self.entries.get(id.index()))
    }

    /// The entry of this service of the plan.
    pub fn at(&self, id: Id) -> &Arc<ServiceSnapshot> {
        &self.entries[id.index()]
    }
}

impl ServiceSnapshot {
    /// The row of a named service for an action with this effect.
    pub fn outcome(&self, action: Action) -> Outcome {
        Outcome {
            health: self.snapshot.health.as_str().to_owned(),
            note: self.stop.clone().filter(|_| matches!(action, Action::Stopped | Action::Restarted)),
            ..Outcome::new(&self.definition.name, action, self.snapshot.status.as_str())
        }
    }

    /// Whether the service is inactive and external starts cannot be detected.
    pub fn is_unknown(&self) -> bool {
        self.unqueried && self.snapshot.state == State::Stopped && self.snapshot.goal == Goal::Down
    }

    /// The name of the state.
    pub fn state_word(&self) -> &'static str {
        if self.is_unknown() { "unknown" } else { self.snapshot.state_word() }
    }

    /// Discards the data of the previous run, except for its end.
    pub fn begin_run(&mut self) {
        let said = self.check.take().filter(|check| check.kind == "manager" && !check.healthy);
        self.ending = said.map(|check| check.message.clone());
        (self.stop_error, self.pid, self.shim) = (None, None, None);
        (self.left, self.out_of_reach) = (None, None);
        self.manager_info = ManagerInfo::default();
        self.said = None;
    }

    /// The manager's message about the end of the previous run, if there is no other reason.
    pub fn ending(&self) -> Option<&String> {
        let untold = self.snapshot.last_exit == Some(Exit::Unreported);
        self.ending.as_ref().filter(|_| untold && self.snapshot.restarts > 0)
    }

    /// The service's own status message, while it starts or after a start timeout.
    fn status_while_starting(&self) -> Option<String> {
        let counts = match &self.snapshot.state {
            State::Launching { .. } | State::Starting { .. } => true,
            State::Stopping { cause: Cause::Failure(failure), .. }
            | State::Backoff { failure, .. }
            | State::Failed { failure, .. } => *failure == Failure::StartTimeout,
            State::Stopping { cause: Cause::Requested, .. }
            | State::Stopped
            | State::Ready { .. }
            | State::Unknown { .. }
            | State::Completed { .. } => false,
        };
        self.said.as_ref().filter(|_| counts).map(|said| format!("it says: {}", quoted(said)))
    }

    /// The reason of the state: the core's reason, with the message of the last check or of the manager.
    pub fn reason(&self) -> Option<String> {
        if self.is_unknown() {
            return Some(NOT_ASKED.to_owned());
        }
        let failed_check = self.check.as_ref().filter(|check| !check.healthy).map(|check| &check.message);
        let ending = self.ending().filter(|_| self.snapshot.state.is_active());
        let status = self.status_while_starting();
        let detail = self.stop_error.as_ref().or(failed_check).or(ending).or(status.as_ref());
        let reason = self.core_reason(detail);
        if self.snapshot.state.is_active() {
            return reason;
        }
        let left = self.left.as_ref().map(|left| format!("what it left behind was ended: {left}"));
        let all: Vec<String> = [reason, left, self.stop.clone()].into_iter().flatten().collect();
        (!all.is_empty()).then(|| all.join("; "))
    }

    fn core_reason(&self, detail: Option<&String>) -> Option<String> {
        match (&self.snapshot.reason, detail) {
            (Some(reason), Some(detail)) if reason != detail => Some(format!("{reason}: {detail}")),
            (Some(reason), _) => Some(reason.clone()),
            (None, Some(detail)) if self.snapshot.state.is_active() => Some(detail.clone()),
            (None, _) => None,
        }
    }

    /// The note on the next retry of a crashed service.
    pub fn retry_note(&self) -> Option<String> {
        let (State::Backoff { .. }, again) = (&self.snapshot.state, self.snapshot.restarts) else {
            return None;
        };
        Some(match self.definition.backoff.limit {
            0 => "; trying again".to_owned(),
            limit => format!("; trying again ({} of {limit})", again.min(limit)),
        })
    }

    /// The problem of a blocking dependency.
    pub fn blocking_reason(&self) -> String {
        let state = match self.snapshot.state_word() {
            "failed" | "backoff" => "which failed".to_owned(),
            "completed" => "which has ended".to_owned(),
            other => format!("which is {other}"),
        };
        let again = self.retry_note().unwrap_or_default();
        self.reason().map_or(state.clone(), |reason| format!("{state}: {reason}{again}"))
    }
}

/// Describes leftover processes: their number and names.
pub fn describe_left(left: &LeftoverProcesses) -> String {
    let what = if left.count == 1 { "process" } else { "processes" };
    let more = (left.count as usize).saturating_sub(left.names.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{} {what} ({}{more})", left.count, left.names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_counted_and_named() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(
            describe_left(&LeftoverProcesses { count: 1, names: names(&["sleep"]) }),
            "1 process (sleep)"
        );
        assert_eq!(
            describe_left(&LeftoverProcesses { count: 5, names: names(&["a", "b", "c"]) }),
            "5 processes (a, b, c and 2 more)"
        );
    }
}
