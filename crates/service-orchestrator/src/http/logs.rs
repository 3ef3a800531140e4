//! Logs: of one service or of many, in one answer or line by line, what is there or also what comes.

use super::reply::{Asked, Data, Failure, Named};
use super::rows;
use super::services::split;
use crate::daemon::Shared;
use crate::logs::{Reading, Wanted, tail};
use crate::manager;
use crate::orchestrator::{is_managed, resolve};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::Deserialize;
use service_api::{Code, Problem, view};
use service_core::Name;
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use tokio::sync::mpsc::channel;
use tokio::task::JoinSet;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

/// Lines of a log when nothing else is asked.
const USUAL_TAIL: usize = 1_000;
/// Lines of a log at most, so that one answer stays within memory.
const MOST_TAIL: usize = 1_000_000;

/// `?names=a,b&tail=100&since=2026-01-02T03:04:05Z&follow=true`.
#[derive(Deserialize)]
pub(super) struct Lines {
    #[serde(default)]
    names: String,
    tail: Option<usize>,
    since: Option<String>,
    #[serde(default)]
    follow: bool,
}

pub(super) async fn one(
    shared: State<Arc<Shared>>,
    Named(name): Named<String>,
    Asked(lines): Asked<Lines>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    answer(shared, vec![name], lines, &headers).await
}

pub(super) async fn many(
    shared: State<Arc<Shared>>,
    Asked(lines): Asked<Lines>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    answer(shared, split(&lines.names), lines, &headers).await
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    names: Vec<String>,
    lines: Lines,
    headers: &HeaderMap,
) -> Result<Response, Failure> {
    let _ = shared.refresh().await;
    let follow = lines.follow;
    let by_line = rows::wanted(headers);
    if follow && !by_line {
        return Err(Problem::new(Code::BadRequest, "cannot follow in one answer")
            .help("send `Accept: application/x-ndjson`")
            .into());
    }
    let mut wanted = wanted(&shared, &names, &lines)?;
    wanted.told = told(&shared, &wanted).await?;
    let cannot = |error: io::Error| Problem::new(Code::Internal, format!("cannot read the logs: {error}"));
    let places = Arc::clone(&shared.orchestrator.world().places);
    if !by_line {
        let read = tokio::task::spawn_blocking(move || tail(&places, &wanted));
        return Ok(Data(read.await.map_err(io::Error::other).flatten().map_err(cannot)?).into_response());
    }
    let read = tokio::task::spawn_blocking(move || match follow {
        true => Reading::following(&places, &wanted),
        false => Reading::once(&places, &wanted),
    });
    let reading = read.await.map_err(io::Error::other).flatten().map_err(cannot)?;
    let (reader, pieces) = channel(1);
    // It ends with the answer, whose other end it sees, or with the owner of the fleet.
    tokio::spawn(async move {
        let mailbox = &shared.orchestrator.world().mailbox;
        reading.send(reader, mailbox.closed()).await;
    });
    Ok(rows::lines(ReceiverStream::new(pieces).map(Ok::<_, Infallible>)))
}

fn wanted(shared: &Shared, names: &[String], lines: &Lines) -> Result<Wanted, Problem> {
    let since = lines.since.as_deref().map(str::parse::<Timestamp>).transpose().map_err(|error| {
        Problem::new(Code::BadRequest, format!("`since` is not a time: {error}"))
            .help("write it as 2026-01-02T03:04:05Z")
    })?;
    let board = shared.orchestrator.board();
    let ids = match names.is_empty() {
        true => board.plan.ids().collect(),
        false => resolve(&board.plan, names)?,
    };
    let mut services: Vec<(Name, bool)> = Vec::new();
    for id in ids {
        let definition = &board.at(id).definition;
        if services.iter().all(|(name, _)| *name != definition.name) {
            services.push((definition.name.clone(), !is_managed(definition)));
        }
    }
    let usual = if since.is_some() { MOST_TAIL } else { USUAL_TAIL };
    Ok(Wanted { services, most: lines.tail.unwrap_or(usual).min(MOST_TAIL), since, told: Vec::new() })
}

/// What the managers of these services tell of their logs. One that cannot is an error only for who asks for nothing else.
async fn told(shared: &Shared, wanted: &Wanted) -> Result<Vec<view::LogLine>, Problem> {
    let (board, world) = (shared.orchestrator.board(), shared.orchestrator.world());
    let mut calls = JoinSet::new();
    for (name, _) in wanted.services.iter().filter(|(_, is_ours)| !is_ours) {
        let Some(definition) = board.entry(name).map(|entry| Arc::clone(&entry.definition)) else { continue };
        let (world, settings) = (world.clone(), board.plan.settings().clone());
        let (tail, since) = (wanted.most, wanted.since);
        calls.spawn(async move {
            let lines = manager::logs(&world, &settings, &definition, tail, since).await;
            lines.map_err(|why| format!("cannot read the log of `{}`: {why}", definition.name))
        });
    }
    let mut told = Vec::new();
    for lines in calls.join_all().await {
        match lines {
            Ok(lines) => told.extend(lines),
            Err(why) if wanted.services.len() == 1 => return Err(Problem::new(Code::Internal, why)),
            Err(why) => tracing::warn!(why, "a log is left out"),
        }
    }
    Ok(told)
}
