//! Logs: of one service or of many, in one answer or line by line, what is there or also what comes.

use super::accept::takes_lines;
use super::openapi::{Broken, LogLineOnALine, LogLinesAnswer, Malformed, NoService, Service, Untold, tag};
use super::reply::{Asked, Failure, Named, count, size};
use super::services::Names;
use super::state::ApiState;
use crate::host::acceptance::not_asked;
use crate::host::descriptors::{DescriptorBudget, NoDescriptors, RAISE_LIMIT_HELP};
use crate::logs::{Form, Managed, Reading, Wanted};
use crate::lookup::resolve;
use crate::manager::{self, Ask, LogCursor, News};
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::Deserialize;
use service_api::{Code, Problem, routes};
use service_core::Name;
use std::io;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio::sync::mpsc::channel;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use utoipa::IntoParams;

/// Lines of a log when nothing else is asked.
const USUAL_TAIL: usize = 1_000;

/// `?tail=100&since=2026-01-02T03:04:05Z&follow=true`.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Lines {
    /// Of each service the last so many. Absent: 1000, or with `since` as many as there are.
    #[serde(default, deserialize_with = "count")]
    #[param(example = 100, maximum = 9_007_199_254_740_991_u64)]
    tail: Option<u64>,
    /// None from before.
    #[param(format = DateTime, example = "2026-01-02T03:04:05Z")]
    since: Option<String>,
    /// As NDJSON alone: go on with what is written.
    #[serde(default)]
    #[param(default = false, example = false)]
    follow: bool,
}

/// The log of one service
///
/// The last lines of it, or those since a time. A reader sets the pace: nothing waits in memory for it.
#[utoipa::path(
    get,
    path = routes::SERVICE_LOGS,
    operation_id = "service_logs",
    tag = tag::LOGS,
    params(Service, Lines),
    responses(
        (status = 200, description = "line by line, the oldest first", content(
            (LogLinesAnswer = "application/json"), (LogLineOnALine = routes::NDJSON),
        )),
        Malformed, NoService, Untold, Broken,
    ),
)]
pub(super) async fn one(
    api: State<Arc<ApiState>>,
    Named(name): Named<String>,
    Asked(lines): Asked<Lines>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    answer(api, vec![name], lines, &headers).await
}

/// The logs of many services
///
/// Merged by time; `tail` counts the lines of each. A reader sets the pace: nothing waits in memory for it.
#[utoipa::path(
    get,
    path = routes::LOGS,
    operation_id = "logs",
    tag = tag::LOGS,
    params(Names, Lines),
    responses(
        (status = 200, description = "line by line, the oldest first", content(
            (LogLinesAnswer = "application/json"), (LogLineOnALine = routes::NDJSON),
        )),
        Malformed, NoService, Untold, Broken,
    ),
)]
pub(super) async fn many(
    api: State<Arc<ApiState>>,
    Asked(names): Asked<Names>,
    Asked(lines): Asked<Lines>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    answer(api, names.list(), lines, &headers).await
}

async fn answer(
    State(api): State<Arc<ApiState>>,
    names: Vec<String>,
    lines: Lines,
    headers: &HeaderMap,
) -> Result<Response, Failure> {
    let _ = api.refresh().await;
    let follow = lines.follow;
    let by_line = takes_lines(headers);
    if follow && !by_line {
        return Err(Problem::new(Code::BadRequest, "cannot follow in one answer")
            .help("send `Accept: application/x-ndjson`")
            .into());
    }
    let wanted = wanted(&api, &names, &lines)?;
    let desks = sit(&wanted, follow).await?;
    let managed = managed(&api, &wanted, follow).await?;
    let paths = api.orchestrator.paths();
    let form = if by_line { Form::Lines } else { Form::List };
    let cannot = |error: io::Error| Problem::new(Code::Internal, format!("cannot read the logs: {error}"));
    let reading =
        Reading::open(paths, &api.log_watcher, wanted, managed, form, follow).await.map_err(cannot)?;
    let (reader, pieces) = channel(1);
    // It ends with the answer, whose other end it sees, or with the owner of the fleet.
    tokio::spawn(async move {
        reading.send(reader, api.orchestrator.closed()).await;
        drop(desks);
    });
    let media_type = if by_line { routes::NDJSON } else { "application/json" };
    Ok(([(CONTENT_TYPE, media_type)], Body::from_stream(ReceiverStream::new(pieces))).into_response())
}

/// Logs that are open for readers at the same time, for those who follow and for those who do not: each has files open and
/// lines in memory.
const MOST: usize = 256;
static FOLLOWED: LazyLock<Arc<Semaphore>> = LazyLock::new(desks);
static READ: LazyLock<Arc<Semaphore>> = LazyLock::new(desks);
/// How long a reader waits for others to end.
const WAITS: Duration = Duration::from_secs(5);

fn desks() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(DescriptorBudget::now().logs(MOST)))
}

/// Room for these logs, or a word that there is none.
async fn sit(wanted: &Wanted, follow: bool) -> Result<OwnedSemaphorePermit, Problem> {
    let most = DescriptorBudget::now().logs(MOST);
    if most < MOST && wanted.services.len() > most {
        // More are read at once only where there are descriptors enough for that.
        let few = format!("cannot read more than {most} logs at once: {}", NoDescriptors::now());
        return Err(Problem::new(Code::Busy, few).help(format!("name fewer services, or {RAISE_LIMIT_HELP}")));
    }
    let needed = u32::try_from(wanted.services.len().clamp(1, most)).unwrap_or(1);
    let desks = Arc::clone(if follow { &FOLLOWED } else { &READ });
    let free = desks.acquire_many_owned(needed);
    let sits = tokio::time::timeout(WAITS, free).await.map(Result::ok);
    sits.ok().flatten().ok_or_else(|| {
        Problem::new(Code::Busy, "cannot read the logs for one more client: too many read them already")
            .help("name fewer services, or ask again")
    })
}

fn wanted(api: &ApiState, names: &[String], lines: &Lines) -> Result<Wanted, Problem> {
    let since = lines.since.as_deref().map(str::parse::<Timestamp>).transpose().map_err(|error| {
        Problem::new(Code::BadRequest, format!("`since` is not a time: {error}"))
            .help("write it as 2026-01-02T03:04:05Z")
    })?;
    let board = api.orchestrator.board();
    let ids = match names.is_empty() {
        true => board.plan.ids().collect(),
        false => resolve(&board.plan, names)?,
    };
    let mut services: Vec<(Name, bool)> = Vec::new();
    for id in ids {
        let definition = &board.at(id).definition;
        if services.iter().all(|(name, _)| *name != definition.name) {
            services.push((definition.name.clone(), !definition.is_managed()));
        }
    }
    let usual = if since.is_some() { usize::MAX } else { USUAL_TAIL };
    Ok(Wanted { services, most: lines.tail.map_or(usual, size), since })
}

/// What the managers of these services tell of their logs. One that cannot is an error only for who asks for nothing else.
async fn managed(api: &Arc<ApiState>, wanted: &Wanted, follow: bool) -> Result<Managed, Problem> {
    let (board, managers) = (api.orchestrator.board(), api.orchestrator.managers());
    let ask = Ask { tail: wanted.most, since: wanted.since };
    let mut calls = JoinSet::new();
    for (name, _) in wanted.services.iter().filter(|(_, is_ours)| !is_ours) {
        let Some(entry) = board.entry(name) else { continue };
        let definition = Arc::clone(&entry.definition);
        if !entry.snapshot.state.is_alive() && !api.orchestrator.acceptance().covers(&definition) {
            let problem = not_asked(&format!("cannot read the log of `{name}`"));
            calls.spawn(async move { (definition.name.clone(), Err(problem)) });
            continue;
        }
        let (managers, settings) = (managers.clone(), board.plan.settings().clone());
        calls.spawn(async move {
            let told = match follow {
                true => manager::begin(&managers, &settings, &definition, ask).await,
                false => manager::logs(&managers, &settings, &definition, ask).await,
            };
            (definition.name.clone(), told)
        });
    }
    let (mut records, mut followed) = (Vec::new(), Vec::new());
    for (name, told) in calls.join_all().await {
        let (record, seen) = match told {
            Ok(Some((record, seen))) => (Some(record), seen),
            Ok(None) => continue,
            Err(problem) if wanted.services.len() == 1 => return Err(problem),
            Err(problem) => {
                tracing::warn!(why = problem.message, "a log is left out");
                (None, LogCursor::default())
            }
        };
        records.push((name.clone(), record));
        followed.push((name, seen));
    }
    let api = Arc::clone(api);
    let defined = move |name: &Name| {
        let board = api.orchestrator.board();
        let definition = Arc::clone(&board.entry(name)?.definition);
        Some((definition, board.plan.settings().clone()))
    };
    let news = (follow && !followed.is_empty()).then(|| News::follow(managers, followed, defined));
    Ok(Managed { records, news })
}
