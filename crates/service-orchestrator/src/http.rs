//! The API: routes of `service_api::routes` over one orchestrator. One file per resource.

mod additions;
mod changes;
mod complaint;
mod daemon;
mod events;
mod gate;
mod listener;
mod logs;
mod managers;
mod metrics;
mod patient;
mod remote;
mod reply;
mod rows;
mod seats;
mod server;
mod services;
mod tokens;
mod watching;
mod wishes;

use crate::daemon::Shared;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use listener::Guarded;
pub(crate) use remote::{Opened, open};
use reply::{Failure, LARGEST_BODY};
use seats::Seats;
use service_api::{Code, Problem, routes};
use std::sync::Arc;
use tokio::net::UnixListener;

/// Answers this user until `end`, and then what has been asked before.
pub(crate) async fn serve(
    socket: UnixListener,
    shared: Arc<Shared>,
    end: impl Future<Output = ()> + Send + 'static,
) {
    server::serve(Guarded::new(socket), bounded(router(shared)), Seats::new(), end).await;
}

/// The same over TCP, for whoever may pass the gate.
pub(crate) async fn serve_remote(
    opened: Opened,
    shared: Arc<Shared>,
    end: impl Future<Output = ()> + Send + 'static,
) {
    let app = bounded(router(shared)).layer(from_fn_with_state(Arc::new(opened.gate), gate::guard));
    server::serve(opened.door, app, Seats::new(), end).await;
}

/// Whatever is asked, within bounds.
fn bounded(router: Router) -> Router {
    router.layer(DefaultBodyLimit::max(LARGEST_BODY)).layer(from_fn(seats::usher))
}

fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route(routes::LIST, get(services::list))
        .route(routes::HISTORY, get(events::history))
        .route(routes::EVENTS, get(events::events))
        .route(routes::STATUS, get(watching::status))
        .route(routes::WAIT, get(watching::wait))
        .route(routes::ORDER, get(services::order))
        .route(routes::PLAN, get(changes::plan))
        .route(routes::APPLY, post(changes::apply))
        .route(routes::GRAPH, get(services::graph))
        .route(routes::SERVICE, get(services::service))
        .route(routes::SERVICE_STATUS, get(services::service_status))
        .route(routes::SERVICE_HEALTH, get(services::health))
        .route(routes::SERVICE_WHY, get(services::why))
        .route(routes::SERVICE_LOGS, get(logs::one))
        .route(routes::LOGS, get(logs::many))
        .route(routes::ADD, post(additions::add))
        .route(routes::REMOVE, post(additions::remove))
        .route(routes::START, post(wishes::start))
        .route(routes::STOP, post(wishes::stop))
        .route(routes::RESTART, post(wishes::restart))
        .route(routes::SERVICE_START, post(wishes::start_one))
        .route(routes::SERVICE_STOP, post(wishes::stop_one))
        .route(routes::SERVICE_RESTART, post(wishes::restart_one))
        .route(routes::MANAGERS, get(managers::list))
        .route(routes::VERSION, get(daemon::version))
        .route(routes::HEALTH, get(daemon::health))
        .route(routes::METRICS, get(metrics::metrics))
        .route(routes::DAEMON, get(daemon::status))
        .route(routes::DAEMON_STOP, post(daemon::stop))
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .with_state(shared)
}

async fn unknown(uri: Uri) -> Failure {
    Failure(
        Problem::new(Code::NotFound, format!("there is nothing at `{}`", uri.path()))
            .help("the routes are in docs/api.md"),
    )
}

async fn wrong_method(method: Method, uri: Uri) -> Response {
    let message = format!("`{}` does not answer {method}", uri.path());
    let help = "what reads is GET, what changes something is POST";
    let failure = Failure(Problem::new(Code::BadRequest, message).help(help));
    (StatusCode::METHOD_NOT_ALLOWED, failure).into_response()
}
