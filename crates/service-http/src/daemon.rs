//! The routes of the daemon itself: version, state, health and stop.

use super::health::{self, HealthReport};
use super::reply::{Data, JsonBody, QueryParams, Reply};
use super::request_origin::Actor;
use super::state::ApiState;
use axum::extract::State;
use serde::Deserialize;
use service_api::{API_VERSION, Code, DaemonHealth, Problem, routes, view};
use service_host::clock;
use service_openapi::{
    Broken, Conflict, DaemonAnswer, DaemonHealthAnswer, Malformed, StopFailed, Unfit, VersionAnswer, tag,
};
use service_orchestrator::request::{Request, Verb};
use std::sync::Arc;
use tokio::runtime::Handle;
use utoipa::IntoParams;

/// Versions of daemon and API
///
/// A client and a daemon with the same `api` are compatible.
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
/// Socket, start time and resources.
#[utoipa::path(
    get,
    path = routes::DAEMON,
    operation_id = "daemon",
    tag = tag::DAEMON,
    responses((status = 200, description = "the status of the daemon", body = DaemonAnswer)),
)]
pub(super) async fn status(State(api): State<Arc<ApiState>>) -> Data<view::Daemon> {
    Data(describe(&api))
}

/// Whether the daemon can do its work
///
/// For a supervisor or a load balancer. The response also counts the services by state; their states have no influence
/// on the result.
#[utoipa::path(
    get,
    path = routes::HEALTH,
    operation_id = "daemon_health",
    tag = tag::DAEMON,
    responses((status = 200, description = "it can; `degraded` has warnings", body = DaemonHealthAnswer), Unfit),
)]
pub(super) async fn health(State(api): State<Arc<ApiState>>) -> Reply<DaemonHealth> {
    let HealthReport { failures, warnings } = health::self_check(&api).await;
    if failures.is_empty() {
        return Ok(Data(health::daemon_health(&api, warnings)));
    }
    let help = "services keep running; the daemon's log has the details";
    Err(Problem::new(Code::Unfit, format!("cannot do its work: {}", failures.join("; "))).help(help).into())
}

fn describe(api: &ApiState) -> view::Daemon {
    let fleet = api.orchestrator.fleet_snapshot();
    view::Daemon {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        socket: api.project.socket.display().to_string(),
        project: api.project.config.display().to_string(),
        // systemd's journal has the log of a unit.
        log: api.unit.as_ref().map_or_else(
            || api.project.log().display().to_string(),
            |unit| format!("journalctl --user --unit {unit}"),
        ),
        uptime_ms: clock::millis(clock::now().since(api.began)),
        services_running: fleet.entries.iter().filter(|entry| entry.snapshot.state.is_alive()).count(),
        services: fleet.entries.len(),
        listen: api.tcp_address.lock().map(|address| address.clone()).unwrap_or_default(),
        tasks: Handle::current().metrics().num_alive_tasks(),
        descriptors: service_host::procfs::count_descriptors(),
        unit: api.unit.clone(),
    }
}

/// `?services=true`.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct StopQuery {
    /// Stop the services first.
    #[serde(default)]
    #[param(default = false, example = false)]
    services: bool,
}

/// End the daemon
///
/// Without `services`, services keep running. Returns the last status of the daemon, then ends it.
#[utoipa::path(
    post,
    path = routes::DAEMON_STOP,
    operation_id = "stop_daemon",
    tag = tag::DAEMON,
    params(StopQuery),
    responses((status = 200, description = "the last status of the daemon", body = DaemonAnswer), Malformed, Conflict, StopFailed, Broken),
)]
pub(super) async fn stop(
    State(api): State<Arc<ApiState>>,
    Actor(by): Actor,
    QueryParams(stop): QueryParams<StopQuery>,
    // The body is ignored, but it must be read: a client that is still sending when the connection closes gets no
    // response.
    JsonBody(_): JsonBody,
) -> Reply<view::Daemon> {
    if stop.services {
        let request = Request { all: true, ..Request::new(Verb::Stop, Vec::new()) };
        let request = request.for_command("service daemon stop --services").by(by);
        let mut rows = api.orchestrator.request(request).await?;
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
    let answer = describe(&api);
    api.stop.notify_one();
    Ok(Data(answer))
}
