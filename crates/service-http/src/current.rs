//! [`Current`]: an extractor of the shared state, for handlers that need the current definitions; and [`NamesQuery`], the
//! services that a query names.

use super::reply::{ErrorResponse, QueryParams};
use super::state::ApiState;
use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use serde::Deserialize;
use std::convert::Infallible;
use std::sync::Arc;
use utoipa::IntoParams;

/// `?names=a,b`.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct NamesQuery {
    /// Names, separated by commas; absent: all services.
    #[serde(default)]
    #[param(default = "", example = "web-app,database")]
    names: String,
}

impl NamesQuery {
    pub(super) fn list(&self) -> Vec<String> {
        self.names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
    }
}

/// The state with the current definitions: a changed `services.toml` is loaded first. If the file is invalid, the
/// request is refused.
pub(super) struct Current(pub(super) Arc<ApiState>);

/// The state with the current definitions, or the previous ones if the file is invalid or being loaded, so that running
/// services are shown in any case.
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

    async fn from_request_parts(parts: &mut Parts, api: &Arc<ApiState>) -> Result<Self, Infallible> {
        let path = RawPathParams::from_request_parts(parts, api).await;
        let mut names: Vec<String> = path.iter().flatten().map(|(_, name)| name.to_owned()).collect();
        if let Ok(QueryParams(listed)) = QueryParams::<NamesQuery>::from_request_parts(parts, api).await {
            names.extend(listed.list());
        }
        let _ = api.refresh_for_reader(&names).await;
        Ok(Self(Arc::clone(api)))
    }
}
