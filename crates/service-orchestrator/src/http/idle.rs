//! [`Turn`]: whose turn it is on a connection, and since when.
//!
//! It is theirs until the head of a request is complete, and again when that is answered. It is theirs as well while they take
//! nothing of an answer. However slowly they go about it, it counts from its beginning.

use crate::host::clock;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use tokio::time::Instant;

/// Of one connection. A lock is right here: it is held for one exchange.
pub(super) struct Turn {
    state: Mutex<State>,
    asked: Notify,
}

#[derive(Clone, Copy)]
struct State {
    /// A request has been heard, and is not answered yet.
    ours: bool,
    /// An answer is not taken.
    stuck: bool,
    /// When it became theirs.
    since: Instant,
    /// It was asked to leave.
    asked: bool,
    requests: u64,
}

impl Turn {
    pub(super) fn theirs() -> Self {
        let state = State { ours: false, stuck: false, since: clock::timer(), asked: false, requests: 0 };
        Self { state: Mutex::new(state), asked: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The head of a request is complete.
    pub(super) fn hears(&self) {
        let mut state = self.state();
        *state = State { ours: true, asked: false, requests: state.requests + 1, ..*state };
    }

    /// It is answered.
    pub(super) fn ends(&self) {
        let mut state = self.state();
        *state = State { ours: false, since: clock::timer(), ..*state };
    }

    /// What is written waits for them.
    pub(super) fn sticks(&self) {
        let mut state = self.state();
        *state = State { stuck: true, since: clock::timer(), ..*state };
    }

    /// They have taken some of it.
    pub(super) fn goes_on(&self) {
        let mut state = self.state();
        *state = State { stuck: false, asked: false, since: clock::timer(), ..*state };
    }

    /// How many requests were heard, and whether the last is not answered yet.
    pub(super) fn heard(&self) -> (u64, bool) {
        let state = self.state();
        (state.requests, state.ours)
    }

    /// Since when it is theirs; none while it is ours, or once it was asked to leave.
    pub(super) fn theirs_since(&self) -> Option<Instant> {
        let state = self.state();
        ((!state.ours || state.stuck) && !state.asked).then_some(state.since)
    }

    pub(super) fn ask_to_leave(&self) {
        self.state().asked = true;
        self.asked.notify_one();
    }

    /// Returns when it was, and has said nothing since.
    pub(super) async fn asked_to_leave(&self) {
        loop {
            self.asked.notified().await;
            if self.state().asked {
                return;
            }
        }
    }
}
