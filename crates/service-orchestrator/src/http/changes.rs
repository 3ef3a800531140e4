//! What the file of now would change about what runs, and doing it.

use super::reply::{Data, Failure, Reply, Sent};
use super::rows;
use super::wishes::patience;
use crate::daemon::Shared;
use crate::load;
use crate::orchestrator::Apply;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use service_api::{Code, Problem, view};
use service_core::change::Change;
use std::sync::Arc;
use tokio::sync::mpsc::unbounded_channel;

pub(super) async fn plan(State(shared): State<Arc<Shared>>) -> Reply<Vec<view::Change>> {
    let plan = load::plan(&shared.project.config)?;
    let comparison = shared.orchestrator.compare(plan).await?;
    Ok(Data(comparison.changes.into_iter().map(change).collect()))
}

fn change(change: Change) -> view::Change {
    view::Change {
        service: change.name.to_string(),
        change: change.kind.word().to_owned(),
        because: change.keys.into_iter().map(str::to_owned).collect(),
        affects: change.affects.iter().map(ToString::to_string).collect(),
    }
}

pub(super) async fn apply(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Sent(body): Sent,
) -> Result<Response, Failure> {
    let asked = if body.is_empty() {
        service_api::Apply::default()
    } else {
        serde_json::from_slice(&body)
            .map_err(|error| Problem::new(Code::BadRequest, format!("the body is not an apply: {error}")))?
    };
    let lock = Arc::clone(&shared.applying).lock_owned().await;
    // The file counts as taken up from here on, so that going back lasts until it changes again.
    shared.refresh().await?;
    let plan = load::plan(&shared.project.config)?;
    let how =
        Apply { start: asked.start, rollback: asked.rollback, patience: patience(true, asked.timeout_ms) };
    let mut rows = shared.orchestrator.apply(plan, how).await?;
    let (forward, receiver) = unbounded_channel();
    // Ends with the apply, and keeps others waiting until then, also when nobody reads.
    tokio::spawn(async move {
        let _lock = lock;
        while let Some(row) = rows.recv().await {
            let _ = forward.send(row);
        }
    });
    Ok(rows::outcomes(&headers, receiver).await)
}
