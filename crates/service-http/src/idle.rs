//! [`IdleTimer`]: since when the server waits for the client of a connection.
//!
//! A connection is *client-idle* while the server waits for a request head, and while the client reads nothing of a response.
//! The time counts from the beginning of the wait, however slowly a head arrives.

use service_host::clock;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use tokio::time::Instant;

/// The timer of one connection. A lock is right here: it is held for one exchange.
pub(super) struct IdleTimer {
    state: Mutex<State>,
    closing: Notify,
}

#[derive(Clone, Copy)]
struct State {
    /// A request was received and has no complete response.
    is_serving: bool,
    /// A write waits for the client.
    is_blocked: bool,
    /// When the client became idle.
    since: Instant,
    /// The connection is to be closed.
    is_closing: bool,
    requests: u64,
}

impl IdleTimer {
    pub(super) fn new() -> Self {
        let since = clock::timer();
        let state = State { is_serving: false, is_blocked: false, since, is_closing: false, requests: 0 };
        Self { state: Mutex::new(state), closing: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The head of a request is complete.
    pub(super) fn request_received(&self) {
        let mut state = self.state();
        *state = State { is_serving: true, is_closing: false, requests: state.requests + 1, ..*state };
    }

    /// The response is complete.
    pub(super) fn response_sent(&self) {
        let mut state = self.state();
        *state = State { is_serving: false, since: clock::timer(), ..*state };
    }

    /// A write waits for the client.
    pub(super) fn write_blocked(&self) {
        let mut state = self.state();
        *state = State { is_blocked: true, since: clock::timer(), ..*state };
    }

    /// The client has read a part of it.
    pub(super) fn write_resumed(&self) {
        let mut state = self.state();
        *state = State { is_blocked: false, is_closing: false, since: clock::timer(), ..*state };
    }

    /// The number of requests that were received, and whether the last one has no complete response.
    pub(super) fn requests(&self) -> (u64, bool) {
        let state = self.state();
        (state.requests, state.is_serving)
    }

    /// Since when the client is idle; none while it is not, or once the connection is to be closed.
    pub(super) fn client_idle_since(&self) -> Option<Instant> {
        let state = self.state();
        ((!state.is_serving || state.is_blocked) && !state.is_closing).then_some(state.since)
    }

    /// Has the connection closed, unless a request arrives first.
    pub(super) fn request_close(&self) {
        self.state().is_closing = true;
        self.closing.notify_one();
    }

    /// Returns when the connection is to be closed and no request has arrived since.
    pub(super) async fn close_requested(&self) {
        loop {
            self.closing.notified().await;
            if self.state().is_closing {
                return;
            }
        }
    }
}
