//! Ends an idle daemon that a command has started. A daemon is idle if no service runs, has goal up or has a scheduled
//! start, and no client is connected. The next command starts another daemon.
//!
//! No client is refused meanwhile. First the socket is renamed, so that a later client finds no daemon and starts one.
//! Then earlier connections are accepted; if there is one, the socket gets its name back.

use super::transient_gc;
use service_core::service::{Goal, State};
use service_core::{Id, Moment};
use service_host::clock;
use service_http::ApiState;
use service_orchestrator::snapshot::FleetSnapshot;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The time limit for accepting a connection in the kernel's queue.
const ACCEPT_GRACE: Duration = Duration::from_millis(2);

/// Returns when the daemon has been idle for the idle timeout, after its socket was renamed.
pub(super) async fn wait_until_idle(api: &ApiState) {
    loop {
        let limit = wait_for_timeout(api).await;
        let (left, socket) = (api.connections.last_seen(), &api.project.socket);
        // If the socket file is missing or cannot be renamed, there is no name to restore.
        let hidden = std::fs::rename(socket, hidden_path(socket));
        // The first sleep lets queued connections wake the listener; the second lets it accept them.
        tokio::time::sleep(ACCEPT_GRACE).await;
        tokio::time::sleep(ACCEPT_GRACE).await;
        let is_alone = left.is_some() && api.connections.last_seen() == left;
        // The daemon may have bound the socket again meanwhile, after a SIGHUP.
        let is_hidden = hidden.is_err() || !socket.exists();
        if is_alone && is_hidden && idle_timeout(&api.orchestrator.fleet_snapshot()).is_some() {
            tracing::info!(
                "no service ran and no client connected for {limit:?}; the next command starts a daemon"
            );
            return;
        }
        if hidden.is_ok()
            && let Err(error) = std::fs::rename(hidden_path(socket), socket)
        {
            tracing::error!(%error, "cannot restore the name of the socket; ending");
            return;
        }
    }
}

/// The path of the socket while clients must not find it. A daemon that binds the socket removes this file.
pub(super) fn hidden_path(socket: &Path) -> PathBuf {
    socket.with_extension("new")
}

/// Waits until the idle timeout has expired, and returns its length.
async fn wait_for_timeout(api: &ApiState) -> Duration {
    let mut boards = api.orchestrator.snapshots();
    let mut inactive_since = None;
    loop {
        let limit = idle_timeout(&Arc::clone(&boards.borrow_and_update()));
        let now = clock::now();
        inactive_since = limit.map(|_| inactive_since.unwrap_or(now));
        let due = limit
            .zip(inactive_since)
            .map(|(limit, since)| due(limit, since, api.connections.last_seen(), now));
        if let (Some(limit), Some(due)) = (limit, due)
            && due <= now
        {
            return limit;
        }
        tokio::select! {
            changed = boards.changed() => if changed.is_err() { std::future::pending().await },
            () = clock::sleep_until(due) => {}
        }
    }
}

/// The time of the next check, when the timeout has expired unless a client has connected meanwhile. While a client is
/// connected, the timeout begins again.
fn due(limit: Duration, inactive_since: Moment, last_seen: Option<Moment>, now: Moment) -> Moment {
    last_seen.map_or(now, |left| left.max(inactive_since)).plus(limit)
}

/// The idle timeout of the daemon; `None` without a timeout, or if the daemon is not idle.
fn idle_timeout(fleet: &FleetSnapshot) -> Option<Duration> {
    let settings = fleet.plan.settings();
    let may_end = !settings.idle_timeout.is_zero() && settings.api.is_none();
    (may_end && fleet.plan.ids().all(|id| is_idle(fleet, id))).then_some(settings.idle_timeout)
}

/// Whether a service has no process, goal down, and no scheduled start.
fn is_idle(fleet: &FleetSnapshot, id: Id) -> bool {
    let snapshot = &fleet.at(id).snapshot;
    let is_inactive = match snapshot.state {
        State::Stopped => snapshot.goal == Goal::Down,
        State::Completed { .. } | State::Failed { .. } => snapshot.goal != Goal::Restart,
        State::Unknown { .. }
        | State::Launching { .. }
        | State::Starting { .. }
        | State::Ready { .. }
        | State::Stopping { .. }
        | State::Backoff { .. } => false,
    };
    is_inactive && transient_gc::inactive_transient(fleet, id).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_counts_from_when_the_last_of_services_and_clients_has_gone() {
        let (at, limit) = (|secs: u64| Moment::from_nanos(secs * 1_000_000_000), Duration::from_secs(10));
        assert_eq!(due(limit, at(5), Some(at(3)), at(6)), at(15), "the services");
        assert_eq!(due(limit, at(3), Some(at(5)), at(6)), at(15), "a client");
        assert_eq!(due(limit, at(3), None, at(60)), at(70), "a client is connected");
    }
}
