//! Serves HTTP on the connections of one listener, with limits for the number of connections and the time of each step.
//!
//! While all permits are held, new connections wait in the kernel's queue, which limits the memory of the daemon. An idle client,
//! which sends or reads nothing, is disconnected after a timeout, or when its permit is needed.

use super::connections::{AcceptedConnection, ConnectionLimiter, ConnectionPermit};
use super::idle::IdleTimer;
use super::peer::Peer;
use super::protocol_error::{self, COMMON_HEADERS, MAX_HEAD_BYTES};
use super::write_timeout::WriteTimeout;
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Request, header};
use hyper::body::{Bytes, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use service_host::clock;
use service_host::time_slice::LoopMetrics;
use std::convert::Infallible;
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::timeout;

/// The timeout for the head of each request of a connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// The maximum time for which a client may read nothing of a response.
const WRITE_STALL_TIMEOUT: Duration = Duration::from_mins(1);
/// The timeout for a client to close its connection after a malformed request.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);

/// A connection that is ready for HTTP.
pub(super) struct ReadyConnection<S> {
    pub(super) stream: S,
    /// The local address; none on a Unix socket.
    pub(super) at: Option<IpAddr>,
    pub(super) peer: Peer,
}

/// A source of connections.
pub(super) trait ConnectionSource: Send + 'static {
    /// A connection before its handshake.
    type Raw: Send + 'static;
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next connection. Errors are logged, and the accept is retried.
    fn accept(&self) -> impl Future<Output = Self::Raw> + Send;

    /// The steps before HTTP. `None` if they fail.
    fn handshake(
        &self,
        raw: Self::Raw,
    ) -> impl Future<Output = Option<ReadyConnection<Self::Stream>>> + Send + 'static;
}

/// Serves until `end`, and then completes the requests that have begun.
pub(super) async fn serve(
    listener: impl ConnectionSource,
    app: Router,
    limiter: ConnectionLimiter,
    turns: Arc<LoopMetrics>,
    end: impl Future<Output = ()> + Send,
) {
    let (ends, watched) = watch::channel(());
    let mut end = pin!(end);
    loop {
        let (raw, permit) = tokio::select! {
            () = &mut end => break,
            // The connection is accepted before a permit is acquired, so that no idle connection is closed before a new
            // one has arrived.
            accepted = async { let raw = listener.accept().await; (raw, limiter.acquire().await) } => accepted,
        };
        let (handshake, permit) = (listener.handshake(raw), Arc::new(permit));
        let (app, watched, turns) = (app.clone(), watched.clone(), Arc::clone(&turns));
        tokio::spawn(async move {
            let timer = Arc::clone(permit.timer());
            // The future is pinned in place, because a moved one would use its memory twice for each connection.
            let mut served = pin!(async {
                if let Some(connection) = handshake.await {
                    serve_connection(connection, app, permit, watched).await;
                }
            });
            let mut served = poll_fn(|context| {
                let began = clock::now();
                let polled = served.as_mut().poll(context);
                turns.record(clock::now().since(began));
                polled
            });
            // A request that has already arrived is read first; then the connection stays open.
            tokio::select! {
                biased;
                () = &mut served => {}
                () = timer.close_requested() => {}
            }
        });
    }
    drop((listener, watched));
    let _ = ends.send(()); // no client may be connected
    ends.closed().await;
}

/// Serves one connection until either side closes it.
async fn serve_connection<S>(
    connection: ReadyConnection<S>,
    app: Router,
    permit: Arc<ConnectionPermit>,
    mut end: watch::Receiver<()>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let ReadyConnection { stream, at, peer } = connection;
    let mut stream = WriteTimeout::new(stream, WRITE_STALL_TIMEOUT, Arc::clone(permit.timer()));
    let (accepted, inner) = (AcceptedConnection { permit, at, peer }, TowerToHyperService::new(app));
    let service = service_fn(|request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(accepted.clone());
        let (inner, permit) = (&inner, Arc::clone(&accepted.permit));
        permit.timer().request_received();
        // The future is boxed, so that a connection holds only a pointer after the response.
        Box::pin(async move {
            let mut response = inner.call(request).await?;
            for (name, value) in COMMON_HEADERS {
                response.headers_mut().insert(name, HeaderValue::from_static(value));
            }
            if permit.is_contended() {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            let timer = Arc::clone(permit.timer());
            Ok::<_, Infallible>(response.map(|body| TimedBody { body, timer }))
        })
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(MAX_HEAD_BYTES);
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
        let answer = protocol_error::explain(&refusal, &error);
        // The future is boxed, so that it uses no memory of connections with valid requests. The result is ignored.
        let _ = Box::pin(timeout(REFUSAL_TIMEOUT, stream.send_refusal(&answer))).await;
    }
}

/// A body that notifies the idle timer of its end.
struct TimedBody {
    body: Body,
    timer: Arc<IdleTimer>,
}

impl hyper::body::Body for TimedBody {
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

impl Drop for TimedBody {
    fn drop(&mut self) {
        self.timer.response_sent();
    }
}
