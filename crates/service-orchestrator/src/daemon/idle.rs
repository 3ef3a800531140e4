//! The end of a daemon that a command has started and that nobody needs any more: nothing runs or is wanted, nobody asks or
//! follows, and nothing is scheduled. The next command starts another one.
//!
//! Nobody is turned away for it. First its socket loses its name, so that whoever comes from then on finds no daemon and starts one;
//! who has come before is heard, and then the socket gets its name back.

use super::{Shared, collector};
use crate::board::Board;
use crate::host::clock;
use crate::http;
use service_core::service::{Goal, State};
use service_core::{Id, Moment};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// In this time whoever waits to be let in is.
const LETS_IN: Duration = Duration::from_millis(2);

/// Returns once the daemon has been idle for as long as `services.toml` says; its socket has no name then.
pub(super) async fn over(shared: &Shared) {
    loop {
        let limit = past(shared).await;
        let (left, socket) = (http::last_seen(), &shared.project.socket);
        // Where it has no name already, or cannot lose it, there is nothing to give back either.
        let hidden = std::fs::rename(socket, aside(socket));
        // The first wakes us after whoever was waiting, and the second after that one was let in.
        tokio::time::sleep(LETS_IN).await;
        tokio::time::sleep(LETS_IN).await;
        let is_alone = left.is_some() && http::last_seen() == left;
        // It may have been asked to listen again meanwhile.
        let is_hidden = hidden.is_err() || !socket.exists();
        if is_alone && is_hidden && limit_at_rest(&shared.orchestrator.board()).is_some() {
            tracing::info!("nothing ran and nobody asked for {limit:?}; the next command starts a daemon");
            return;
        }
        if hidden.is_ok()
            && let Err(error) = std::fs::rename(aside(socket), socket)
        {
            tracing::error!(%error, "cannot be found any more; ending");
            return;
        }
    }
}

/// What the socket is called while it has no name; a daemon that begins there removes it.
pub(super) fn aside(socket: &Path) -> PathBuf {
    socket.with_extension("new")
}

/// Returns once it has been idle for long enough, with how long that is.
async fn past(shared: &Shared) -> Duration {
    let mut boards = shared.orchestrator.boards();
    let mut rests_since = None;
    loop {
        let limit = limit_at_rest(&Arc::clone(&boards.borrow_and_update()));
        let now = clock::now();
        rests_since = limit.map(|_| rests_since.unwrap_or(now));
        let due = limit.zip(rests_since).map(|(limit, since)| due(limit, since, http::last_seen(), now));
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

/// When it is to be looked at again: then it is over, unless somebody comes. Whoever is here may stay for long.
fn due(limit: Duration, rests_since: Moment, last_seen: Option<Moment>, now: Moment) -> Moment {
    last_seen.map_or(now, |left| left.max(rests_since)).plus(limit)
}

/// How long a daemon of these services may be idle; none if it may not, or if it is not.
fn limit_at_rest(board: &Board) -> Option<Duration> {
    let settings = board.plan.settings();
    let may = !settings.idle_timeout.is_zero() && settings.api.is_none();
    (may && board.plan.ids().all(|id| rests(board, id))).then_some(settings.idle_timeout)
}

/// Whether nothing of it runs, nothing is wanted of it and nothing is scheduled for it.
fn rests(board: &Board, id: Id) -> bool {
    let snapshot = &board.at(id).snapshot;
    let is_at_rest = match snapshot.state {
        State::Stopped => snapshot.goal == Goal::Down,
        State::Completed { .. } | State::Failed { .. } => snapshot.goal != Goal::Again,
        State::Unknown { .. }
        | State::Launching { .. }
        | State::Starting { .. }
        | State::Ready { .. }
        | State::Stopping { .. }
        | State::Backoff { .. } => false,
    };
    is_at_rest && collector::resting(board, id).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_counts_from_when_the_last_of_services_and_clients_has_gone() {
        let (at, limit) = (|secs: u64| Moment::from_nanos(secs * 1_000_000_000), Duration::from_secs(10));
        assert_eq!(due(limit, at(5), Some(at(3)), at(6)), at(15), "the services");
        assert_eq!(due(limit, at(3), Some(at(5)), at(6)), at(15), "a client");
        assert_eq!(due(limit, at(3), None, at(60)), at(70), "somebody is here");
    }
}
