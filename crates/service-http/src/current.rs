//! [`Current`]: an extractor of the shared state, for handlers that need the current definitions.

use super::reply::ErrorResponse;
use super::state::ApiState;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use std::convert::Infallible;
use std::sync::Arc;

/// The state with the current definitions: a changed `services.toml` is loaded first. If the file is invalid, the
/// request is refused.
pub(super) struct Current(pub(super) Arc<ApiState>);

/// The state with the current definitions, or the previous ones if the file is invalid, so that running services are
/// shown in any case.
pub(super) struct CurrentOrLast(pub(super) Arc<ApiState>);

impl FromRequestParts<Arc<ApiState>> for Current {
    type Rejection = ErrorResponse;

    async fn from_request_parts(_: &mut Parts, api: &Arc<ApiState>) -> Result<Self, ErrorResponse> {
        api.refresh().await?;
        Ok(Self(Arc::clone(api)))
    }
}

impl FromRequestParts<Arc<ApiState>> for CurrentOrLast {
    type Rejection = Infallible;

    async fn from_request_parts(_: &mut Parts, api: &Arc<ApiState>) -> Result<Self, Infallible> {
        let _ = api.refresh().await;
        Ok(Self(Arc::clone(api)))
    }
}
