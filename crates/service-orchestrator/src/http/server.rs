//! Connections: how many there are, how long each may take for what it asks, and how they end.
//!
//! Whoever comes when all seats are taken waits in the kernel's queue, and a seat is free again when a connection ends,
//! so nobody can fill our memory. A client that says nothing, or takes nothing, is cut off: in time, or when its seat is
//! wanted.

use super::connections::{Arrival, Seat, Seats};
use super::idle::Turn;
use super::peer::Peer;
use super::protocol_error::{self, COMMON_HEADERS, MAX_HEAD_BYTES};
use super::write_timeout::Patient;
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Request, header};
use hyper::body::{Bytes, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::timeout;

/// How long the head of a request may take, also the first one of a connection and the next one of one that is kept.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// How long a client that takes nothing is waited for.
const TAKEN_WITHIN: Duration = Duration::from_mins(1);
/// How long whoever was told that they are not understood may take to hang up.
const LEAVES_WITHIN: Duration = Duration::from_secs(1);

/// Somebody who wants to talk to us.
pub(super) struct Caller<S> {
    pub(super) stream: S,
    /// The address of ours that was called; none on a Unix socket.
    pub(super) at: Option<IpAddr>,
    /// Who that is.
    pub(super) peer: Peer,
}

/// Where callers come from.
pub(super) trait Door: Send + 'static {
    /// A connection before it is greeted.
    type Raw: Send + 'static;
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next caller. A failure is dealt with inside.
    fn next(&self) -> impl Future<Output = Self::Raw> + Send;

    /// What has to be done before a caller can speak HTTP; none for one that cannot.
    fn greet(&self, raw: Self::Raw) -> impl Future<Output = Option<Caller<Self::Stream>>> + Send + 'static;
}

/// Answers until `end`, and then what has been asked before.
pub(super) async fn serve(door: impl Door, app: Router, seats: Seats, end: impl Future<Output = ()> + Send) {
    let (ends, watched) = watch::channel(());
    let mut end = pin!(end);
    loop {
        let (raw, seat) = tokio::select! {
            () = &mut end => break,
            // Nobody loses a seat before somebody has come for it.
            came = async { let raw = door.next().await; (raw, seats.take().await) } => came,
        };
        let (greeted, seat) = (door.greet(raw), Arc::new(seat));
        let (app, watched) = (app.clone(), watched.clone());
        tokio::spawn(async move {
            let turn = Arc::clone(seat.turn());
            // Pinned where it is: one that is moved is paid for twice, by each connection.
            let mut talk = pin!(async {
                if let Some(caller) = greeted.await {
                    talk(caller, app, seat, watched).await;
                }
            });
            // What has come is heard first: nobody is shown out whose request is here.
            tokio::select! {
                biased;
                () = &mut talk => {}
                () = turn.asked_to_leave() => {}
            }
        });
    }
    drop((door, watched));
    let _ = ends.send(()); // nobody may be connected
    ends.closed().await;
}

/// Answers one caller until either side has enough.
async fn talk<S>(caller: Caller<S>, app: Router, seat: Arc<Seat>, mut end: watch::Receiver<()>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Caller { stream, at, peer } = caller;
    let mut stream = Patient::new(stream, TAKEN_WITHIN, Arc::clone(seat.turn()));
    let (arrival, inner) = (Arrival { seat, at, peer }, TowerToHyperService::new(app));
    let service = service_fn(|request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(arrival.clone());
        let (inner, seat) = (&inner, Arc::clone(&arrival.seat));
        seat.turn().hears();
        // Boxed, so that a connection holds no more than a pointer once it is answered.
        Box::pin(async move {
            let mut answer = inner.call(request).await?;
            for (name, value) in COMMON_HEADERS {
                answer.headers_mut().insert(name, HeaderValue::from_static(value));
            }
            if seat.is_wanted() {
                answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            let turn = Arc::clone(seat.turn());
            Ok::<_, Infallible>(answer.map(|body| Answer { body, turn }))
        })
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_WITHIN).max_buf_size(MAX_HEAD_BYTES);
    let ended = {
        let mut connection = pin!(builder.serve_connection(TokioIo::new(&mut stream), service));
        tokio::select! {
            ended = connection.as_mut() => ended,
            _ = end.changed() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    };
    if let (Err(error), Some(refusal)) = (ended, stream.refusal()) {
        let answer = protocol_error::explained(&refusal, &error);
        // Boxed, so that nobody pays for it who is understood. However it ends, there is nobody left to tell.
        let _ = Box::pin(timeout(LEAVES_WITHIN, stream.refuse(&answer))).await;
    }
}

/// A body, at whose end it is their turn again.
struct Answer {
    body: Body,
    turn: Arc<Turn>,
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.turn.ends();
    }
}
