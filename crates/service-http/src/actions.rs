//! Start, stop, restart: all rows at once, or one by one if the client accepts NDJSON.

use super::reply::{ErrorResponse, JsonBody, PathParam};
use super::request_origin::Actor;
use super::rows;
use super::state::ApiState;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::de::DeserializeOwned;
use service_api::redact::brief;
use service_api::{Code, Problem, routes};
use service_host::acceptance::not_asked;
use service_openapi::{
    ActionRows, Broken, Conflict, Malformed, NoService, NotStarted, Service, ServiceActionRequest, WrongFile,
    tag,
};
use service_orchestrator::lookup::resolve;
use service_orchestrator::request::{Propagate, Request, Verb, WaitPolicy};
use std::sync::Arc;
use std::time::Duration;

type Shares = State<Arc<ApiState>>;
type ActionResponse = Result<Response, ErrorResponse>;

/// Start services
///
/// Each service starts as soon as its dependencies have the required conditions. With `application/x-ndjson` each row
/// is sent as soon as it is known.
#[utoipa::path(
    post,
    path = routes::START,
    operation_id = "start_services",
    tag = tag::ACTIONS,
    request_body = service_api::ActionRequest,
    responses(ActionRows, Malformed, NoService, Conflict, WrongFile, Broken),
)]
pub(super) async fn start(
    api: Shares,
    actor: Actor,
    headers: HeaderMap,
    JsonBody(body): JsonBody,
) -> ActionResponse {
    run_action(api, actor, &headers, &body, Verb::Start).await
}

/// Stop services
///
/// Running dependents stop first. A stopped service has no processes.
#[utoipa::path(
    post,
    path = routes::STOP,
    operation_id = "stop_services",
    tag = tag::ACTIONS,
    request_body = service_api::ActionRequest,
    responses(ActionRows, Malformed, NoService, Conflict, Broken),
)]
pub(super) async fn stop(
    api: Shares,
    actor: Actor,
    headers: HeaderMap,
    JsonBody(body): JsonBody,
) -> ActionResponse {
    run_action(api, actor, &headers, &body, Verb::Stop).await
}

/// Restart services
///
/// Stops services in order, then starts them in order, with the active dependents. If a start would fail, the request
/// is refused as `start_failed` before any service is stopped.
#[utoipa::path(
    post,
    path = routes::RESTART,
    operation_id = "restart_services",
    tag = tag::ACTIONS,
    request_body = service_api::ActionRequest,
    responses(ActionRows, Malformed, NoService, Conflict, WrongFile, NotStarted, Broken),
)]
pub(super) async fn restart(
    api: Shares,
    actor: Actor,
    headers: HeaderMap,
    JsonBody(body): JsonBody,
) -> ActionResponse {
    run_action(api, actor, &headers, &body, Verb::Restart).await
}

/// Start the service in the path
///
/// Like the route for several services; the body is optional.
#[utoipa::path(
    post,
    path = routes::SERVICE_START,
    operation_id = "start_service",
    tag = tag::ACTIONS,
    params(Service),
    request_body = Option<ServiceActionRequest>,
    responses(ActionRows, Malformed, NoService, Conflict, WrongFile, Broken),
)]
pub(super) async fn start_one(
    api: Shares,
    actor: Actor,
    PathParam(name): PathParam<String>,
    headers: HeaderMap,
    JsonBody(body): JsonBody,
) -> ActionResponse {
    run_action_for(api, actor, name, &headers, &body, Verb::Start).await
}

/// Stop the service in the path
///
/// Like the route for several services; the body is optional.
#[utoipa::path(
    post,
    path = routes::SERVICE_STOP,
    operation_id = "stop_service",
    tag = tag::ACTIONS,
    params(Service),
    request_body = Option<ServiceActionRequest>,
    responses(ActionRows, Malformed, NoService, Conflict, Broken),
)]
pub(super) async fn stop_one(
    api: Shares,
    actor: Actor,
    PathParam(name): PathParam<String>,
    headers: HeaderMap,
    JsonBody(body): JsonBody,
) -> ActionResponse {
    run_action_for(api, actor, name, &headers, &body, Verb::Stop).await
}

/// Restart the service in the path
///
/// Like the route for several services; the body is optional.
#[utoipa::path(
    post,
    path = routes::SERVICE_RESTART,
    operation_id = "restart_service",
    tag = tag::ACTIONS,
    params(Service),
    request_body = Option<ServiceActionRequest>,
    responses(ActionRows, Malformed, NoService, Conflict, WrongFile, NotStarted, Broken),
)]
pub(super) async fn restart_one(
    api: Shares,
    actor: Actor,
    PathParam(name): PathParam<String>,
    headers: HeaderMap,
    JsonBody(body): JsonBody,
) -> ActionResponse {
    run_action_for(api, actor, name, &headers, &body, Verb::Restart).await
}

async fn run_action(
    State(api): Shares,
    actor: Actor,
    headers: &HeaderMap,
    body: &[u8],
    verb: Verb,
) -> ActionResponse {
    let request = read(body)?;
    match (request.names.is_empty(), request.all) {
        (true, false) => Err(bad("no services are named").help("fill `names`, or set `all` to true").into()),
        (false, true) => Err(bad("both `names` and `all` are given").help("use only one of the two").into()),
        _ => answer(&api, actor, headers, verb, request).await,
    }
}

async fn run_action_for(
    State(api): Shares,
    actor: Actor,
    name: String,
    headers: &HeaderMap,
    body: &[u8],
    verb: Verb,
) -> ActionResponse {
    let request = read(body)?;
    if request.all || !request.names.is_empty() {
        return Err(bad("the service is named in the path already")
            .help("leave `names` and `all` out")
            .into());
    }
    answer(&api, actor, headers, verb, service_api::ActionRequest { names: vec![name], ..request }).await
}

pub(super) fn read(body: &[u8]) -> Result<service_api::ActionRequest, Problem> {
    parse_optional_body(body, "an action request")
}

/// Parses the request in an optional body.
pub(super) fn parse_optional_body<T: DeserializeOwned + Default>(
    body: &[u8],
    what: &str,
) -> Result<T, Problem> {
    if body.is_empty() { Ok(T::default()) } else { parse_body(body, what) }
}

/// Parses the request in a body.
pub(super) fn parse_body<T: DeserializeOwned>(body: &[u8], what: &str) -> Result<T, Problem> {
    // serde would accept a list in place of a record, with items in the order of the fields.
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(bad(&format!("the body is not {what}: it should be a record, `{{ ... }}`")));
    }
    serde_json::from_slice(body)
        .map_err(|error| bad(&format!("the body is not {what}: {}", brief(&error.to_string()))))
}

pub(super) fn bad(message: &str) -> Problem {
    Problem::new(Code::BadRequest, message)
}

async fn answer(
    api: &Arc<ApiState>,
    actor: Actor,
    headers: &HeaderMap,
    verb: Verb,
    asked: service_api::ActionRequest,
) -> ActionResponse {
    match verb {
        Verb::Start | Verb::Restart | Verb::Update => api.refresh().await?,
        // An unreadable file must not prevent a stop.
        Verb::Stop => api.refresh().await.unwrap_or_default(),
    }
    check_hash(api, asked.if_hash.as_deref()).await?;
    match verb {
        Verb::Start | Verb::Restart | Verb::Update => {
            let plan = api.orchestrator.plan();
            let ids = if asked.all { plan.ids().collect() } else { resolve(&plan, &asked.names)? };
            api.refuse_second(&plan, &ids).await?;
            api.orchestrator.accept().await;
        }
        Verb::Stop => refuse_unknown(api, &asked.names)?,
    }
    let request = Request {
        all: asked.all,
        oneshots: asked.oneshots,
        relatives: asked.relatives.map(|along| if along { Propagate::Yes } else { Propagate::No }),
        wait: wait(asked.wait, asked.timeout_ms),
        ..Request::new(verb, asked.names)
    };
    let rows = api.orchestrator.request(request.by(actor.0)).await?;
    Ok(rows::outcomes(headers, rows).await)
}

/// Checks that the loaded content of the file has the hash of the request.
pub(super) async fn check_hash(api: &ApiState, hash: Option<&str>) -> Result<(), Problem> {
    let Some(hash) = hash else { return Ok(()) };
    let acceptance = Arc::clone(api.orchestrator.acceptance());
    let loaded = tokio::task::spawn_blocking(move || acceptance.hash_blocking()).await.ok().flatten();
    if loaded.as_deref() == Some(hash) {
        return Ok(());
    }
    let file = api.project.config.display();
    Err(Problem::new(
        Code::UntrustedFile,
        format!("cannot use `{file}`: it has changed since it was trusted"),
    )
    .help("read it again, then run `service trust`"))
}

/// Refuses a stop of a service in an unknown state: it must not be reported as stopped.
fn refuse_unknown(api: &ApiState, names: &[String]) -> Result<(), Problem> {
    let fleet = api.orchestrator.fleet_snapshot();
    match names.iter().find(|name| fleet.entry(name).is_some_and(|entry| entry.is_unknown())) {
        Some(name) => Err(not_asked(&format!("cannot stop `{name}`"))),
        None => Ok(()),
    }
}

pub(super) fn wait(wait: bool, timeout_ms: Option<u64>) -> WaitPolicy {
    match (wait, timeout_ms) {
        (false, _) => WaitPolicy::NoWait,
        (true, Some(millis)) => WaitPolicy::Timeout(Duration::from_millis(millis)),
        (true, None) => WaitPolicy::Unlimited,
    }
}
