//! Reading: definitions, states, order, health.

use super::reply::{Asked, Data, Failure, Named, Reply};
use crate::board::{Board, Entry};
use crate::daemon::Shared;
use crate::drawing;
use crate::orchestrator::{not_found, resolve};
use crate::views::{self, Detail};
use crate::why;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use service_api::{Code, Problem, view};
use std::sync::Arc;

pub(super) async fn list(State(shared): State<Arc<Shared>>) -> Reply<Vec<view::Service>> {
    shared.refresh().await?;
    Ok(Data(views::services(&shared.orchestrator.plan())))
}

pub(super) async fn service(
    State(shared): State<Arc<Shared>>,
    Named(name): Named<String>,
) -> Reply<view::Service> {
    shared.refresh().await?;
    let plan = shared.orchestrator.plan();
    let id = plan.id(&name).ok_or_else(|| not_found(&plan, &name))?;
    Ok(Data(views::service(plan.service(id))))
}

/// `?names=a,b`.
#[derive(Deserialize)]
pub(super) struct Names {
    #[serde(default)]
    names: String,
}

impl Names {
    fn list(&self) -> Vec<String> {
        split(&self.names)
    }
}

/// The words of a list with commas; none in an empty one.
pub(super) fn split(names: &str) -> Vec<String> {
    names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

pub(super) async fn order(
    State(shared): State<Arc<Shared>>,
    Asked(names): Asked<Names>,
) -> Reply<Vec<view::Step>> {
    shared.refresh().await?;
    let plan = shared.orchestrator.plan();
    let ids = resolve(&plan, &names.list())?;
    Ok(Data(views::steps(&plan, &ids)))
}

/// `?names=a,b&format=tree`.
#[derive(Deserialize)]
pub(super) struct Drawn {
    #[serde(default)]
    names: String,
    format: Option<String>,
}

pub(super) async fn graph(
    State(shared): State<Arc<Shared>>,
    Asked(asked): Asked<Drawn>,
) -> Result<Response, Failure> {
    shared.refresh().await?;
    let board = shared.orchestrator.board();
    let ids = resolve(&board.plan, &split(&asked.names))?;
    let nodes = views::graph(&board.plan, &ids, |id| board.at(id).snapshot.state_word());
    match asked.format {
        Some(format) => Ok(Data(drawing::draw(&format, &nodes)?).into_response()),
        None => Ok(Data(nodes).into_response()),
    }
}

pub(super) async fn service_status(
    State(shared): State<Arc<Shared>>,
    Named(name): Named<String>,
) -> Reply<view::Status> {
    let _ = shared.refresh().await;
    let board = shared.orchestrator.board();
    let entry = board.entry(&name).ok_or_else(|| not_found(&board.plan, &name))?;
    let mut rows = statuses(&shared, &board, &[entry], Detail::Long);
    Ok(Data(rows.swap_remove(0)))
}

/// These services of a board, with what they use now.
pub(super) fn statuses(
    shared: &Shared,
    board: &Board,
    entries: &[&Entry],
    detail: Detail,
) -> Vec<view::Status> {
    let keepers: Vec<u32> = entries.iter().filter_map(|entry| entry.keeper).collect();
    let usage = shared.meter.lock().map(|mut meter| meter.read(&keepers)).unwrap_or_default();
    let places = &shared.orchestrator.world().places;
    let project = shared.project.config.display().to_string();
    entries
        .iter()
        .map(|entry| {
            let usage = entry.keeper.and_then(|keeper| usage.get(&keeper).copied());
            views::status(board, entry, usage, places, &project, detail)
        })
        .collect()
}

pub(super) async fn health(
    State(shared): State<Arc<Shared>>,
    Named(name): Named<String>,
) -> Reply<view::Health> {
    let _ = shared.refresh().await;
    let checked = shared.orchestrator.check(&name).await?;
    let board = shared.orchestrator.board();
    let entry = board.entry(&name).ok_or_else(|| not_found(&board.plan, &name))?;
    Ok(Data(views::health(&entry.definition, checked)))
}

pub(super) async fn why(State(shared): State<Arc<Shared>>, Named(name): Named<String>) -> Reply<view::Why> {
    let _ = shared.refresh().await;
    let board = shared.orchestrator.board();
    let entry = Arc::clone(board.entry(&name).ok_or_else(|| not_found(&board.plan, &name))?);
    let places = Arc::clone(&shared.orchestrator.world().places);
    // It reads a log and walks through /proc.
    let explained = tokio::task::spawn_blocking(move || why::why(&board, &entry, &places)).await;
    Ok(Data(
        explained
            .map_err(|error| Problem::new(Code::Internal, format!("cannot explain `{name}`: {error}")))?,
    ))
}
