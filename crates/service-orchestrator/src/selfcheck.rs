//! How the daemon itself is: whether it can do its work, and what a person should look at. How the services are is another
//! question.

use crate::board::Entry;
use crate::daemon::Shared;
use crate::host::clock;
use crate::host::procfs;
use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, access};
use service_api::{Vitals, vitals};
use service_core::health::Health;
use service_core::service::State;
use service_core::{Name, Snapshot};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How long the owner of the fleet may take to answer. A turn of it takes microseconds.
pub(crate) const ANSWERS_WITHIN: Duration = Duration::from_secs(2);
/// Of the descriptors it may have, the daemon should leave a tenth.
const FEW_LEFT: u64 = 10;
/// So many services are named of which nobody can tell whether they run.
const MOST_UNCLEAR: usize = 3;

/// What keeps the daemon from its work, then what does not and should be seen to.
pub(crate) struct Examination {
    pub(crate) faults: Vec<String>,
    pub(crate) doubts: Vec<String>,
}

/// Looks at everything.
pub(crate) async fn examine(shared: &Shared) -> Examination {
    let state_dir = &shared.project.state_dir;
    let journal = match owner_answers(shared).await {
        Ok(trouble) => trouble.map(|why| format!("the journal cannot be written: {why}")),
        Err(silence) => Some(silence),
    };
    let template = shared.orchestrator.world().templates.ready().await.err();
    let template = template.map(|error| format!("no service can be started: {error}"));
    let faults = [journal, room(state_dir), template].into_iter().flatten().collect();
    let definition = shared.refresh().await.err();
    let definition =
        definition.map(|problem| format!("the definitions are those of before: {}", problem.message));
    let damage = shared.orchestrator.world().paths.disk.damage();
    let doubts = [definition, descriptors(), out_of_reach(shared)]
        .into_iter()
        .flatten()
        .chain(damage)
        .chain(unclear(shared))
        .collect();
    Examination { faults, doubts }
}

/// The services of which nobody can tell whether they run: each by itself as long as there are few.
fn unclear(shared: &Shared) -> Vec<String> {
    let board = shared.orchestrator.board();
    let why = |entry: &Arc<Entry>| {
        Some((entry.definition.name.clone(), entry.snapshot.state.unknown_because()?.to_owned()))
    };
    let all: Vec<(Name, String)> = board.entries.iter().filter_map(why).collect();
    let told = |(name, why): &(Name, String)| format!("`{name}`: {why}");
    let more = all.len().saturating_sub(MOST_UNCLEAR);
    let rest = (more > 0).then(|| format!("{more} other services are unknown"));
    all.iter().take(MOST_UNCLEAR).map(told).chain(rest).collect()
}

/// What the owner says of its journal, or that it says nothing.
pub(crate) async fn owner_answers(shared: &Shared) -> Result<Option<String>, String> {
    match tokio::time::timeout(ANSWERS_WITHIN, shared.orchestrator.examine()).await {
        Ok(Ok(trouble)) => Ok(trouble),
        Ok(Err(problem)) => Err(problem.message),
        Err(_) => Err(format!("the orchestrator does not answer within {} s", ANSWERS_WITHIN.as_secs())),
    }
}

/// Whether anything can be written down; the next event is not waited for to find out.
fn room(state_dir: &Path) -> Option<String> {
    let shown = state_dir.display();
    if let Err(error) = access(state_dir, AccessFlags::W_OK) {
        return Some(format!("`{shown}` cannot be written: {}", error.desc().to_lowercase()));
    }
    let full = statvfs(state_dir).is_ok_and(|disk| disk.blocks() > 0 && disk.blocks_available() == 0);
    full.then(|| format!("the disk of `{shown}` is full"))
}

fn descriptors() -> Option<String> {
    let (open, most) = (procfs::count_descriptors() as u64, procfs::max_descriptors());
    (most - most / FEW_LEFT < open).then(|| format!("{open} of {most} descriptors are open"))
}

/// Services whose shims live and are not connected, and why the first is not.
fn out_of_reach(shared: &Shared) -> Option<String> {
    let board = shared.orchestrator.board();
    let mut found = board.entries.iter().filter_map(|entry| Some((entry, entry.out_of_reach.as_deref()?)));
    let (first, why) = found.next()?;
    let first = format!("`{}` is followed without a connection: {why}", first.definition.name);
    Some(match found.count() {
        0 => first,
        others => format!("{first}; so are {others} others"),
    })
}

/// The answer of `GET /api/v1/health`, where there are no faults.
pub(crate) fn vitals(shared: &Shared, doubts: Vec<String>) -> Vitals {
    let board = shared.orchestrator.board();
    let count =
        |of: &dyn Fn(&Snapshot) -> bool| board.entries.iter().filter(|entry| of(&entry.snapshot)).count();
    Vitals {
        status: if doubts.is_empty() { vitals::OK } else { vitals::DEGRADED }.to_owned(),
        doubts,
        uptime_ms: clock::millis(clock::now().since(shared.began)),
        services: vitals::Services {
            defined: board.entries.len(),
            running: count(&|service| service.state.is_alive()),
            ready: count(&|service| matches!(service.state, State::Ready { .. })),
            unhealthy: count(&|service| service.health == Health::Unhealthy),
            failed: count(&|service| matches!(service.state, State::Failed { .. } | State::Backoff { .. })),
        },
    }
}
