//! Reading: definitions, states, order, health, logs.

use super::reply::{Asked, Data, Failure, Named, Reply};
use crate::board::{Board, Entry};
use crate::daemon::Shared;
use crate::orchestrator::{not_found, resolve};
use crate::views::{self, Detail};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::Deserialize;
use service_api::{Code, Envelope, Problem, view};
use std::sync::Arc;

/// Lines of a log when nothing else is asked.
const USUAL_TAIL: usize = 1_000;
/// Lines of a log at most, so that one answer stays within memory.
const MOST_TAIL: usize = 1_000_000;

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

/// `?tail=100&since=2026-01-02T03:04:05Z`.
#[derive(Deserialize)]
pub(super) struct Lines {
    tail: Option<usize>,
    since: Option<String>,
}

pub(super) async fn logs(
    State(shared): State<Arc<Shared>>,
    Named(name): Named<String>,
    Asked(lines): Asked<Lines>,
) -> Result<Response, Failure> {
    let _ = shared.refresh().await;
    let since = lines.since.as_deref().map(str::parse::<Timestamp>).transpose().map_err(|error| {
        Problem::new(Code::BadRequest, format!("`since` is not a time: {error}"))
            .help("write it as 2026-01-02T03:04:05Z")
    })?;
    let board = shared.orchestrator.board();
    let entry = Arc::clone(board.entry(&name).ok_or_else(|| not_found(&board.plan, &name))?);
    let most = lines.tail.unwrap_or(if since.is_some() { MOST_TAIL } else { USUAL_TAIL }).min(MOST_TAIL);
    let places = Arc::clone(&shared.orchestrator.world().places);
    // Turning many lines into JSON takes time too: this thread has services to look after.
    let read = tokio::task::spawn_blocking(move || {
        let lines = views::log_lines(&places, &entry.definition, most, since)?;
        Ok(serde_json::to_vec(&Envelope::success(lines))?)
    });
    let json: Vec<u8> =
        read.await.map_err(std::io::Error::other).flatten().map_err(|error: std::io::Error| {
            Problem::new(Code::Internal, format!("cannot read the log of `{name}`: {error}"))
        })?;
    Ok(([(header::CONTENT_TYPE, "application/json")], json).into_response())
}
