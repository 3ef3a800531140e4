//! [`Seats`]: how many connections there may be at one door, streams counted by themselves.
//!
//! A connection takes a seat when it comes. One that asks for a stream gives it back and takes one of the streams', for as
//! long as the connection lasts: so a thousand who follow keep nobody from asking, and one who is one too many is told.

use super::reply::Failure;
use axum::Extension;
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use nix::sys::resource::{Resource, getrlimit};
use service_api::{Code, Problem, routes};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Connections at one door that ask and are answered.
const MOST_ASKING: usize = 256;
/// Connections at one door that follow something: one holds 12 KB, or 22 KB with TLS.
const MOST_FOLLOWING: usize = 1100;
/// Descriptors that are kept for services: what they need comes before those who look on.
const KEPT: usize = 512;

/// The seats at one door.
#[derive(Clone)]
pub(super) struct Seats {
    asking: Arc<Semaphore>,
    following: Arc<Semaphore>,
}

/// The seat of one connection. A lock is right here: it is held for one exchange.
pub(super) struct Seat {
    permit: Mutex<Option<OwnedSemaphorePermit>>,
    following: Arc<Semaphore>,
}

/// How a request came in.
#[derive(Clone)]
pub(super) struct Arrival {
    pub(super) seat: Arc<Seat>,
    /// The address of ours that was called; none on a Unix socket.
    pub(super) at: Option<IpAddr>,
}

impl Seats {
    /// As many as there may be; fewer where few descriptors may be open, so that services can still be started.
    pub(super) fn new() -> Self {
        let open = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft);
        let spare = usize::try_from(open).unwrap_or(usize::MAX).saturating_sub(KEPT);
        // Two doors.
        let most = |wish: usize| Arc::new(Semaphore::new(wish.min(spare / 4).max(16)));
        Self { asking: most(MOST_ASKING), following: most(MOST_FOLLOWING) }
    }

    /// A seat, as soon as there is one.
    pub(super) async fn take(&self) -> Seat {
        // The semaphore is never closed; without a permit nobody would be counted, and that is all.
        let permit = Arc::clone(&self.asking).acquire_owned().await.ok();
        Seat { permit: Mutex::new(permit), following: Arc::clone(&self.following) }
    }
}

impl Seat {
    /// Changes to a seat of those who follow, unless all are taken.
    fn follow(&self) -> bool {
        let Ok(permit) = Arc::clone(&self.following).try_acquire_owned() else { return false };
        *self.permit.lock().unwrap_or_else(PoisonError::into_inner) = Some(permit);
        true
    }
}

/// Lets a request that asks for a stream change its seat.
pub(super) async fn usher(Extension(arrival): Extension<Arrival>, request: Request, next: Next) -> Response {
    if !is_stream(&request) {
        return next.run(request).await;
    }
    if !arrival.seat.follow() {
        let problem = Problem::new(Code::Busy, "cannot stream to one more client: too many are connected");
        return Failure(problem.help("end some of those who follow, then ask again")).into_response();
    }
    let mut response = next.run(request).await;
    // Its seat is that of a stream, so it ends with the stream.
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Whoever takes an answer as it comes may take it for long.
fn is_stream(request: &Request) -> bool {
    let accepts = request.headers().get_all(header::ACCEPT).into_iter();
    accepts
        .filter_map(|accept| accept.to_str().ok())
        .any(|accept| accept.contains(routes::SSE) || accept.contains(routes::NDJSON))
}
