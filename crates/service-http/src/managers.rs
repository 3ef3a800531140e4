//! The list of managers.

use super::current::Current;
use super::reply::{Data, Reply};
use super::tokens::{Role, max_age};
use axum::Extension;
use service_api::{routes, view};
use service_manager as manager;
use service_openapi::{Broken, ManagersAnswer, WrongFile, tag};
use std::time::Duration;

/// The maximum age of a cached list for the token `read`.
const LIST_MAX_AGE: Duration = Duration::from_secs(10);

/// The managers
///
/// The built-in modules and the modules that services name by path, with their commands, and whether their programs
/// exist.
#[utoipa::path(
    get,
    path = routes::MANAGERS,
    operation_id = "list_managers",
    tag = tag::SERVICES,
    responses((status = 200, description = "every manager", body = ManagersAnswer), WrongFile, Broken),
)]
pub(super) async fn list(role: Option<Extension<Role>>, Current(api): Current) -> Reply<Vec<view::Manager>> {
    let (managers, plan) = (api.orchestrator.managers(), api.orchestrator.plan());
    Ok(Data(manager::list(managers, &plan, max_age(role, LIST_MAX_AGE)).await))
}
