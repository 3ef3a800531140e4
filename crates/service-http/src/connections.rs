//! [`ConnectionLimiter`]: limits the number of connections of one listener.
//!
//! Each connection holds one of 256 permits. A streaming request trades its permit for one of 1100 stream permits until
//! the connection ends, so that a thousand followers block no other request. Without a free stream permit the request
//! is refused.
//!
//! Without a free permit, a new connection replaces the connection that has been client-idle longest (see
//! [`IdleTimer`]), and other connections are closed after their responses. Idle clients therefore cannot block other
//! clients.

use super::accept;
use super::connection_count::{ConnectionCount, ConnectionGuard};
use super::idle::IdleTimer;
use super::peer::Peer;
use super::protocol_error;
use super::reply::ErrorResponse;
use axum::Extension;
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use service_api::{Code, Problem, routes};
use service_host::clock;
use service_host::descriptors::DescriptorBudget;
use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// The maximum number of connections of one listener without a stream.
const MAX_REQUEST_CONNECTIONS: usize = 256;
/// The maximum number of connections of one listener with a stream. Each uses 12 KB, or 22 KB with TLS.
const MAX_STREAM_CONNECTIONS: usize = 1100;

/// The minimum idle time of a connection that is closed in favour of another one: the transit time of a request head.
const MIN_IDLE_DURATION: Duration = Duration::from_millis(250);
/// The time limit for a connection to close, after which another connection is closed.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(10);

/// The permits of one listener.
#[derive(Clone)]
pub(super) struct ConnectionLimiter {
    requests: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    open: Arc<OpenConnections>,
    count: Arc<ConnectionCount>,
}

/// The connections that hold a request permit. A blocking mutex suffices: it is never held across an await.
#[derive(Default)]
struct OpenConnections {
    timers: Mutex<HashMap<u64, Arc<IdleTimer>>>,
    /// Whether a new connection waits for a permit.
    contended: AtomicBool,
    next: AtomicU64,
}

/// The permit of one connection. A blocking mutex suffices: it is never held across an await.
pub(super) struct ConnectionPermit {
    permit: Mutex<Option<OwnedSemaphorePermit>>,
    streams: Arc<Semaphore>,
    open: Arc<OpenConnections>,
    number: u64,
    timer: Arc<IdleTimer>,
    _guard: ConnectionGuard,
}

/// The connection of a request.
#[derive(Clone)]
pub(super) struct AcceptedConnection {
    pub(super) permit: Arc<ConnectionPermit>,
    /// The local address; none on a Unix socket.
    pub(super) at: Option<IpAddr>,
    pub(super) peer: Peer,
}

impl ConnectionLimiter {
    /// With few descriptors, there are fewer permits, so that services can still be started.
    pub(super) fn new(count: &Arc<ConnectionCount>) -> Self {
        let budget = DescriptorBudget::now();
        let [requests, streams] =
            [MAX_REQUEST_CONNECTIONS, MAX_STREAM_CONNECTIONS].map(|most| budget.connections(most));
        Self::with_permits(requests, streams, Arc::clone(count))
    }

    fn with_permits(requests: usize, streams: usize, count: Arc<ConnectionCount>) -> Self {
        let [requests, streams] = [requests, streams].map(|permits| Arc::new(Semaphore::new(permits)));
        Self { requests, streams, open: Arc::default(), count }
    }

    /// Waits for a permit for a new connection.
    pub(super) async fn acquire(&self) -> ConnectionPermit {
        let free = Arc::clone(&self.requests).try_acquire_owned();
        let permit = match free {
            Ok(permit) => Some(permit),
            Err(_) => self.wait_for_permit().await,
        };
        let (number, timer) = (self.open.next.fetch_add(1, Ordering::Relaxed), Arc::new(IdleTimer::new()));
        self.open.timers().insert(number, Arc::clone(&timer));
        let (streams, open) = (Arc::clone(&self.streams), Arc::clone(&self.open));
        let (permit, guard) = (Mutex::new(permit), self.count.opened());
        ConnectionPermit { permit, streams, open, number, timer, _guard: guard }
    }

    async fn wait_for_permit(&self) -> Option<OwnedSemaphorePermit> {
        let _contention = Contention::begin(&self.open);
        let mut free = pin!(Arc::clone(&self.requests).acquire_owned());
        loop {
            let delay = self.open.close_longest_idle();
            if let Ok(permit) = timeout(delay, &mut free).await {
                // The semaphore is never closed. A connection without a permit would only be missing in the count.
                return permit.ok();
            }
        }
    }
}

impl OpenConnections {
    fn timers(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Arc<IdleTimer>>> {
        self.timers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes the connection that has been client-idle longest, if it was idle for at least [`MIN_IDLE_DURATION`].
    /// Returns the delay until the next call.
    fn close_longest_idle(&self) -> Duration {
        let timers = self.timers();
        let idle = timers.values().filter_map(|timer| Some((timer.client_idle_since()?, timer)));
        let Some((since, timer)) = idle.min_by_key(|(since, _)| *since) else { return MIN_IDLE_DURATION };
        let remaining = (since + MIN_IDLE_DURATION).saturating_duration_since(clock::timer());
        if !remaining.is_zero() {
            return remaining;
        }
        timer.request_close();
        CLOSE_TIMEOUT
    }
}

/// A guard that exists while a new connection waits for a permit.
struct Contention<'a>(&'a OpenConnections);

impl<'a> Contention<'a> {
    fn begin(open: &'a OpenConnections) -> Self {
        open.contended.store(true, Ordering::Relaxed);
        Self(open)
    }
}

impl Drop for Contention<'_> {
    fn drop(&mut self) {
        self.0.contended.store(false, Ordering::Relaxed);
    }
}

impl ConnectionPermit {
    pub(super) fn timer(&self) -> &Arc<IdleTimer> {
        &self.timer
    }

    /// Whether a new connection waits for a permit.
    pub(super) fn is_contended(&self) -> bool {
        self.open.contended.load(Ordering::Relaxed)
    }

    /// Exchanges the permit for a stream permit. Returns `false` if no stream permit is free.
    fn become_stream(&self) -> bool {
        let Ok(permit) = Arc::clone(&self.streams).try_acquire_owned() else { return false };
        self.open.timers().remove(&self.number);
        *self.permit.lock().unwrap_or_else(PoisonError::into_inner) = Some(permit);
        true
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.open.timers().remove(&self.number);
    }
}

/// Refuses unsupported requests, and trades the permit of a streaming request. This is one middleware layer, because
/// each layer uses memory for every request.
pub(super) async fn admit(
    Extension(accepted): Extension<AcceptedConnection>,
    request: Request,
    next: Next,
) -> Response {
    if let Some(refused) = protocol_error::reject_unsupported(request.headers()) {
        return refused;
    }
    if !is_stream(&request) {
        return next.run(request).await;
    }
    if !accepted.permit.become_stream() {
        let problem = Problem::new(Code::Busy, "cannot open another stream: too many are open");
        return ErrorResponse(problem.help("close some streams, then try again")).into_response();
    }
    let mut response = next.run(request).await;
    // The connection holds a stream permit, so it is closed after the stream.
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Whether a request may be answered by a stream.
fn is_stream(request: &Request) -> bool {
    let said = accept::accept_header(request.headers());
    [routes::SSE, routes::NDJSON].into_iter().any(|kind| accept::prefers(&said, kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_new_connection_replaces_the_one_that_was_idle_longest_and_none_that_is_served() {
        let limiter = ConnectionLimiter::with_permits(3, 1, Arc::default());
        let served = limiter.acquire().await;
        served.timer().request_received();
        let idle = limiter.acquire().await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        let _fresh = limiter.acquire().await;
        let timer = Arc::clone(idle.timer());
        let closed = tokio::spawn(async move {
            timer.close_requested().await;
            drop(idle);
        });
        let begun = clock::timer();
        let new = limiter.acquire().await;
        assert!(begun.elapsed() <= MIN_IDLE_DURATION, "{:?}", begun.elapsed());
        closed.await.unwrap();
        assert!(!new.is_contended(), "no connection waits any more");
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_arrives_before_the_close_keeps_its_connection() {
        let limiter = ConnectionLimiter::with_permits(1, 1, Arc::default());
        let permit = limiter.acquire().await;
        permit.timer().request_close();
        permit.timer().request_received();
        assert!(timeout(MIN_IDLE_DURATION, permit.timer().close_requested()).await.is_err());
        permit.timer().response_sent();
        let ((), next) = tokio::join!(
            async {
                permit.timer().close_requested().await;
                drop(permit);
            },
            limiter.acquire()
        );
        drop(next);
    }
}
