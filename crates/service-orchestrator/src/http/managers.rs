//! Who can run services.

use super::openapi::{Broken, ManagersAnswer, WrongFile, tag};
use super::reply::{Data, Reply};
use super::state::ApiState;
use super::tokens::{Role, kept};
use crate::manager;
use axum::Extension;
use axum::extract::State;
use service_api::{routes, view};
use std::sync::Arc;
use std::time::Duration;

/// So old may be what the token for reading is told.
const ROSTER_KEPT: Duration = Duration::from_secs(10);

/// Who can run services
///
/// The modules that come with the daemon and those that services name by path, what each can do, and whether its program
/// is there.
#[utoipa::path(
    get,
    path = routes::MANAGERS,
    operation_id = "list_managers",
    tag = tag::SERVICES,
    responses((status = 200, description = "every manager", body = ManagersAnswer), WrongFile, Broken),
)]
pub(super) async fn list(
    State(api): State<Arc<ApiState>>,
    role: Option<Extension<Role>>,
) -> Reply<Vec<view::Manager>> {
    api.refresh().await?;
    let (managers, plan) = (api.orchestrator.managers(), api.orchestrator.plan());
    Ok(Data(manager::list(managers, &plan, kept(role, ROSTER_KEPT)).await))
}
