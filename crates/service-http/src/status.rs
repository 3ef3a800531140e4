//! `status` (once, or streamed on each change) and `wait`.

use super::accept::takes_lines;
use super::current::NamesQuery;
use super::envelope_body::line;
use super::list_body;
use super::reply::{ErrorResponse, QueryParams, deserialize_count};
use super::rows;
use super::services::statuses;
use super::state::ApiState;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;
use service_api::redact::brief;
use service_api::{Code, Problem, routes};
use service_core::fleet::WaitCondition;
use service_openapi::{
    Awaited, Broken, Malformed, NoService, OutcomeRows, StatusTableAnswer, StatusesOnALine, tag,
};
use service_orchestrator::lookup::resolve;
use service_orchestrator::request::WaitRequest;
use service_orchestrator::snapshot::{FleetSnapshot, ServiceSnapshot};
use service_orchestrator::views::Detail;
use std::sync::Arc;
use std::time::Duration;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::WatchStream;
use utoipa::IntoParams;

/// The number of services whose rows are created together.
const BATCH_SIZE: usize = 16;

/// `?long=true&follow=true`.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct States {
    /// Add the fields of `Details`.
    #[serde(default)]
    #[param(default = false)]
    long: bool,
    /// Only as NDJSON: send the whole table as one line, at once and after every visible change.
    #[serde(default)]
    #[param(default = false, example = false)]
    follow: bool,
}

/// The state of several services
///
/// The states of the services; with `names`, only of the named services. A slow follower gets the newest table and
/// misses intermediate tables.
#[utoipa::path(
    get,
    path = routes::STATUS,
    operation_id = "status",
    tag = tag::SERVICES,
    params(NamesQuery, States),
    responses((status = 200, description = "a row for each service", content((StatusTableAnswer = "application/json"), (StatusesOnALine = routes::NDJSON))), Malformed, NoService, Broken),
)]
pub(super) async fn status(
    State(api): State<Arc<ApiState>>,
    QueryParams(names): QueryParams<NamesQuery>,
    QueryParams(states): QueryParams<States>,
    headers: HeaderMap,
) -> Result<Response, ErrorResponse> {
    // Running services are shown even if the file is unreadable.
    let names = names.list();
    let notes = api.notes(&names).await;
    let fleet = api.orchestrator.fleet_snapshot();
    resolve(&fleet.plan, &names)?;
    let detail = if states.long { Detail::Long } else { Detail::Short };
    match states.follow {
        true if !takes_lines(&headers) => Err(Problem::new(
            Code::BadRequest,
            "cannot follow in a single JSON \
                                                                              document",
        )
        .help("send `Accept: application/x-ndjson`")
        .into()),
        true => Ok(follow(api, names, detail)),
        false => {
            let chosen = (!names.is_empty()).then(|| entries(&fleet, &names));
            let batch = move |at| {
                let all = chosen.as_deref().unwrap_or(&fleet.entries);
                Some(statuses(&api, &fleet, all.get(at..)?.chunks(BATCH_SIZE).next()?, detail))
            };
            Ok(list_body::list_with(notes, (0..).step_by(BATCH_SIZE).map_while(batch).flatten()))
        }
    }
}

/// The whole table as one line, now and after every visible change. A watch channel holds only the newest snapshot, so
/// a slow reader misses intermediate states and uses no memory.
fn follow(api: Arc<ApiState>, names: Vec<String>, detail: Detail) -> Response {
    let mut shown = None;
    let tables = WatchStream::new(api.orchestrator.snapshots()).filter_map(move |fleet| {
        let entries = entries(&fleet, &names);
        let look = entries.iter().map(|entry| VisibleState::new(entry)).collect::<Vec<_>>();
        if shown.as_ref() == Some(&look) {
            return None;
        }
        shown = Some(look);
        Some(line(statuses(&api, &fleet, &entries, detail)))
    });
    rows::lines(tables)
}

/// The visible state of a service: all columns except those that change continuously.
#[derive(PartialEq)]
struct VisibleState {
    snapshot: service_core::Snapshot,
    pid: Option<u32>,
    /// The number of restarts by the manager.
    restarts: u32,
    reason: Option<String>,
}

impl VisibleState {
    fn new(entry: &ServiceSnapshot) -> Self {
        Self {
            snapshot: entry.snapshot.clone(),
            pid: entry.pid,
            restarts: entry.manager_info.restarts,
            reason: entry.reason(),
        }
    }
}

/// The named services; without names, all services. Services that were removed meanwhile are left out.
fn entries(fleet: &FleetSnapshot, names: &[String]) -> Vec<Arc<ServiceSnapshot>> {
    match names {
        [] => fleet.entries.clone(),
        names => names.iter().filter_map(|name| fleet.entry(name)).map(Arc::clone).collect(),
    }
}

/// `?for=ready&timeout_ms=1000`.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct WaitQuery {
    /// The awaited state.
    #[serde(rename = "for")]
    #[param(value_type = Awaited, required = false, default = "ready")]
    until: Option<String>,
    /// How long to wait, in milliseconds; absent: until the state is reached or can no longer be reached.
    #[serde(default, deserialize_with = "deserialize_count")]
    #[param(example = 1000, maximum = 9_007_199_254_740_991_u64)]
    timeout_ms: Option<u64>,
}

/// Wait for a state of services
///
/// Waits without starting services. Each service has a row: `ok`, or with an error `never` or `timeout`.
#[utoipa::path(
    get,
    path = routes::WAIT,
    operation_id = "wait_for",
    tag = tag::SERVICES,
    params(NamesQuery, WaitQuery),
    responses(OutcomeRows, Malformed, NoService, Broken),
)]
pub(super) async fn wait(
    QueryParams(names): QueryParams<NamesQuery>,
    QueryParams(waiting): QueryParams<WaitQuery>,
    headers: HeaderMap,
    State(api): State<Arc<ApiState>>,
) -> Result<Response, ErrorResponse> {
    // A request that waits may wait for the definitions, too. Without a valid file the previous ones apply.
    let _ = api.refresh().await;
    let watch = WaitRequest {
        names: names.list(),
        until: until(waiting.until.as_deref())?,
        limit: waiting.timeout_ms.map(Duration::from_millis),
    };
    let outcomes = api.orchestrator.watch(watch).await?;
    Ok(rows::outcomes(&headers, outcomes).await)
}

fn until(word: Option<&str>) -> Result<WaitCondition, Problem> {
    let Some(word) = word else { return Ok(WaitCondition::default()) };
    let known = WaitCondition::ALL.iter().find(|(known, _)| *known == word);
    known.map(|(_, until)| *until).ok_or_else(|| {
        let words = WaitCondition::ALL.map(|(word, _)| word).join(", ");
        Problem::new(Code::BadRequest, format!("cannot wait for `{}`", brief(word)))
            .help(format!("one of: {words}"))
    })
}
