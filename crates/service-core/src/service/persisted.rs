//! [`PersistedState`]: the state of a service that outlives the daemon, and its reconciliation with a new daemon's
//! findings.

use super::restart::RestartHistory;
use crate::health::Tracker;
use crate::service::event::{Discovered, Exit};
use crate::service::request_origin::RequestOrigin;
use crate::service::state::{Goal, State};
use crate::time::Moment;
use alloc::boxed::Box;
use alloc::sync::Arc;
use serde::{Deserialize, Serialize, Serializer};

/// The state that outlives the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PersistedState {
    /// The goal.
    pub goal: Goal,
    /// The state. For an unknown state, the last known one is written.
    #[serde(serialize_with = "last_known")]
    pub state: State,
    /// Number of the last run.
    pub run: u64,
    /// The last exit status, which may be of an earlier run than `run`.
    pub last_exit: Option<Exit>,
    /// The number of the run with this exit status. Earlier versions did not write it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_run: Option<u64>,
    /// The number of restarts by the policy since the last request.
    pub restarts: u32,
    /// The crashes.
    pub backoff: RestartHistory,
    /// The health in the present run.
    #[serde(default)]
    pub tracker: Tracker,
    /// The origin of the present run.
    #[serde(default)]
    pub starter: StartedBy,
    /// The moment to which the service extended its timeout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extended_to: Option<Moment>,
    /// The origin of the goal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Arc<RequestOrigin>>,
    /// When the last run was launched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub launched: Option<Moment>,
    /// Why the orchestrator ended the last run; `None` if the run ended by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Arc<str>>,
}

/// The origin of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartedBy {
    /// The orchestrator.
    #[default]
    #[serde(rename = "us")]
    Orchestrator,
    /// An external caller, through the service's manager.
    #[serde(rename = "others")]
    External,
}

impl PersistedState {
    /// The state of a running service that has no persisted state.
    pub fn unknown_run() -> Self {
        Self { goal: Goal::Up, ..Self::default() }
    }

    /// The state with an unknown phase replaced by the last known one.
    #[must_use]
    pub fn last_known(&self) -> Self {
        Self { state: self.state.last_known().clone(), ..self.clone() }
    }

    /// Records the exit of the present run.
    pub(super) fn ended_with(&mut self, exit: Exit) {
        (self.last_exit, self.exit_run) = (Some(exit), Some(self.run));
    }

    /// The exit status of the last run; during a run, of the previous run. `None` if that run never began or its exit
    /// is unknown.
    pub fn exit(&self) -> Option<Exit> {
        let of = self.exit_run?;
        self.last_exit.filter(|_| of == self.run || (self.state.is_alive() && of + 1 == self.run))
    }

    /// Adds the run of the exit status, which earlier versions did not write. A living run has not ended, so the exit
    /// is the previous run's.
    fn date_exit(&mut self) {
        if self.last_exit.is_some() && self.exit_run.is_none() {
            self.exit_run = Some(self.run.saturating_sub(u64::from(self.state.is_alive())));
        }
    }

    /// Reconciles the state with the findings, which take precedence, because a running process may belong to a later
    /// run.
    pub(super) fn reconcile(&mut self, found: &Discovered, now: Moment) {
        self.date_exit();
        match found {
            Discovered::Running { run, launched } | Discovered::Unreachable { run, launched }
                if *run != self.run || !self.state.is_alive() =>
            {
                self.run = *run;
                self.state = State::Starting { since: *launched };
            }
            // A later run has begun and ended. The run counts as alive until its end follows as an event.
            Discovered::Exited { run, .. } if *run > self.run => {
                self.run = *run;
                self.state = State::Starting { since: Moment::default() };
            }
            Discovered::Exited { run, .. } if *run < self.run => self.rest(),
            Discovered::Absent => self.rest(),
            Discovered::Unclear { why } => {
                let was = Box::new(core::mem::take(&mut self.state));
                self.state = State::Unknown { since: now, why: why.clone(), was };
            }
            Discovered::Unreachable { .. } => self.tracker = self.tracker.reset(),
            Discovered::Running { .. } | Discovered::Exited { .. } => {}
        }
    }

    /// Handles a run without processes, which may never have begun. If it began, its unobserved end follows as an
    /// event.
    fn rest(&mut self) {
        if let State::Launching { .. } = self.state {
            self.state = State::Stopped;
        }
    }

    /// Discards the state of another boot, whose processes have ended and whose moments have no meaning.
    pub fn on_reboot(&mut self, now: Moment) {
        self.date_exit();
        self.backoff = RestartHistory::default();
        self.launched = None;
        match &mut self.state {
            State::Stopped => {}
            State::Completed { at, .. } | State::Failed { at, .. } => *at = now,
            State::Launching { .. }
            | State::Starting { .. }
            | State::Ready { .. }
            | State::Stopping { .. }
            | State::Backoff { .. }
            | State::Unknown { .. } => self.state = State::Stopped,
        }
    }
}

fn last_known<S: Serializer>(state: &State, serializer: S) -> Result<S::Ok, S::Error> {
    state.last_known().serialize(serializer)
}
