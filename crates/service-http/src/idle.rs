//! [`IdleTimer`]: the time since a connection's client became idle.
//!
//! A connection is *client-idle* while the server waits for a request head, and while the client reads nothing of a
//! response. The time counts from the start of the wait, even if a head arrives slowly.

use service_host::clock;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use tokio::time::Instant;

/// The timer of one connection. A blocking mutex suffices: it is never held across an await.
pub(super) struct IdleTimer {
    state: Mutex<IdleState>,
    closing: Notify,
}

#[derive(Clone, Copy)]
struct IdleState {
    /// Whether a request was received whose response is incomplete.
    is_serving: bool,
    /// Whether a write waits for the client.
    is_blocked: bool,
    /// When the client became idle.
    since: Instant,
    /// Whether the connection is to be closed.
    is_closing: bool,
    requests: u64,
}

impl IdleTimer {
    pub(super) fn new() -> Self {
        let since = clock::timer();
        let state = IdleState { is_serving: false, is_blocked: false, since, is_closing: false, requests: 0 };
        Self { state: Mutex::new(state), closing: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, IdleState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that the head of a request is complete.
    pub(super) fn request_received(&self) {
        let mut state = self.state();
        *state = IdleState { is_serving: true, is_closing: false, requests: state.requests + 1, ..*state };
    }

    /// Records that the response is complete.
    pub(super) fn response_sent(&self) {
        let mut state = self.state();
        *state = IdleState { is_serving: false, since: clock::timer(), ..*state };
    }

    /// Records that a write waits for the client.
    pub(super) fn write_blocked(&self) {
        let mut state = self.state();
        *state = IdleState { is_blocked: true, since: clock::timer(), ..*state };
    }

    /// Records that the client has read a part of the response.
    pub(super) fn write_resumed(&self) {
        let mut state = self.state();
        *state = IdleState { is_blocked: false, is_closing: false, since: clock::timer(), ..*state };
    }

    /// The number of received requests, and whether the response to the last one is incomplete.
    pub(super) fn requests(&self) -> (u64, bool) {
        let state = self.state();
        (state.requests, state.is_serving)
    }

    /// When the client became idle; `None` while a request is served, or once the connection is to be closed.
    pub(super) fn client_idle_since(&self) -> Option<Instant> {
        let state = self.state();
        ((!state.is_serving || state.is_blocked) && !state.is_closing).then_some(state.since)
    }

    /// Requests that the connection is closed; a request that arrives first cancels this.
    pub(super) fn request_close(&self) {
        self.state().is_closing = true;
        self.closing.notify_one();
    }

    /// Returns when the connection is to be closed and no request has arrived since the request to close.
    pub(super) async fn close_requested(&self) {
        loop {
            self.closing.notified().await;
            if self.state().is_closing {
                return;
            }
        }
    }
}
