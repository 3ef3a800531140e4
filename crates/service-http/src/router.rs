//! The router: each operation of the API with its handler, and their descriptions for the OpenAPI document.

use super::openapi;
use super::reply::ErrorResponse;
use super::state::ApiState;
use super::{actions, added, daemon, events, logs, managers, metrics, plan, services, status};
use axum::Router;
use axum::body::Bytes;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use pastey::paste;
use service_api::{Code, Problem};
use service_openapi::{Document, render};
use std::sync::Arc;
use utoipa::{OpenApi, Path};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::{PathItemExt, routes};

/// Passes the list of all operations to another macro.
macro_rules! operations {
    ($make:ident) => {
        $make! {
            services::list, services::service, services::service_status, services::health, services::explain_service, services::explain_services,
            services::order, services::graph, status::status, status::wait,
            logs::one, logs::many, events::events, events::history,
            actions::start, actions::stop, actions::restart, actions::start_one, actions::stop_one, actions::restart_one,
            added::add, added::remove, plan::plan, plan::apply,
            managers::list, daemon::version, daemon::health, metrics::metrics, daemon::status, daemon::stop,
            openapi::openapi,
        }
    };
}

/// Creates a router with each handler at the path of its `#[utoipa::path]`.
macro_rules! answering {
    ($($module:ident::$handler:ident),* $(,)?) => { paste! {
        Router::new()$(.route(
            &$module::[<__path_ $handler>]::path(),
            $module::[<__path_ $handler>]::methods().iter().fold(MethodRouter::new(), |router, method| {
                router.on(method.to_method_filter(), $module::$handler)
            }),
        ))*
    } };
}

/// Creates a router with the descriptions of its operations. This takes longer than the whole start of a daemon.
macro_rules! describing {
    ($($module:ident::$handler:ident),* $(,)?) => {
        OpenApiRouter::with_openapi(Document::openapi())$(.routes(routes!($module::$handler)))*
    };
}

pub(super) fn router(api: Arc<ApiState>) -> Router {
    operations!(answering).fallback(unknown).method_not_allowed_fallback(wrong_method).with_state(api)
}

/// The text of the OpenAPI document.
pub(super) fn document() -> Bytes {
    let described: OpenApiRouter<Arc<ApiState>> = operations!(describing);
    render(described.into_openapi()).into()
}

async fn unknown(uri: Uri) -> ErrorResponse {
    ErrorResponse(
        Problem::new(Code::NotFound, format!("there is nothing at `{}`", uri.path()))
            .help("the routes are in docs/api.md, and in GET /api/v1/openapi.json"),
    )
}

async fn wrong_method(method: Method, uri: Uri) -> Response {
    let message = format!("`{}` does not answer {method}", uri.path());
    let help = "reading routes use GET, changing routes POST";
    let failure = ErrorResponse(Problem::new(Code::BadRequest, message).help(help));
    (StatusCode::METHOD_NOT_ALLOWED, failure).into_response()
}
