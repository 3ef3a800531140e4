//! The route of the OpenAPI document.

use super::state::ApiState;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use service_openapi::tag;
use std::sync::Arc;

/// The OpenAPI document
///
/// The document that describes this API, in OpenAPI 3.1.
#[utoipa::path(
    get,
    path = service_api::routes::OPENAPI,
    operation_id = "openapi",
    tag = tag::DAEMON,
    responses((status = 200, description = "the document", body = Object, example = json!({"openapi": "3.1.0"}))),
)]
pub(super) async fn openapi(State(api): State<Arc<ApiState>>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], api.openapi.clone())
}

#[cfg(test)]
mod tests;
