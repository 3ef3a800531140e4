//! The daemon itself: version, state, end.

use super::reply::{Asked, Data, Reply, Sent};
use crate::clock;
use crate::daemon::Shared;
use crate::orchestrator::{Verb, Wish};
use axum::extract::State;
use serde::Deserialize;
use service_api::{API_VERSION, Code, Problem, view};
use std::sync::Arc;
use tokio::runtime::Handle;

pub(super) async fn version() -> Data<view::Version> {
    Data(view::Version { version: env!("CARGO_PKG_VERSION").to_owned(), api: API_VERSION })
}

pub(super) async fn status(State(shared): State<Arc<Shared>>) -> Data<view::Daemon> {
    Data(describe(&shared))
}

fn describe(shared: &Shared) -> view::Daemon {
    let board = shared.orchestrator.board();
    view::Daemon {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        socket: shared.project.socket.display().to_string(),
        project: shared.project.config.display().to_string(),
        log: shared.project.log().display().to_string(),
        uptime_ms: clock::millis(clock::now().since(shared.began)),
        services_running: board.entries.iter().filter(|entry| entry.snapshot.state.is_alive()).count(),
        services: board.entries.len(),
        tasks: Handle::current().metrics().num_alive_tasks(),
        descriptors: crate::usage::descriptors(),
    }
}

/// `?services=true`.
#[derive(Deserialize)]
pub(super) struct Stop {
    #[serde(default)]
    services: bool,
}

/// Answers with how the daemon was, then ends it. The body says nothing and is read all the same: whoever is still sending
/// one when we hang up gets no answer.
pub(super) async fn stop(
    State(shared): State<Arc<Shared>>,
    Asked(stop): Asked<Stop>,
    Sent(_): Sent,
) -> Reply<view::Daemon> {
    if stop.services {
        let mut rows =
            shared.orchestrator.wish(Wish { all: true, ..Wish::new(Verb::Stop, Vec::new()) }).await?;
        let mut failed = Vec::new();
        while let Some(row) = rows.recv().await {
            failed.extend(row.error.map(|problem| problem.message));
        }
        if !failed.is_empty() {
            return Err(Problem::new(
                Code::StopFailed,
                format!("cannot stop the services: {}", failed.join("; ")),
            )
            .into());
        }
    }
    let answer = describe(&shared);
    shared.end.notify_one();
    Ok(Data(answer))
}
