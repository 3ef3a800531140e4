//! Who can run services.

use super::reply::{Data, Reply};
use crate::daemon::Shared;
use crate::manager;
use axum::extract::State;
use service_api::view;
use std::sync::Arc;

pub(super) async fn list(State(shared): State<Arc<Shared>>) -> Reply<Vec<view::Manager>> {
    shared.refresh().await?;
    let (world, plan) = (shared.orchestrator.world(), shared.orchestrator.plan());
    Ok(Data(manager::roster(world, &plan).await))
}
