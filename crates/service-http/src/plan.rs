//! Plan and apply: the difference between the file and the running services, and its execution.

use super::actions::{check_hash, parse_optional_body, wait};
use super::reply::{Data, ErrorResponse, JsonBody, Reply};
use super::request_origin::Actor;
use super::rows;
use super::state::ApiState;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use service_api::{routes, view};
use service_core::change::Change;
use service_openapi::{Broken, ChangesAnswer, Conflict, Malformed, NotStarted, OutcomeRows, WrongFile, tag};
use service_orchestrator::request::{ApplyOptions, ON_BEHALF};
use std::sync::Arc;
use tokio::sync::mpsc::unbounded_channel;

/// The changes that an apply would make
///
/// The difference to the running services, with a row for each service, even without a change. `warnings` are the
/// reasons why an apply would be refused.
#[utoipa::path(
    get,
    path = routes::PLAN,
    operation_id = "plan",
    tag = tag::ACTIONS,
    responses((status = 200, description = "a row for each service", body = ChangesAnswer), WrongFile, Broken),
)]
pub(super) async fn plan(State(api): State<Arc<ApiState>>) -> Reply<Vec<view::Change>> {
    let plan = api.definitions.plan().await?;
    let changes = api.orchestrator.preview(plan).await?;
    Ok(Data(changes.into_iter().map(|(found, warnings)| change(found, warnings)).collect()))
}

fn change(change: Change, warnings: Vec<String>) -> view::Change {
    view::Change {
        service: change.name.to_string(),
        change: change.kind.as_str().to_owned(),
        because: change.keys.into_iter().map(str::to_owned).collect(),
        affects: change.affects.iter().map(ToString::to_string).collect(),
        warnings,
    }
}

/// Apply the changed `services.toml`
///
/// Makes the changes of the plan: stops removed services, updates others, restarts others with their dependents, and
/// starts dependencies. The apply continues if the client disconnects. Concurrent applies run one after the other. If a
/// start would fail, the apply is refused as `start_failed` before any service is stopped.
#[utoipa::path(
    post,
    path = routes::APPLY,
    operation_id = "apply",
    tag = tag::ACTIONS,
    request_body = Option<service_api::ApplyRequest>,
    responses(OutcomeRows, Malformed, Conflict, WrongFile, NotStarted, Broken),
)]
pub(super) async fn apply(
    State(api): State<Arc<ApiState>>,
    Actor(by): Actor,
    headers: HeaderMap,
    JsonBody(body): JsonBody,
) -> Result<Response, ErrorResponse> {
    let asked: service_api::ApplyRequest = parse_optional_body(&body, "an apply")?;
    let lock = Arc::clone(&api.applying).lock_owned().await;
    let how = ApplyOptions {
        start: asked.start,
        rollback: asked.rollback,
        wait: wait(true, asked.timeout_ms),
        by: by.clone(),
    };
    // If the file changes during the check, the new content is checked.
    let mut rows = loop {
        // From here on the file counts as loaded. After a rollback it is loaded again only after another change.
        ON_BEHALF.scope(by.clone(), api.refresh()).await?;
        check_hash(&api, asked.if_hash.as_deref()).await?;
        api.orchestrator.accept().await;
        let (written, plan) = api.definitions.read().await?;
        api.refuse_second(&plan, &plan.ids().collect::<Vec<_>>()).await?;
        let apply_revision = api.definitions.apply_revision(&api.orchestrator, &written);
        let begun = api.orchestrator.apply(plan, how.clone(), apply_revision);
        if let Some(rows) = ON_BEHALF.scope(by.clone(), begun).await? {
            break rows;
        }
    };
    let (forward, receiver) = unbounded_channel();
    // The task ends with the apply, even if the client disconnects, and blocks other applies until then.
    tokio::spawn(async move {
        let _lock = lock;
        while let Some(row) = rows.recv().await {
            let _ = forward.send(row);
        }
        let complete = api.definitions.restore_additions(&api.orchestrator);
        if let Err(problem) = ON_BEHALF.scope(by, complete).await {
            tracing::warn!(%problem, "cannot define the added services again");
        }
    });
    Ok(rows::outcomes(&headers, receiver).await)
}
