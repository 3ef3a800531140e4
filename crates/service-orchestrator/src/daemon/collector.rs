//! Forgets transient services, some time after each has come to rest.

use super::Shared;
use crate::board::Board;
use crate::host::clock;
use service_core::config::Origin;
use service_core::service::{Goal, State};
use service_core::{Id, Moment, Name};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// One that has never run is just about to.
const FIRST_RUN: Duration = Duration::from_mins(1);
/// After a failure to forget some, for example because the disk is full.
const TRY_AGAIN: Duration = Duration::from_secs(10);

/// Never returns while the orchestrator lives.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut boards = shared.orchestrator.boards();
    let mut at_rest: BTreeMap<Name, Moment> = BTreeMap::new();
    loop {
        let board = Arc::clone(&boards.borrow_and_update());
        let now = clock::now();
        let resting: BTreeMap<Name, Duration> =
            board.plan.ids().filter_map(|id| resting(&board, id)).collect();
        at_rest.retain(|name, _| resting.contains_key(name));
        for name in resting.keys() {
            at_rest.entry(name.clone()).or_insert(now);
        }
        let due = |name: &Name, since: Moment| since.plus(resting[name]);
        let over: Vec<Name> = at_rest
            .iter()
            .filter(|(name, since)| due(name, **since) <= now)
            .map(|(name, _)| name.clone())
            .collect();
        let mut next = at_rest.iter().map(|(name, since)| due(name, *since)).filter(|at| *at > now).min();
        if !over.is_empty() {
            match shared.forget(over).await {
                Ok(_) => continue,
                Err(error) => {
                    tracing::warn!(%error, "cannot forget what is over");
                    next = Some(now.plus(TRY_AGAIN));
                }
            }
        }
        tokio::select! {
            changed = boards.changed() => if changed.is_err() { return },
            () = clock::sleep_until(next) => {}
        }
    }
}

/// A transient service that has come to its end, and how long it is remembered.
pub(super) fn resting(board: &Board, id: Id) -> Option<(Name, Duration)> {
    let service = board.plan.service(id);
    if service.origin != Origin::Transient || !board.plan.dependents(id).is_empty() {
        return None;
    }
    let snapshot = &board.at(id).snapshot;
    let rests = match snapshot.state {
        State::Failed { .. } | State::Completed { .. } => true,
        State::Stopped => snapshot.goal == Goal::Down,
        _ => false,
    };
    let forget = board.plan.settings().forget_transient;
    let after = if snapshot.run == 0 { forget.max(FIRST_RUN) } else { forget };
    rests.then(|| (service.name.clone(), after))
}
