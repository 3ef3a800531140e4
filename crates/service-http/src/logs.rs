//! The routes of logs of one or several services: in one response or line by line, with or without new lines.

use super::accept::takes_lines;
use super::current::{CurrentOrLast, NamesQuery};
use super::envelope_body::EnvelopeForm;
use super::log_stream::{LogReaders, LogRequest, LogStream, MAX_OPEN_LOG_COUNT, ManagerLogs};
use super::reply::{ErrorResponse, PathParam, QueryParams, deserialize_count, to_usize};
use super::state::ApiState;
use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::Deserialize;
use service_api::{Code, Problem, routes};
use service_core::Name;
use service_host::acceptance::not_asked;
use service_host::descriptors::{DescriptorBudget, NoDescriptors, RAISE_LIMIT_HELP};
use service_manager::{self as manager, Ask, FollowStep, LogCursor, News, NextStep};
use service_openapi::{Broken, LogRows, Malformed, NoService, Service, Untold, tag};
use service_orchestrator::lookup::resolve;
use service_orchestrator::snapshot::ServiceSnapshot;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::channel;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use utoipa::IntoParams;

/// The default number of lines of a log.
const DEFAULT_TAIL: usize = 1_000;

/// `?tail=100&since=2026-01-02T03:04:05Z&follow=true`.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct LogParameters {
    /// Number of last lines of each service. Absent: 1000, or all with `since`.
    #[serde(default, deserialize_with = "deserialize_count")]
    #[param(example = 100, maximum = 9_007_199_254_740_991_u64)]
    tail: Option<u64>,
    /// Only lines from this time on.
    #[param(format = DateTime, example = "2026-01-02T03:04:05Z")]
    since: Option<String>,
    /// Only as NDJSON: continue with new lines.
    #[serde(default)]
    #[param(default = false, example = false)]
    follow: bool,
}

/// The log of one service
///
/// The last lines, or the lines since a time. Lines are read as fast as the client receives them, without buffering in
/// memory.
#[utoipa::path(
    get,
    path = routes::SERVICE_LOGS,
    operation_id = "service_logs",
    tag = tag::LOGS,
    params(Service, LogParameters),
    responses(
        LogRows,
        Malformed, NoService, Untold, Broken,
    ),
)]
pub(super) async fn one(
    PathParam(name): PathParam<String>,
    QueryParams(lines): QueryParams<LogParameters>,
    headers: HeaderMap,
    CurrentOrLast(api): CurrentOrLast,
) -> Result<Response, ErrorResponse> {
    answer(api, vec![name], lines, &headers).await
}

/// The logs of several services
///
/// The lines are merged by time; `tail` counts the lines of each service. Lines are read as fast as the client receives
/// them, without buffering in memory.
#[utoipa::path(
    get,
    path = routes::LOGS,
    operation_id = "logs",
    tag = tag::LOGS,
    params(NamesQuery, LogParameters),
    responses(
        LogRows,
        Malformed, NoService, Untold, Broken,
    ),
)]
pub(super) async fn many(
    QueryParams(names): QueryParams<NamesQuery>,
    QueryParams(lines): QueryParams<LogParameters>,
    headers: HeaderMap,
    CurrentOrLast(api): CurrentOrLast,
) -> Result<Response, ErrorResponse> {
    answer(api, names.list(), lines, &headers).await
}

async fn answer(
    api: Arc<ApiState>,
    names: Vec<String>,
    lines: LogParameters,
    headers: &HeaderMap,
) -> Result<Response, ErrorResponse> {
    let follow = lines.follow;
    let by_line = takes_lines(headers);
    if follow && !by_line {
        return Err(Problem::new(Code::BadRequest, "cannot follow in a single JSON document")
            .help("send `Accept: application/x-ndjson`")
            .into());
    }
    let request = parse_log_request(&api, &names, &lines)?;
    let permits = acquire(&api.log_readers, &request, follow).await?;
    let managed = read_manager_logs(&api, &request, follow).await?;
    let paths = api.orchestrator.paths();
    let form = if by_line { EnvelopeForm::Lines } else { EnvelopeForm::List };
    let cannot = |error: io::Error| Problem::from_io(&error, format!("cannot read the logs: {error}"));
    let stream =
        LogStream::open(&api.log_readers, paths, request, managed, form, follow).await.map_err(cannot)?;
    let (reader, chunks) = channel(1);
    // The task ends when the receiver of the response is dropped, or with the owner task.
    tokio::spawn(async move {
        stream.send(reader, api.orchestrator.closed()).await;
        drop(permits);
    });
    let media_type = if by_line { routes::NDJSON } else { "application/json" };
    Ok(([(CONTENT_TYPE, media_type)], Body::from_stream(ReceiverStream::new(chunks))).into_response())
}

/// The maximum time for which a reader waits for a permit.
const PERMIT_TIMEOUT: Duration = Duration::from_secs(5);

/// A permit for each of these logs.
///
/// # Errors
/// [`Code::Busy`] if there are not enough permits.
async fn acquire(
    readers: &LogReaders,
    request: &LogRequest,
    follow: bool,
) -> Result<OwnedSemaphorePermit, Problem> {
    let most = DescriptorBudget::now().logs(MAX_OPEN_LOG_COUNT);
    if most < MAX_OPEN_LOG_COUNT && request.services.len() > most {
        // With few descriptors, there may be fewer permits than logs.
        let few = format!("cannot read more than {most} logs at once: {}", NoDescriptors::now());
        return Err(Problem::new(Code::Busy, few).help(format!("name fewer services, or {RAISE_LIMIT_HELP}")));
    }
    let needed = u32::try_from(request.services.len().clamp(1, most)).unwrap_or(1);
    let permits = if follow { &readers.follow_permits } else { &readers.read_permits };
    let acquired = Arc::clone(permits).acquire_many_owned(needed);
    let acquired = tokio::time::timeout(PERMIT_TIMEOUT, acquired).await.map(Result::ok);
    acquired.ok().flatten().ok_or_else(|| {
        Problem::new(Code::Busy, "cannot read the logs: too many clients read logs")
            .help("name fewer services, or try again")
    })
}

fn parse_log_request(api: &ApiState, names: &[String], lines: &LogParameters) -> Result<LogRequest, Problem> {
    let since = lines.since.as_deref().map(str::parse::<Timestamp>).transpose().map_err(|error| {
        Problem::new(Code::BadRequest, format!("`since` is not a time: {error}"))
            .help("write it as 2026-01-02T03:04:05Z")
    })?;
    let fleet = api.orchestrator.fleet_snapshot();
    let ids = match names.is_empty() {
        true => fleet.plan.ids().collect(),
        false => resolve(&fleet.plan, names)?,
    };
    let mut services: Vec<(Name, bool)> = Vec::new();
    for id in ids {
        let definition = &fleet.at(id).definition;
        if services.iter().all(|(name, _)| *name != definition.name) {
            services.push((definition.name.clone(), !definition.is_managed()));
        }
    }
    let usual = if since.is_some() { usize::MAX } else { DEFAULT_TAIL };
    Ok(LogRequest { services, max_lines: lines.tail.map_or(usual, to_usize), since })
}

/// Requests logs from the managers of these services. A failing manager is an error only if no other service is
/// requested.
async fn read_manager_logs(
    api: &Arc<ApiState>,
    request: &LogRequest,
    follow: bool,
) -> Result<ManagerLogs, Problem> {
    let (fleet, managers) = (api.orchestrator.fleet_snapshot(), api.orchestrator.managers());
    let ask = Ask { tail: request.max_lines, since: request.since };
    let mut calls = JoinSet::new();
    for (name, _) in request.services.iter().filter(|(_, is_own)| !is_own) {
        let Some(entry) = fleet.entry(name) else { continue };
        let definition = Arc::clone(&entry.definition);
        if !may_ask(api, entry).await {
            let problem = not_asked(&format!("cannot read the log of `{name}`"));
            calls.spawn(async move { (definition.name.clone(), Err(problem)) });
            continue;
        }
        let (managers, settings) = (managers.clone(), fleet.plan.settings().clone());
        calls.spawn(async move {
            let read = match follow {
                true => manager::begin(&managers, &settings, &definition, ask).await,
                false => manager::logs(&managers, &settings, &definition, ask).await,
            };
            (definition.name.clone(), read)
        });
    }
    let (mut records, mut followed) = (Vec::new(), Vec::new());
    for (name, read) in calls.join_all().await {
        let (record, seen) = match read {
            Ok(Some((record, seen))) => (Some(record), seen),
            Ok(None) => continue,
            Err(problem) if request.services.len() == 1 => return Err(problem),
            Err(problem) => {
                tracing::warn!(why = problem.message, "a log is omitted");
                (None, LogCursor::default())
            }
        };
        records.push((name.clone(), record));
        followed.push((name, seen));
    }
    let api = Arc::clone(api);
    let next_step: NextStep = Arc::new(move |name| Box::pin(next_step(Arc::clone(&api), name)));
    let new_lines = (follow && !followed.is_empty()).then(|| News::follow(managers, followed, &next_step));
    Ok(ManagerLogs { records, new_lines })
}

async fn next_step(api: Arc<ApiState>, name: Name) -> FollowStep {
    let fleet = api.orchestrator.fleet_snapshot();
    match fleet.entry(&name).filter(|entry| entry.definition.is_managed()) {
        Some(entry) if may_ask(&api, entry).await => {
            FollowStep::Ask(Arc::clone(&entry.definition), fleet.plan.settings().clone())
        }
        Some(_) => FollowStep::Wait,
        None => FollowStep::End,
    }
}

/// Whether the manager of a service may be queried for the log. The query runs commands of the file.
async fn may_ask(api: &ApiState, entry: &ServiceSnapshot) -> bool {
    entry.snapshot.state.is_alive() || api.orchestrator.acceptance().covers(&entry.definition).await
}
