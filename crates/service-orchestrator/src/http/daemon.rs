//! The daemon itself: version, state, health, end.

use super::actor::Actor;
use super::document::{
    Broken, Conflict, DaemonAnswer, Malformed, StopFailed, Unfit, VersionAnswer, VitalsAnswer, tag,
};
use super::reply::{Asked, Data, Reply, Sent};
use crate::daemon::Shared;
use crate::host::clock;
use crate::orchestrator::{Verb, Wish};
use crate::selfcheck::{self, Examination};
use axum::extract::State;
use serde::Deserialize;
use service_api::{API_VERSION, Code, Problem, Vitals, routes, view};
use std::sync::Arc;
use tokio::runtime::Handle;
use utoipa::IntoParams;

/// Versions of daemon and API
///
/// A client and a daemon with the same `api` understand each other.
#[utoipa::path(
    get,
    path = routes::VERSION,
    operation_id = "version",
    tag = tag::DAEMON,
    responses((status = 200, description = "both versions", body = VersionAnswer)),
)]
pub(super) async fn version() -> Data<view::Version> {
    Data(view::Version { version: env!("CARGO_PKG_VERSION").to_owned(), api: API_VERSION })
}

/// The daemon itself
///
/// Where it lives, since when, and what it holds.
#[utoipa::path(
    get,
    path = routes::DAEMON,
    operation_id = "daemon",
    tag = tag::DAEMON,
    responses((status = 200, description = "how it is", body = DaemonAnswer)),
)]
pub(super) async fn status(State(shared): State<Arc<Shared>>) -> Data<view::Daemon> {
    Data(describe(&shared))
}

/// Whether the daemon can do its work
///
/// For a supervisor or a load balancer. How its services are is counted, and decides nothing.
#[utoipa::path(
    get,
    path = routes::HEALTH,
    operation_id = "daemon_health",
    tag = tag::DAEMON,
    responses((status = 200, description = "it can; `degraded` has doubts that somebody should look at", body = VitalsAnswer), Unfit),
)]
pub(super) async fn health(State(shared): State<Arc<Shared>>) -> Reply<Vitals> {
    let Examination { faults, doubts } = selfcheck::examine(&shared).await;
    if faults.is_empty() {
        return Ok(Data(selfcheck::vitals(&shared, doubts)));
    }
    let help = "services run on meanwhile; the daemon's log tells more";
    Err(Problem::new(Code::Unfit, format!("cannot do all of its work: {}", faults.join("; ")))
        .help(help)
        .into())
}

fn describe(shared: &Shared) -> view::Daemon {
    let board = shared.orchestrator.board();
    view::Daemon {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        socket: shared.project.socket.display().to_string(),
        project: shared.project.config.display().to_string(),
        // What a unit says is kept by systemd.
        log: shared.unit.as_ref().map_or_else(
            || shared.project.log().display().to_string(),
            |unit| format!("journalctl --user --unit {unit}"),
        ),
        uptime_ms: clock::millis(clock::now().since(shared.began)),
        services_running: board.entries.iter().filter(|entry| entry.snapshot.state.is_alive()).count(),
        services: board.entries.len(),
        listen: shared.listen.lock().map(|listen| listen.clone()).unwrap_or_default(),
        tasks: Handle::current().metrics().num_alive_tasks(),
        descriptors: crate::host::procfs::count_descriptors(),
        unit: shared.unit.clone(),
    }
}

/// `?services=true`.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Stop {
    /// Stop the services first.
    #[serde(default)]
    #[param(default = false, example = false)]
    services: bool,
}

/// End the daemon
///
/// Services live on unless `services` says otherwise. Answers with how the daemon was, then ends it.
#[utoipa::path(
    post,
    path = routes::DAEMON_STOP,
    operation_id = "stop_daemon",
    tag = tag::DAEMON,
    params(Stop),
    responses((status = 200, description = "how it was", body = DaemonAnswer), Malformed, Conflict, StopFailed, Broken),
)]
pub(super) async fn stop(
    State(shared): State<Arc<Shared>>,
    Actor(by): Actor,
    Asked(stop): Asked<Stop>,
    // It says nothing and is read all the same: whoever is still sending it when we hang up gets no answer.
    Sent(_): Sent,
) -> Reply<view::Daemon> {
    if stop.services {
        let wish = Wish { all: true, ..Wish::new(Verb::Stop, Vec::new()) };
        let wish = wish.for_command("service daemon stop --services").by(by);
        let mut rows = shared.orchestrator.wish(wish).await?;
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
