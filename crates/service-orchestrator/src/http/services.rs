//! Reading: definitions, states, order, health.

use super::reply::{Asked, Data, Named, Reply};
use super::tokens::Role;
use crate::board::{Board, Entry};
use crate::daemon::Shared;
use crate::orchestrator::{not_found, resolve};
use crate::usage::Root;
use crate::views::{self, Detail};
use crate::why;
use axum::Extension;
use axum::extract::State;
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

pub(super) async fn graph(
    State(shared): State<Arc<Shared>>,
    Asked(names): Asked<Names>,
) -> Reply<Vec<view::Node>> {
    shared.refresh().await?;
    let board = shared.orchestrator.board();
    let ids = resolve(&board.plan, &names.list())?;
    Ok(Data(views::graph(&board.plan, &ids, |id| board.at(id).snapshot.state_word())))
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
    // What a manager runs has no keeper; its process may be the root of a tree all the same.
    let roots: Vec<Root> = entries.iter().filter_map(|entry| root(entry)).collect();
    let usage = shared.meter.lock().map(|mut meter| meter.read(&roots)).unwrap_or_default();
    let places = &shared.orchestrator.world().places;
    let project = shared.project.config.display().to_string();
    entries
        .iter()
        .map(|entry| {
            let usage = root(entry).and_then(|root| usage.get(&root).copied());
            views::status(board, entry, usage, places, &project, detail)
        })
        .collect()
}

fn root(entry: &Entry) -> Option<Root> {
    entry.keeper.map(Root::Keeper).or_else(|| entry.pid.map(Root::Own))
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

pub(super) async fn why(
    State(shared): State<Arc<Shared>>,
    role: Option<Extension<Role>>,
    Named(name): Named<String>,
) -> Reply<view::Why> {
    let _ = shared.refresh().await;
    let board = shared.orchestrator.board();
    let entry = Arc::clone(board.entry(&name).ok_or_else(|| not_found(&board.plan, &name))?);
    let places = Arc::clone(&shared.orchestrator.world().places);
    // It reads a log and walks through /proc.
    let explained = tokio::task::spawn_blocking(move || why::why(&board, &entry, &places)).await;
    let mut explained = explained
        .map_err(|error| Problem::new(Code::Internal, format!("cannot explain `{name}`: {error}")))?;
    if role.is_some_and(|Extension(role)| role == Role::Read) {
        // What it writes may be anything.
        explained.log.clear();
    }
    Ok(Data(explained))
}
