//! Recovers the state of a former daemon: running shims, records of ended runs, and services that are no longer
//! defined.

use super::drivers::Drivers;
use super::last_record::{RecordedRun, last_record};
use super::leftover::with_orphaned;
use super::run_trace::RunTrace;
use service_api::redact;
use service_core::config::{Manager, Service};
use service_core::service::{Discovered, Event, Exit, Goal, PersistedState, State};
use service_core::{Moment, Name, Plan};
use service_host::clock;
use service_host::descriptors::DescriptorBudget;
use service_host::paths::Paths;
use service_host::report::ManagerReport;
use service_process as process;
use service_process::liveness::UnlistedError;
use service_process::shims_without_files::Lost;
use service_shim::{Phase, RunRecord};
use service_store::{RunDefinitions, fingerprint};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// The time limit for managers to report the services of the former daemon. Most managers need a tenth of it.
const MANAGER_TIMEOUT: Duration = Duration::from_secs(2);
/// The time limit for a sent launch to take effect.
const LAUNCH_TIMEOUT: Duration = Duration::from_millis(500);
/// The maximum number of services that are examined concurrently. Each uses two descriptors.
const MAX_CONCURRENT: usize = 64;

/// The polling interval for a launch.
const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// The plan with the orphaned services, which run or may run, and the findings for each service.
pub(super) struct RecoveredRuns {
    pub(super) plan: Plan,
    pub(super) orphaned: BTreeSet<Name>,
    pub(super) runs: BTreeMap<Name, RunTrace>,
    /// Whether the names of the services cannot be read.
    pub(super) unlisted: bool,
    /// Whether shims without files may exist.
    pub(super) unsearched: bool,
    /// When the examination began.
    pub(super) began: Moment,
}

/// Examines every service's directory, many concurrently, so that a frozen shim delays no other service.
pub(super) async fn find_runs(
    paths: &Arc<Paths>,
    definitions: &Arc<RunDefinitions>,
    plan: Plan,
    memories: &BTreeMap<Name, PersistedState>,
) -> RecoveredRuns {
    let managed = |name: &Name| plan.id(name).is_some_and(|id| plan.service(id).is_managed());
    let Lost { records: lost, unsearched } =
        process::shims_without_files::request_file_recreation(paths, memories, managed).await;
    wait_for_launches(paths, memories).await;
    let began = clock::now();
    let (mut runs, unlisted) = match names(paths) {
        Ok(mut names) => {
            if unsearched.is_some() && !paths.state_dir.join("state.json").exists() {
                // The names of the services that have run are unknown.
                let defined = plan.ids().map(|id| &plan.service(id).name).filter(|name| !managed(name));
                names.extend(defined.cloned());
            }
            names.retain(|name| !lost.contains_key(name));
            (traces(paths, definitions, names, memories, began, unsearched.as_deref()).await, false)
        }
        Err(error) => {
            let why = error.to_string();
            let defined = plan.ids().map(|id| &plan.service(id).name);
            let were_up = memories.iter().filter(|(_, memory)| memory.state.is_alive());
            let all: BTreeSet<&Name> = defined.chain(were_up.map(|(name, _)| name)).collect();
            let unclear = |name: &Name| (name.clone(), RunTrace::unclear(&why));
            (all.into_iter().map(unclear).collect(), true)
        }
    };
    runs.extend(traces_of_lost(paths, lost).await);
    let may_run = runs.iter().filter(|(_, trace)| trace.may_run());
    let mut orphaned: BTreeSet<Name> =
        may_run.map(|(name, _)| name.clone()).filter(|name| plan.id(name).is_none()).collect();
    let unknown = memories
        .iter()
        .filter(|(name, memory)| plan.id(name).is_none() && runs_elsewhere(definitions, name, memory));
    orphaned.extend(unknown.map(|(name, _)| name.clone()));
    let unsearched = unsearched.is_some();
    RecoveredRuns { plan: with_orphaned(plan, &orphaned), orphaned, runs, unlisted, unsearched, began }
}

/// The findings for living shims without files.
pub(super) async fn traces_of_lost(
    paths: &Paths,
    lost: BTreeMap<Name, RunRecord>,
) -> BTreeMap<Name, RunTrace> {
    let mut traces = BTreeMap::new();
    for (name, record) in lost {
        let found = classify(&record, true, paths, &name).await;
        traces.insert(name, RunTrace { found, record: Some(record), reached: None });
    }
    traces
}

/// The definition of a run, if known.
pub(super) fn definition_of_run(
    definitions: &RunDefinitions,
    now: &Service,
    run: u64,
    is_orphaned: bool,
) -> Option<Arc<Service>> {
    let definition = definitions.load(now, run)?;
    Some(Arc::new(if is_orphaned { fingerprint::without_unknown(definition) } else { definition }))
}

/// Whether a manager probably runs the service, according to the definition of its last start.
fn runs_elsewhere(definitions: &RunDefinitions, name: &Name, memory: &PersistedState) -> bool {
    was_wanted(memory)
        && definitions.last_run(name) == memory.run
        && definitions.last_manager(name).is_some_and(|manager| manager != Manager::Process)
}

/// Whether the service ran when the former daemon ended, and has goal up.
fn was_wanted(memory: &PersistedState) -> bool {
    memory.state.is_alive() && (memory.goal != Goal::Down || matches!(memory.state, State::Stopping { .. }))
}

/// The names of all services that have run in this state directory.
pub(super) fn names(paths: &Paths) -> Result<BTreeSet<Name>, UnlistedError> {
    process::liveness::names(&paths.state_dir)
}

/// The findings for these services in an examination that began at `began`. `unsearched` says why shims without files
/// may exist.
pub(super) async fn traces(
    paths: &Arc<Paths>,
    definitions: &Arc<RunDefinitions>,
    names: BTreeSet<Name>,
    memories: &BTreeMap<Name, PersistedState>,
    began: Moment,
    unsearched: Option<&str>,
) -> BTreeMap<Name, RunTrace> {
    let (mut looks, mut runs) = (JoinSet::new(), BTreeMap::new());
    let at_once = DescriptorBudget::now().preflight_checks(MAX_CONCURRENT);
    for name in &names {
        if looks.len() >= at_once {
            runs.extend(looks.join_next().await.and_then(Result::ok));
        }
        let (paths, definitions) = (Arc::clone(paths), Arc::clone(definitions));
        let (name, memory) = (name.clone(), memories.get(name).cloned());
        let unsearched = unsearched.map(str::to_owned);
        looks.spawn(async move {
            let trace =
                trace(&paths, &definitions, &name, memory.as_ref(), began, unsearched.as_deref()).await;
            (name, trace)
        });
    }
    while let Some(look) = looks.join_next().await {
        runs.extend(look.ok());
    }
    for name in names {
        runs.entry(name).or_insert_with(|| RunTrace::unclear("the check of its files did not end"));
    }
    runs
}

async fn trace(
    paths: &Paths,
    definitions: &RunDefinitions,
    name: &Name,
    memory: Option<&PersistedState>,
    began: Moment,
    unsearched: Option<&str>,
) -> RunTrace {
    // The directory of another service may have been renamed.
    let is_its = |recorded: &RecordedRun| recorded.record.service == **name;
    let (found, record, reached) = match last_record(paths, name, began).await.map(|last| last.filter(is_its))
    {
        Ok(Some(RecordedRun { record, is_kept, reached })) => {
            (classify(&record, is_kept, paths, name).await, Some(record), reached)
        }
        Ok(None) => (Discovered::Absent, None, None),
        Err(error) => {
            let found = Discovered::Unclear { why: error.to_string() };
            return RunTrace { found, record: None, reached: None };
        }
    };
    if !matches!(found, Discovered::Running { .. }) {
        let unseen = |memory: &&PersistedState| {
            let told = record.as_ref().map_or(0, |record| record.run);
            memory.state.is_alive() && told < memory.run
        };
        let by_shim = definitions.last_manager(name).is_none_or(|manager| manager == Manager::Process);
        let unseen = match memory {
            Some(memory) => Some(memory).filter(unseen).map(Some),
            // The service has no persisted state.
            None => record.is_none().then_some(None),
        };
        if let (Some(_), Some(why)) = (unseen, unsearched)
            && by_shim
        {
            return RunTrace::unclear(why);
        }
        // The run of this persisted state ended without a record. A manager's service never has a shim.
        if let Some(memory) = unseen.flatten().filter(|_| by_shim) {
            // The files may have been deleted since the search.
            if process::shims_without_files::find_lost(&paths.state_dir).contains_key(name) {
                return RunTrace::unclear("its shim has lost its files");
            }
            process::orphans::end(paths, name, memory.run, None).await;
        }
        process::limits::remove_leftover_cgroup(paths, name).await;
    }
    RunTrace { found, record, reached }
}

/// Waits for launches that the former daemon had sent. As long as a launch may still take effect, its service must not
/// count as inactive.
async fn wait_for_launches(paths: &Paths, memories: &BTreeMap<Name, PersistedState>) {
    let deadline = clock::now().plus(LAUNCH_TIMEOUT);
    let is_out = |memory: &PersistedState| matches!(memory.state, State::Launching { .. });
    for (name, memory) in memories.iter().filter(|(_, memory)| is_out(memory)) {
        let files = paths.files(name);
        // An unreadable record does not count here. The following examination reports the error.
        let shows = || {
            let record = files.read_record().ok().flatten();
            record.is_some_and(|record| record.run >= memory.run)
                || files.try_lock().is_ok_and(|lock| lock.is_none())
        };
        while !shows() && clock::now() < deadline {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}

/// Classifies the result of one examination. This function must not examine again, because the results of two
/// examinations may contradict each other.
///
/// - Without a shim: the record was read while the daemon held the lock. A shim writes its last record before it
///   releases the lock, and no shim starts without the lock. The record is therefore final.
/// - With a shim that answered, or that lives according to its record: the run counts as running.
///   [`Shims::reattach`](process::Shims::reattach) receives later events, and reads the record when the shim has ended.
async fn classify(record: &RunRecord, is_kept: bool, paths: &Paths, name: &Name) -> Discovered {
    let run = record.run;
    match &record.phase {
        _ if record.boot_id != paths.boot_id => Discovered::Absent,
        Phase::Finished { exit, .. } => Discovered::Exited {
            run,
            event: Event::TreeExited(process::limits::exit(paths, name, run, *exit)),
        },
        Phase::LaunchFailed { message, .. } => {
            Discovered::Exited { run, event: Event::LaunchFailed(redact(message).into_owned()) }
        }
        Phase::Launching { at } | Phase::Running { at, .. } | Phase::Exited { at, .. } if is_kept => {
            Discovered::Running { run, launched: Moment::from_nanos(*at) }
        }
        Phase::Exited { leader, exit, .. } => {
            process::orphans::end(paths, name, run, Some(*leader)).await;
            Discovered::Exited {
                run,
                event: Event::TreeExited(process::limits::exit(paths, name, run, *exit)),
            }
        }
        Phase::Launching { .. } => {
            process::orphans::end(paths, name, run, None).await;
            Discovered::Exited { run, event: Event::TreeExited(Exit::Unknown) }
        }
        Phase::Running { leader, .. } => {
            process::orphans::end(paths, name, run, Some(*leader)).await;
            Discovered::Exited { run, event: Event::TreeExited(Exit::Unknown) }
        }
    }
}

/// The state of a manager's service, which has no files. The manager reports whether the service still runs; without a
/// report the service is unreachable.
pub(super) fn elsewhere(
    definition: &Service,
    memory: Option<&PersistedState>,
    run: u64,
    reported: Option<&ManagerReport>,
) -> Option<Discovered> {
    let memory = memory.filter(|memory| memory.run == run && memory.state.is_alive())?;
    let launched = memory.state.launched().unwrap_or_default();
    definition.is_managed().then(|| match reported.map(|reported| &reported.event) {
        Some(event @ Event::TreeExited(_)) => Discovered::Exited { run, event: event.clone() },
        None if is_to_be_asked(memory) => Discovered::Unreachable { run, launched },
        _ => Discovered::Running { run, launched },
    })
}

/// Whether the service was active, so that its manager is queried.
fn is_to_be_asked(memory: &PersistedState) -> bool {
    memory.state.is_active()
}

/// Queries managers about the services that the former daemon ran, within a time limit.
pub(super) async fn query_managers(
    drivers: &Drivers,
    found: &RecoveredRuns,
    memories: &BTreeMap<Name, PersistedState>,
) -> BTreeMap<Name, ManagerReport> {
    let is_kept = |name: &Name| {
        found.runs.get(name).is_some_and(|trace| matches!(trace.found, Discovered::Running { .. }))
    };
    let mut asked = Vec::new();
    for service in found.plan.ids().map(|id| found.plan.service(id)) {
        let Some(memory) = memories.get(&service.name).filter(|memory| is_to_be_asked(memory)) else {
            continue;
        };
        let is_orphaned = found.orphaned.contains(&service.name);
        let definition = match definition_of_run(&drivers.definitions, service, memory.run, is_orphaned) {
            Some(definition) => definition,
            // The definition of the run is lost. The present one is used, if it is accepted.
            None if drivers.acceptance.covers(service).await => Arc::clone(service),
            None => continue,
        };
        if definition.is_managed() && !is_kept(&service.name) {
            asked.push(definition);
        }
    }
    if asked.is_empty() {
        return BTreeMap::new();
    }
    drivers.managers.query_all(found.plan.settings(), asked, MANAGER_TIMEOUT).await
}

#[cfg(test)]
mod tests;
