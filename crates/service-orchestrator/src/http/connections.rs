//! [`Seats`]: how many connections there may be at one door, streams counted by themselves.
//!
//! A connection takes a seat when it comes. One that asks for a stream gives it back and takes one of the streams', for as
//! long as the connection lasts: so a thousand who follow keep nobody from asking, and one who is one too many is told.
//!
//! When all seats are taken, who comes gets that of whom we have waited for longest (see [`Turn`]), and whoever is answered
//! meanwhile is asked to come again: so nobody keeps others out by sitting there.

use super::accept;
use super::connection_count::Guest;
use super::idle::Turn;
use super::peer::Peer;
use super::protocol_error;
use super::reply::Failure;
use crate::host::clock;
use crate::host::descriptors::DescriptorBudget;
use axum::Extension;
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use service_api::{Code, Problem, routes};
use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Connections at one door that ask and are answered.
const MOST_ASKING: usize = 256;
/// Connections at one door that follow something: one holds 12 KB, or 22 KB with TLS.
const MOST_FOLLOWING: usize = 1100;

/// How long somebody may be silent, however many wait for a seat: as long as an honest head is on its way.
const GRACE: Duration = Duration::from_millis(250);
/// How long one who was asked to leave may take, before the next is asked.
const LEAVES_WITHIN: Duration = Duration::from_millis(10);

/// The seats at one door.
#[derive(Clone)]
pub(super) struct Seats {
    asking: Arc<Semaphore>,
    following: Arc<Semaphore>,
    row: Arc<Row>,
}

/// Who sits there. A lock is right here: it is held while a few hundred are looked through at most.
#[derive(Default)]
struct Row {
    sitting: Mutex<HashMap<u64, Arc<Turn>>>,
    /// Somebody waits for a seat.
    crowded: AtomicBool,
    next: AtomicU64,
}

/// The seat of one connection. A lock is right here: it is held for one exchange.
pub(super) struct Seat {
    permit: Mutex<Option<OwnedSemaphorePermit>>,
    following: Arc<Semaphore>,
    row: Arc<Row>,
    number: u64,
    turn: Arc<Turn>,
    _guest: Guest,
}

/// How a request came in.
#[derive(Clone)]
pub(super) struct Arrival {
    pub(super) seat: Arc<Seat>,
    /// The address of ours that was called; none on a Unix socket.
    pub(super) at: Option<IpAddr>,
    /// Who asks.
    pub(super) peer: Peer,
}

impl Seats {
    /// As many as there may be; fewer where few descriptors may be open, so that services can still be started.
    pub(super) fn new() -> Self {
        let room = DescriptorBudget::now();
        Self::of(room.seats(MOST_ASKING), room.seats(MOST_FOLLOWING))
    }

    fn of(asking: usize, following: usize) -> Self {
        let [asking, following] = [asking, following].map(|most| Arc::new(Semaphore::new(most)));
        Self { asking, following, row: Arc::default() }
    }

    /// A seat for somebody who has come, as soon as there is one.
    pub(super) async fn take(&self) -> Seat {
        let free = Arc::clone(&self.asking).try_acquire_owned();
        let permit = match free {
            Ok(permit) => Some(permit),
            Err(_) => self.wait().await,
        };
        let (number, turn) = (self.row.next.fetch_add(1, Ordering::Relaxed), Arc::new(Turn::theirs()));
        self.row.sitting().insert(number, Arc::clone(&turn));
        let (following, row) = (Arc::clone(&self.following), Arc::clone(&self.row));
        Seat { permit: Mutex::new(permit), following, row, number, turn, _guest: Guest::comes() }
    }

    async fn wait(&self) -> Option<OwnedSemaphorePermit> {
        let _crowd = Crowd::gathers(&self.row);
        let mut free = pin!(Arc::clone(&self.asking).acquire_owned());
        loop {
            let pause = self.row.ask_one_to_leave();
            if let Ok(permit) = timeout(pause, &mut free).await {
                // The semaphore is never closed; without a permit nobody would be counted, and that is all.
                return permit.ok();
            }
        }
    }
}

impl Row {
    fn sitting(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Arc<Turn>>> {
        self.sitting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the one that we have waited for longest, unless that is not long. Gives how long to wait before the next is asked.
    fn ask_one_to_leave(&self) -> Duration {
        let sitting = self.sitting();
        let waited = sitting.values().filter_map(|turn| Some((turn.theirs_since()?, turn)));
        let Some((since, turn)) = waited.min_by_key(|(since, _)| *since) else { return GRACE };
        let lasts = (since + GRACE).saturating_duration_since(clock::timer());
        if !lasts.is_zero() {
            return lasts;
        }
        turn.ask_to_leave();
        LEAVES_WITHIN
    }
}

/// Somebody waits for a seat, for as long as this is kept.
struct Crowd<'a>(&'a Row);

impl<'a> Crowd<'a> {
    fn gathers(row: &'a Row) -> Self {
        row.crowded.store(true, Ordering::Relaxed);
        Self(row)
    }
}

impl Drop for Crowd<'_> {
    fn drop(&mut self) {
        self.0.crowded.store(false, Ordering::Relaxed);
    }
}

impl Seat {
    /// Whose turn it is to speak.
    pub(super) fn turn(&self) -> &Arc<Turn> {
        &self.turn
    }

    /// Whether somebody waits for it.
    pub(super) fn is_wanted(&self) -> bool {
        self.row.crowded.load(Ordering::Relaxed)
    }

    /// Changes to a seat of those who follow, unless all are taken.
    fn follow(&self) -> bool {
        let Ok(permit) = Arc::clone(&self.following).try_acquire_owned() else { return false };
        self.row.sitting().remove(&self.number);
        *self.permit.lock().unwrap_or_else(PoisonError::into_inner) = Some(permit);
        true
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.row.sitting().remove(&self.number);
    }
}

/// Lets a request that asks for a stream change its seat, and in what can be answered at all. One layer for both: each costs
/// memory for every request that is being answered.
pub(super) async fn usher(Extension(arrival): Extension<Arrival>, request: Request, next: Next) -> Response {
    if let Some(refused) = protocol_error::refused(request.headers()) {
        return refused;
    }
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
    let said = accept::said(request.headers());
    [routes::SSE, routes::NDJSON].into_iter().any(|kind| accept::prefers(&said, kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_comes_gets_the_seat_of_the_one_that_was_silent_longest_and_of_nobody_who_is_heard() {
        let seats = Seats::of(3, 1);
        let heard = seats.take().await;
        heard.turn().hears();
        let silent = seats.take().await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        let _fresh = seats.take().await;
        let turn = Arc::clone(silent.turn());
        let leaves = tokio::spawn(async move {
            turn.asked_to_leave().await;
            drop(silent);
        });
        let begun = clock::timer();
        let came = seats.take().await;
        assert!(begun.elapsed() <= GRACE, "{:?}", begun.elapsed());
        leaves.await.unwrap();
        assert!(!came.is_wanted(), "nobody waits any more");
    }

    #[tokio::test(start_paused = true)]
    async fn who_speaks_just_as_it_is_asked_to_leave_may_stay() {
        let seats = Seats::of(1, 1);
        let seat = seats.take().await;
        seat.turn().ask_to_leave();
        seat.turn().hears();
        assert!(timeout(GRACE, seat.turn().asked_to_leave()).await.is_err());
        seat.turn().ends();
        let ((), next) = tokio::join!(
            async {
                seat.turn().asked_to_leave().await;
                drop(seat);
            },
            seats.take()
        );
        drop(next);
    }
}
