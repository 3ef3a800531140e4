//! Who can run services.

use super::document::{Broken, ManagersAnswer, WrongFile, tag};
use super::reply::{Data, Reply};
use crate::daemon::Shared;
use crate::manager;
use axum::extract::State;
use service_api::{routes, view};
use std::sync::Arc;

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
pub(super) async fn list(State(shared): State<Arc<Shared>>) -> Reply<Vec<view::Manager>> {
    shared.refresh().await?;
    let (world, plan) = (shared.orchestrator.world(), shared.orchestrator.plan());
    Ok(Data(manager::roster(world, &plan).await))
}
