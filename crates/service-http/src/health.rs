//! [`HealthReport`]: whether the daemon itself works, independent of the health of the services.

use super::state::{ApiState, Outdated};
use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, access};
use service_api::{DaemonHealth, Problem, daemon_health};
use service_core::health::Health;
use service_core::service::State;
use service_core::{Name, Snapshot};
use service_host::clock;
use service_host::procfs;
use service_orchestrator::snapshot::ServiceSnapshot;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

/// The timeout for a reply of the owner task. A turn takes microseconds.
const OWNER_TIMEOUT: Duration = Duration::from_secs(2);
/// A warning is reported when less than a tenth of the descriptors is free.
const FREE_DESCRIPTORS_DIVISOR: u64 = 10;
/// The maximum number of services in an unknown state that are named.
const MAX_NAMED_COUNT: usize = 3;

/// Failures (the daemon cannot work) and warnings (it can).
pub(super) struct HealthReport {
    pub(super) failures: Vec<String>,
    pub(super) warnings: Vec<String>,
}

/// Checks the journal, the disk, the zygote, the file and the descriptors.
pub(super) async fn self_check(api: &Arc<ApiState>) -> HealthReport {
    let state_dir = &api.project.state_dir;
    let journal = match ping_owner(api).await {
        Ok(error) => error.map(|why| format!("the journal cannot be written: {why}")),
        Err(error) => Some(error.to_string()),
    };
    let template = api.orchestrator.shims().zygote().ready().await.err();
    let template = template.map(|error| format!("no service can be started: {error}"));
    let failures = [journal, disk_space(state_dir), template].into_iter().flatten().collect();
    let definition = match api.refresh_for_reader(&[]).await {
        Ok(()) => None,
        Err(Outdated::Invalid(problem)) => {
            Some(format!("the previous definitions apply: {}", problem.message))
        }
        Err(Outdated::Loading) => {
            Some("the previous definitions apply: the changed file is being loaded".to_owned())
        }
    };
    let damage = api.orchestrator.paths().disk.damage();
    let warnings = [definition, descriptors(), disconnected_shims(api)]
        .into_iter()
        .flatten()
        .chain(damage)
        .chain(unknown_services(api))
        .collect();
    HealthReport { failures, warnings }
}

/// The services in an unknown state: the first few with the reason, and the number of the others.
fn unknown_services(api: &ApiState) -> Vec<String> {
    let fleet = api.orchestrator.fleet_snapshot();
    let why = |entry: &Arc<ServiceSnapshot>| {
        Some((entry.definition.name.clone(), entry.snapshot.state.unknown_because()?.to_owned()))
    };
    let all: Vec<(Name, String)> = fleet.entries.iter().filter_map(why).collect();
    let describe = |(name, why): &(Name, String)| format!("`{name}`: {why}");
    let more = all.len().saturating_sub(MAX_NAMED_COUNT);
    let rest = (more > 0).then(|| format!("{more} other services are unknown"));
    all.iter().take(MAX_NAMED_COUNT).map(describe).chain(rest).collect()
}

/// Why the owner task does not answer.
#[derive(Debug, Error)]
pub enum PingError {
    /// The owner task has ended.
    #[error("{}", .0.message)]
    Ended(Box<Problem>),
    /// The owner task is busy.
    #[error("the orchestrator does not answer within {} s", OWNER_TIMEOUT.as_secs())]
    Timeout,
}

/// Waits for the owner task. Returns the error of the journal, if there is one.
///
/// # Errors
/// The owner task does not reply in time.
pub async fn ping_owner(api: &ApiState) -> Result<Option<String>, PingError> {
    match tokio::time::timeout(OWNER_TIMEOUT, api.orchestrator.examine()).await {
        Ok(Ok(error)) => Ok(error),
        Ok(Err(problem)) => Err(PingError::Ended(Box::new(problem))),
        Err(_) => Err(PingError::Timeout),
    }
}

/// Why the state directory cannot be written, determined before the next event is written.
fn disk_space(state_dir: &Path) -> Option<String> {
    let shown = state_dir.display();
    if let Err(error) = access(state_dir, AccessFlags::W_OK) {
        return Some(format!("`{shown}` cannot be written: {}", error.desc().to_lowercase()));
    }
    let full = statvfs(state_dir).is_ok_and(|disk| disk.blocks() > 0 && disk.blocks_available() == 0);
    full.then(|| format!("the disk of `{shown}` is full"))
}

fn descriptors() -> Option<String> {
    let (open, most) = (procfs::count_descriptors() as u64, procfs::max_descriptors());
    (most - most / FREE_DESCRIPTORS_DIVISOR < open).then(|| format!("{open} of {most} descriptors are open"))
}

/// The services whose shims are alive but not connected, with the reason for the first one.
fn disconnected_shims(api: &ApiState) -> Option<String> {
    let fleet = api.orchestrator.fleet_snapshot();
    let mut found = fleet.entries.iter().filter_map(|entry| Some((entry, entry.out_of_reach.as_deref()?)));
    let (first, why) = found.next()?;
    let first = format!("`{}` is followed without a connection: {why}", first.definition.name);
    Some(match found.count() {
        0 => first,
        others => format!("{first}; so are {others} others"),
    })
}

/// The response to `GET /api/v1/health`, if there are no failures.
pub(super) fn daemon_health(api: &ApiState, warnings: Vec<String>) -> DaemonHealth {
    let fleet = api.orchestrator.fleet_snapshot();
    let count =
        |of: &dyn Fn(&Snapshot) -> bool| fleet.entries.iter().filter(|entry| of(&entry.snapshot)).count();
    DaemonHealth {
        status: if warnings.is_empty() { daemon_health::OK } else { daemon_health::DEGRADED }.to_owned(),
        warnings,
        uptime_ms: clock::millis(clock::now().since(api.began)),
        services: daemon_health::Services {
            defined: fleet.entries.len(),
            running: count(&|service| service.state.is_alive()),
            ready: count(&|service| matches!(service.state, State::Ready { .. })),
            unhealthy: count(&|service| service.health == Health::Unhealthy),
            failed: count(&|service| matches!(service.state, State::Failed { .. } | State::Backoff { .. })),
        },
    }
}
