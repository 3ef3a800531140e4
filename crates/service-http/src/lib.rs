//! The API: the routes of `service_api::routes` for one orchestrator, on a Unix socket and on TCP.
//!
//! A connection passes a listener (`unix_listener`, `tcp_listener`), `connections`, `server` and the router. Each
//! resource has a file; the handlers share `state`.

mod accept;
mod actions;
mod added;
mod auth;
mod connection_count;
mod connections;
mod current;
mod daemon;
mod definitions;
mod envelope_body;
mod events;
mod health;
mod idle;
mod journal_body;
mod list_body;
mod log_stream;
mod logs;
mod managers;
mod metrics;
mod openapi;
mod peer;
mod plan;
mod project_warnings;
mod protocol_error;
mod read_role_filter;
mod reply;
mod request_origin;
mod router;
mod rows;
mod server;
mod services;
mod state;
mod status;
mod tcp_listener;
mod throttled_log;
mod tokens;
mod unix_listener;
mod write_timeout;

pub use definitions::ProjectDefinitions;
pub use health::{PingError, ping_owner};
pub use state::ApiState;
pub use tcp_listener::{BindError, BoundListener, TlsFileError, bind_tcp};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use connections::ConnectionLimiter;
use reply::MAX_BODY_BYTES;
use router::router;
use service_api::{Project, routes};
use service_core::Moment;
use service_orchestrator::ServiceOrchestrator;
use std::sync::{Arc, LazyLock};
use tokio::net::UnixListener;
use unix_listener::PeerCheckedListener;

/// The shared state of one daemon's requests.
pub fn state(
    orchestrator: ServiceOrchestrator,
    project: Project,
    definitions: ProjectDefinitions,
    began: Moment,
    unit: Option<String>,
) -> ApiState {
    ApiState::new(orchestrator, project, definitions, began, unit, LazyLock::new(router::document))
}

/// Whether a client that sends this `Accept` prefers rows line by line.
pub fn wants_lines(accept: &str) -> bool {
    accept::prefers(accept, routes::NDJSON)
}

/// Serves the socket until `end`, and then completes the requests that have begun.
pub async fn serve(socket: UnixListener, api: Arc<ApiState>, end: impl Future<Output = ()> + Send + 'static) {
    let limiter = ConnectionLimiter::new(&api.connections);
    let turns = Arc::clone(&api.connection_turns);
    server::serve(PeerCheckedListener::new(socket), bounded(router(api)), limiter, turns, end).await;
}

/// Serves authorized requests over TCP until `end`, and then completes the requests that have begun.
pub async fn serve_remote(
    bound: BoundListener,
    api: Arc<ApiState>,
    end: impl Future<Output = ()> + Send + 'static,
) {
    let limiter = ConnectionLimiter::new(&api.connections);
    let turns = Arc::clone(&api.connection_turns);
    // Authorization precedes routing, so that an unauthorized client cannot discover routes.
    let inner = Router::new().fallback_service(bounded(router(api)));
    let app = inner.layer(from_fn_with_state(Arc::new(bound.policy), auth::authorize));
    server::serve(bound.listener, app, limiter, turns, end).await;
}

/// The router with the limits of every request.
fn bounded(router: Router) -> Router {
    router.layer(DefaultBodyLimit::max(MAX_BODY_BYTES)).layer(from_fn(connections::admit))
}

#[cfg(test)]
mod tests;
