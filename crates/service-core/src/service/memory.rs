//! [`Memory`]: the part of a service that outlives the daemon, and how it is squared with what a new daemon finds.

use super::backoff::Backoff;
use super::{Asked, Exit, Found, Goal, State};
use crate::health::Tracker;
use crate::time::Moment;
use alloc::sync::Arc;
use serde::{Deserialize, Serialize};

/// What must outlive the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Memory {
    /// What is wanted.
    pub goal: Goal,
    /// Where it is.
    pub state: State,
    /// Number of the last run.
    pub run: u64,
    /// How the last run ended.
    pub last_exit: Option<Exit>,
    /// How often it was started again by its policy since it was last asked for.
    pub restarts: u32,
    /// Its crashes.
    pub backoff: Backoff,
    /// Its health in the present run.
    #[serde(default)]
    pub tracker: Tracker,
    /// Who started the present run.
    #[serde(default)]
    pub starter: Starter,
    /// The moment to which it has asked for time to start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extended_to: Option<Moment>,
    /// By whose word its goal is what it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Arc<Asked>>,
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
pub enum Starter {
    /// The orchestrator.
    #[default]
    Us,
    /// Somebody else, with the means of whoever runs the service.
    Others,
}

impl Memory {
    /// What is known of a service that runs although nobody remembers why.
    pub fn of_a_stranger() -> Self {
        Self { goal: Goal::Up, ..Self::default() }
    }

    /// Believes the world more than the past: a process that runs may be of a later run than the one remembered.
    pub(super) fn reconcile(&mut self, found: &Found) {
        match found {
            Found::Running { run, launched } | Found::Unheard { run, launched }
                if *run != self.run || !self.state.is_alive() =>
            {
                self.run = *run;
                self.state = State::Starting { since: *launched };
            }
            // A later run than the one remembered has come and gone: it was alive until the event that follows.
            Found::Over { run, .. } if *run > self.run => {
                self.run = *run;
                self.state = State::Starting { since: Moment::default() };
            }
            Found::Over { run, .. } if *run < self.run => self.rest(),
            Found::Nothing => self.rest(),
            Found::Unheard { .. } => self.tracker = self.tracker.asked_anew(),
            Found::Running { .. } | Found::Over { .. } => {}
        }
    }

    /// Whatever was alive is not any more, and how it ended is not known.
    fn rest(&mut self) {
        if self.state.is_alive() {
            self.state = State::Stopped;
        }
    }

    /// Forgets the past of another boot: what was alive is not, and every moment is meaningless.
    pub fn forget_boot(&mut self, now: Moment) {
        self.backoff = Backoff::default();
        self.launched = None;
        match &mut self.state {
            State::Stopped => {}
            State::Completed { at, .. } | State::Failed { at, .. } => *at = now,
            State::Launching { .. }
            | State::Starting { .. }
            | State::Ready { .. }
            | State::Stopping { .. }
            | State::Backoff { .. } => self.state = State::Stopped,
        }
    }
}
