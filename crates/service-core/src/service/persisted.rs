//! [`PersistedState`]: the part of a service that outlives the daemon, and how it is squared with what a new daemon finds.

use super::backoff::Backoff;
use crate::health::Tracker;
use crate::service::event::{Discovered, Exit};
use crate::service::request_origin::RequestOrigin;
use crate::service::state::{Goal, State};
use crate::time::Moment;
use alloc::boxed::Box;
use alloc::sync::Arc;
use serde::{Deserialize, Serialize, Serializer};

/// What must outlive the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PersistedState {
    /// What is wanted.
    pub goal: Goal,
    /// Where it is; written down is where it was when that was last known.
    #[serde(serialize_with = "last_known")]
    pub state: State,
    /// Number of the last run.
    pub run: u64,
    /// How the last run ended that has: it may be an earlier one than `run`.
    pub last_exit: Option<Exit>,
    /// The number of that run; earlier versions did not write it down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_run: Option<u64>,
    /// How often it was started again by its policy since it was last asked for.
    pub restarts: u32,
    /// Its crashes.
    pub backoff: Backoff,
    /// Its health in the present run.
    #[serde(default)]
    pub tracker: Tracker,
    /// Who started the present run.
    #[serde(default)]
    pub starter: StartedBy,
    /// The moment to which it has asked for time to start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extended_to: Option<Moment>,
    /// By whose word its goal is what it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Arc<RequestOrigin>>,
    /// When the last run was launched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub launched: Option<Moment>,
    /// Why we ended the last run, where it did not end by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Arc<str>>,
}

/// Who started a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartedBy {
    /// The orchestrator.
    #[default]
    #[serde(rename = "us")]
    Orchestrator,
    /// Somebody else, with the means of whoever runs the service.
    #[serde(rename = "others")]
    External,
}

impl PersistedState {
    /// What is known of a service that runs although nobody remembers why.
    pub fn unknown_run() -> Self {
        Self { goal: Goal::Up, ..Self::default() }
    }

    /// The same, with where the service was when that was last known.
    #[must_use]
    pub fn last_known(&self) -> Self {
        Self { state: self.state.last_known().clone(), ..self.clone() }
    }

    /// The present run has ended so.
    pub(super) fn ended_with(&mut self, exit: Exit) {
        (self.last_exit, self.exit_run) = (Some(exit), Some(self.run));
    }

    /// How the last run ended; while there is one, how it or the run before did. `None` where that run never began or nobody
    /// knows: the exit of an earlier one is no exit of it.
    pub fn exit(&self) -> Option<Exit> {
        let of = self.exit_run?;
        self.last_exit.filter(|_| of == self.run || (self.state.is_alive() && of + 1 == self.run))
    }

    /// An earlier version did not write down which run an exit is of: what is alive has not ended.
    fn date_exit(&mut self) {
        if self.last_exit.is_some() && self.exit_run.is_none() {
            self.exit_run = Some(self.run.saturating_sub(u64::from(self.state.is_alive())));
        }
    }

    /// Believes the world more than the past: a process that runs may be of a later run than the one remembered.
    pub(super) fn reconcile(&mut self, found: &Discovered, now: Moment) {
        self.date_exit();
        match found {
            Discovered::Running { run, launched } | Discovered::Unreachable { run, launched }
                if *run != self.run || !self.state.is_alive() =>
            {
                self.run = *run;
                self.state = State::Starting { since: *launched };
            }
            // A later run than the one remembered has come and gone: it was alive until the event that follows.
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

    /// Nothing is left of its run, if that ever began. One that had begun has ended unseen, which is an event of its own.
    fn rest(&mut self) {
        if let State::Launching { .. } = self.state {
            self.state = State::Stopped;
        }
    }

    /// Forgets the past of another boot: what was alive is not, and every moment is meaningless.
    pub fn on_reboot(&mut self, now: Moment) {
        self.date_exit();
        self.backoff = Backoff::default();
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
