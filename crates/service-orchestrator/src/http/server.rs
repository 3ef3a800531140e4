//! Connections: how many there are, how long each may take for what it asks, and how they end.
//!
//! Whoever comes when all seats are taken waits in the kernel's queue, and a seat is free again when a connection ends,
//! so nobody can fill our memory. A client that says nothing, or takes nothing, is cut off.

use super::patient::Patient;
use super::seats::{Arrival, Seats};
use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};

/// How long the head of a request may take, also the first one of a connection and the next one of one that is kept.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// How large the head of a request may be.
const LARGEST_HEAD: usize = 16 * 1024;
/// How long a client that takes nothing is waited for.
const TAKEN_WITHIN: Duration = Duration::from_mins(1);

/// Somebody who wants to talk to us.
pub(super) struct Caller<S> {
    pub(super) stream: S,
    /// The address of ours that was called; none on a Unix socket.
    pub(super) at: Option<IpAddr>,
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
    let graceful = Arc::new(GracefulShutdown::new());
    let mut end = std::pin::pin!(end);
    loop {
        let raw = tokio::select! {
            () = &mut end => break,
            (seat, raw) = async { (seats.take().await, door.next().await) } => (seat, door.greet(raw)),
        };
        let (seat, greeted) = raw;
        let (app, watcher) = (app.clone(), graceful.watcher());
        tokio::spawn(async move {
            let Some(Caller { stream, at }) = greeted.await else { return };
            let arrival = Arrival { seat: Arc::new(seat), at };
            let inner = TowerToHyperService::new(app);
            let service = service_fn(move |request: Request<Incoming>| {
                let mut request = request.map(Body::new);
                request.extensions_mut().insert(arrival.clone());
                inner.call(request)
            });
            let stream = TokioIo::new(Patient::new(stream, TAKEN_WITHIN));
            let mut builder = http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(HEAD_WITHIN).max_buf_size(LARGEST_HEAD);
            // However it ends, there is nobody left to tell.
            let _ = watcher.watch(builder.serve_connection(stream, service)).await;
        });
    }
    drop(door);
    if let Some(graceful) = Arc::into_inner(graceful) {
        graceful.shutdown().await;
    }
}
