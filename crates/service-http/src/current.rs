//! [`Current`]: the state for handlers that need the definitions of now.

use super::reply::Failure;
use super::state::ApiState;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use std::convert::Infallible;
use std::sync::Arc;

/// The state, after a changed `services.toml` is loaded. A request is refused if the file is invalid.
pub(super) struct Current(pub(super) Arc<ApiState>);

/// The same with the definitions of before if the file is invalid: running services are shown nevertheless.
pub(super) struct CurrentOrLast(pub(super) Arc<ApiState>);

impl FromRequestParts<Arc<ApiState>> for Current {
    type Rejection = Failure;

    async fn from_request_parts(_: &mut Parts, api: &Arc<ApiState>) -> Result<Self, Failure> {
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
