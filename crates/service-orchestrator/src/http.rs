//! The API: routes of `service_api::routes` over one orchestrator. One file per resource.

mod accept;
mod additions;
mod changes;
mod complaint;
mod daemon;
mod document;
mod events;
mod gate;
mod listed;
mod listener;
mod logs;
mod managers;
mod metrics;
mod patient;
mod pieces;
mod protocol;
mod remote;
mod reply;
mod rows;
mod seats;
mod server;
mod services;
mod tide;
mod tokens;
mod turn;
mod watching;
mod wishes;

use crate::daemon::Shared;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use document::Document;
use listener::Guarded;
pub(crate) use remote::{Opened, open};
use reply::{Failure, LARGEST_BODY};
use seats::Seats;
use service_api::{Code, Problem};
use std::sync::Arc;
use tokio::net::UnixListener;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

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
    // The gate stands before all of it: not even a header tells who may not pass which routes there are.
    let inner = Router::new().fallback_service(bounded(router(shared)));
    let app = inner.layer(from_fn_with_state(Arc::new(opened.gate), gate::guard));
    server::serve(opened.door, app, Seats::new(), end).await;
}

/// Whatever is asked, within bounds.
fn bounded(router: Router) -> Router {
    router.layer(DefaultBodyLimit::max(LARGEST_BODY)).layer(from_fn(seats::usher))
}

fn router(shared: Arc<Shared>) -> Router {
    described()
        .split_for_parts()
        .0
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .with_state(shared)
}

/// The routes, each of which brings along how it is described.
fn described() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(services::list))
        .routes(routes!(services::service))
        .routes(routes!(services::service_status))
        .routes(routes!(services::health))
        .routes(routes!(services::why))
        .routes(routes!(services::order))
        .routes(routes!(services::graph))
        .routes(routes!(watching::status))
        .routes(routes!(watching::wait))
        .routes(routes!(logs::one))
        .routes(routes!(logs::many))
        .routes(routes!(events::events))
        .routes(routes!(events::history))
        .routes(routes!(wishes::start))
        .routes(routes!(wishes::stop))
        .routes(routes!(wishes::restart))
        .routes(routes!(wishes::start_one))
        .routes(routes!(wishes::stop_one))
        .routes(routes!(wishes::restart_one))
        .routes(routes!(additions::add))
        .routes(routes!(additions::remove))
        .routes(routes!(changes::plan))
        .routes(routes!(changes::apply))
        .routes(routes!(managers::list))
        .routes(routes!(daemon::version))
        .routes(routes!(daemon::health))
        .routes(routes!(metrics::metrics))
        .routes(routes!(daemon::status))
        .routes(routes!(daemon::stop))
        .routes(routes!(document::openapi))
}

async fn unknown(uri: Uri) -> Failure {
    Failure(
        Problem::new(Code::NotFound, format!("there is nothing at `{}`", uri.path()))
            .help("the routes are in docs/api.md, and in GET /api/v1/openapi.json"),
    )
}

async fn wrong_method(method: Method, uri: Uri) -> Response {
    let message = format!("`{}` does not answer {method}", uri.path());
    let help = "what reads is GET, what changes something is POST";
    let failure = Failure(Problem::new(Code::BadRequest, message).help(help));
    (StatusCode::METHOD_NOT_ALLOWED, failure).into_response()
}
