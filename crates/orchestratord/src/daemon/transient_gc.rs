//! Removes transient services some time after they have become inactive.

use service_core::config::Origin;
use service_core::service::{Goal, State};
use service_core::{Id, Moment, Name};
use service_host::clock;
use service_http::ApiState;
use service_orchestrator::snapshot::FleetSnapshot;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The minimum time to live of a service that has never run, because its start is about to be requested.
const MIN_NEVER_RUN_TTL: Duration = Duration::from_mins(1);
/// The delay after a failed removal, for example with a full disk.
const RETRY_DELAY: Duration = Duration::from_secs(10);

/// Removes expired transient services. Returns when the orchestrator has ended.
pub(super) async fn run(api: Arc<ApiState>) {
    let mut boards = api.orchestrator.snapshots();
    let mut inactive_since: BTreeMap<Name, Moment> = BTreeMap::new();
    loop {
        let fleet = Arc::clone(&boards.borrow_and_update());
        let now = clock::now();
        let inactive: BTreeMap<Name, Duration> =
            fleet.plan.ids().filter_map(|id| inactive_transient(&fleet, id)).collect();
        inactive_since.retain(|name, _| inactive.contains_key(name));
        for name in inactive.keys() {
            inactive_since.entry(name.clone()).or_insert(now);
        }
        let due = |name: &Name, since: Moment| since.plus(inactive[name]);
        let expired: Vec<Name> = inactive_since
            .iter()
            .filter(|(name, since)| due(name, **since) <= now)
            .map(|(name, _)| name.clone())
            .collect();
        let mut next =
            inactive_since.iter().map(|(name, since)| due(name, *since)).filter(|at| *at > now).min();
        if !expired.is_empty() {
            match api.remove(expired).await {
                Ok(_) => continue,
                Err(error) => {
                    tracing::warn!(%error, "cannot remove the transient services that have ended");
                    next = Some(now.plus(RETRY_DELAY));
                }
            }
        }
        tokio::select! {
            changed = boards.changed() => if changed.is_err() { return },
            () = clock::sleep_until(next) => {}
        }
    }
}

/// The name and the time to live of a service, if it is transient, inactive, and no dependency of another.
pub(super) fn inactive_transient(fleet: &FleetSnapshot, id: Id) -> Option<(Name, Duration)> {
    let service = fleet.plan.service(id);
    if service.origin != Origin::Transient || !fleet.plan.dependents(id).is_empty() {
        return None;
    }
    let snapshot = &fleet.at(id).snapshot;
    let is_inactive = match snapshot.state {
        State::Failed { .. } | State::Completed { .. } => true,
        State::Stopped => snapshot.goal == Goal::Down,
        _ => false,
    };
    let ttl = fleet.plan.settings().forget_transient;
    let ttl = if snapshot.run == 0 { ttl.max(MIN_NEVER_RUN_TTL) } else { ttl };
    is_inactive.then(|| (service.name.clone(), ttl))
}
