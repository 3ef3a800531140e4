//! The API: routes of `service_api::routes` over one orchestrator. One file per resource.

mod accept;
mod actor;
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
mod withheld;

use crate::daemon::Shared;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use document::Document;
use listener::Guarded;
use pastey::paste;
pub(crate) use remote::{Opened, open};
use reply::{Failure, LARGEST_BODY};
use seats::Seats;
use service_api::{Code, Problem};
use std::sync::Arc;
pub(crate) use tide::last_seen;
use tokio::net::UnixListener;
use utoipa::{OpenApi, Path};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::{PathItemExt, routes};

/// Whether a client that says this takes rows as they come.
pub(crate) fn wants_lines(said: &str) -> bool {
    accept::prefers(said, service_api::routes::NDJSON)
}

/// Does something with every operation.
macro_rules! operations {
    ($make:ident) => {
        $make! {
            services::list, services::service, services::service_status, services::health, services::why, services::whys,
            services::order, services::graph, watching::status, watching::wait,
            logs::one, logs::many, events::events, events::history,
            wishes::start, wishes::stop, wishes::restart, wishes::start_one, wishes::stop_one, wishes::restart_one,
            additions::add, additions::remove, changes::plan, changes::apply,
            managers::list, daemon::version, daemon::health, metrics::metrics, daemon::status, daemon::stop,
            document::openapi,
        }
    };
}

/// A router that answers, to what `#[utoipa::path]` says at each handler.
macro_rules! answering {
    ($($room:ident::$handler:ident),* $(,)?) => { paste! {
        Router::new()$(.route(
            &$room::[<__path_ $handler>]::path(),
            $room::[<__path_ $handler>]::methods().iter().fold(MethodRouter::new(), |router, method| {
                router.on(method.to_method_filter(), $room::$handler)
            }),
        ))*
    } };
}

/// One whose operations describe themselves. To make it takes longer than all else that a daemon does before it answers.
macro_rules! describing {
    ($($room:ident::$handler:ident),* $(,)?) => {
        OpenApiRouter::with_openapi(Document::openapi())$(.routes(routes!($room::$handler)))*
    };
}

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
    operations!(answering).fallback(unknown).method_not_allowed_fallback(wrong_method).with_state(shared)
}

fn described() -> OpenApiRouter<Arc<Shared>> {
    operations!(describing)
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
