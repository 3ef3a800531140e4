//! [`FleetSnapshot`]: the outward picture. The owner of the fleet publishes it on a `watch` channel; readers never wait.

use crate::metrics::ServiceMetrics;
use service_api::quoted;
use service_core::config::Service;
use service_core::service::{Cause, Exit, Failure, Goal, State};
use service_core::{Id, Moment, Plan, Snapshot};
use service_host::acceptance::NOT_ASKED;
use service_host::report::CheckResult;
use service_host::report::ManagerInfo;
use service_shim::DroppedLines;
use service_shim::protocol::LeftoverProcesses;
use std::sync::Arc;

/// Every service as it looked at one instant.
#[derive(Debug, Clone)]
pub struct FleetSnapshot {
    /// The plan that is in force.
    pub plan: Arc<Plan>,
    /// One entry for each service of the plan, in its order.
    pub entries: Vec<Arc<ServiceSnapshot>>,
}

/// One service: what the core knows and what the world adds.
#[derive(Debug, Clone)]
pub struct ServiceSnapshot {
    /// The state, the goal and the health.
    pub snapshot: Snapshot,
    /// The definition of the present run.
    pub definition: Arc<Service>,
    /// Since when its state has been called as it is.
    pub since: Moment,
    /// The service's own process, while there is one.
    pub pid: Option<u32>,
    /// The root of its process tree: the shim.
    pub shim: Option<u32>,
    /// The last check of the present run.
    pub check: Option<Arc<CheckResult>>,
    /// What the manager last complained of.
    pub stop_error: Option<String>,
    /// Why its shim, which lives, is not connected.
    pub out_of_reach: Option<String>,
    /// What the manager said when the run before had ended.
    pub ending: Option<String>,
    /// What the manager last said of it.
    pub told: ManagerInfo,
    /// What the service said last of itself, as `STATUS=`.
    pub said: Option<String>,
    /// Lines that could not be written to the log.
    pub missing: DroppedLines,
    /// Whether nobody may ask yet if others run it.
    pub unasked: bool,
    /// What its first process left behind when it ended by itself, in words.
    pub left: Option<String>,
    /// What there is to say of its last stop.
    pub stop: Option<String>,
    /// Whether its stop command has ended, and with code 0.
    pub stopped_by: Option<bool>,
    /// What is counted of it.
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
    /// Whether it is at rest as far as we are concerned, and more is not known.
    pub fn is_unknown(&self) -> bool {
        self.unasked && self.snapshot.state == State::Stopped && self.snapshot.goal == Goal::Down
    }

    /// The word for its state.
    pub fn state_word(&self) -> &'static str {
        if self.is_unknown() { "unknown" } else { self.snapshot.state_word() }
    }

    /// Forgets what was known of the run before, but for how it ended.
    pub fn begin_run(&mut self) {
        let said = self.check.take().filter(|check| check.kind == "manager" && !check.healthy);
        self.ending = said.map(|check| check.message.clone());
        (self.stop_error, self.pid, self.shim) = (None, None, None);
        (self.left, self.out_of_reach) = (None, None);
        self.told = ManagerInfo::default();
        self.said = None;
    }

    /// What the manager said of the end of the run before, where nothing else tells.
    pub fn ending(&self) -> Option<&String> {
        let untold = self.snapshot.last_exit == Some(Exit::Unreported);
        self.ending.as_ref().filter(|_| untold && self.snapshot.restarts > 0)
    }

    /// What it says of itself while it starts, or said when it was not ready in time.
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

    /// Why it is as it is: the core's reason, and what the last check or the manager said of it.
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
        let left = self.left.as_ref().map(|left| format!("it left {left} behind, which was ended"));
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

    /// That the restart policy goes on with what has crashed.
    pub fn retry_note(&self) -> Option<String> {
        let (State::Backoff { .. }, again) = (&self.snapshot.state, self.snapshot.restarts) else {
            return None;
        };
        Some(match self.definition.backoff.limit {
            0 => "; trying again".to_owned(),
            limit => format!("; trying again ({} of {limit})", again.min(limit)),
        })
    }

    /// What is wrong with a dependency that is in the way.
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

/// What was left behind: how many, and who.
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
