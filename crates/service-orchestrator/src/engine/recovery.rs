//! What a former daemon left: shims that run, records of runs that ended, services that are no longer defined.

use super::drivers::Drivers;
use super::leftover::with_orphaned;
use super::run_trace::{RunTrace, unknown_because};
use service_api::redact;
use service_core::config::{Manager, Service};
use service_core::service::{Discovered, Event, Exit, Goal, PersistedState, State};
use service_core::{Moment, Name, Plan};
use service_host::clock;
use service_host::descriptors::DescriptorBudget;
use service_host::paths::Paths;
use service_host::report::ManagerReport;
use service_process::lost::Lost;
use service_process::{self as process, Reached};
use service_shim::{Files, Phase, RunRecord};
use service_store::run_definition;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::DirEntry;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// How long managers may take to say what became of what they run. Most do in a tenth of that.
const MANAGER_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a launch that was sent off may take to show.
const LAUNCH_TIMEOUT: Duration = Duration::from_millis(500);
/// At how many services one looks side by side: each takes two descriptors.
const MAX_CONCURRENT: usize = 64;
/// How long a shim that was just started may take to say so.
const FIRST_REPORT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a record is tried to be read where nobody keeps the service.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// The plan, with the services that run, or may run, although they are no longer defined, and what was found of each service.
pub(super) struct RecoveredRuns {
    pub(super) plan: Plan,
    pub(super) orphaned: BTreeSet<Name>,
    pub(super) runs: BTreeMap<Name, RunTrace>,
    /// Whether not even the names of the services can be read.
    pub(super) unlisted: bool,
    /// Whether there may be shims whose files are gone.
    pub(super) unsearched: bool,
    /// When the look began.
    pub(super) began: Moment,
}

/// What a service's directory says of its last run.
struct RecordedRun {
    record: RunRecord,
    /// Whether somebody holds the lock of a run.
    is_kept: bool,
    /// The connection to the shim, if it was asked itself and there is room for it.
    reached: Option<Reached>,
}

/// Looks at every service's directory, at many side by side: a shim that is frozen keeps nobody else waiting.
pub(super) async fn find_runs(
    paths: &Arc<Paths>,
    plan: Plan,
    memories: &BTreeMap<Name, PersistedState>,
) -> RecoveredRuns {
    let managed = |name: &Name| plan.id(name).is_some_and(|id| plan.service(id).is_managed());
    let Lost { records: lost, unsearched } = process::lost::call_back(paths, memories, managed).await;
    wait_for_launches(paths, memories).await;
    let began = clock::now();
    let (mut runs, unlisted) = match names(paths) {
        Ok(mut names) => {
            if unsearched.is_some() && !paths.state_dir.join("state.json").exists() {
                // Nothing says which of them ran.
                let defined = plan.ids().map(|id| &plan.service(id).name).filter(|name| !managed(name));
                names.extend(defined.cloned());
            }
            names.retain(|name| !lost.contains_key(name));
            (traces(paths, names, memories, began, unsearched.as_deref()).await, false)
        }
        Err(why) => {
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
        .filter(|(name, memory)| plan.id(name).is_none() && runs_elsewhere(paths, name, memory));
    orphaned.extend(unknown.map(|(name, _)| name.clone()));
    let unsearched = unsearched.is_some();
    RecoveredRuns { plan: with_orphaned(plan, &orphaned), orphaned, runs, unlisted, unsearched, began }
}

/// What is found of shims that live without files.
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

/// With what a run was started, as far as it is known.
pub(super) fn kept(paths: &Paths, now: &Service, run: u64, is_orphaned: bool) -> Option<Arc<Service>> {
    let definition = run_definition::kept(paths, now, run)?;
    Some(Arc::new(if is_orphaned { run_definition::without_unknown(definition) } else { definition }))
}

/// Whether a manager runs it for us, for all that is known, by the definition with which it was started.
fn runs_elsewhere(paths: &Paths, name: &Name, memory: &PersistedState) -> bool {
    was_wanted(memory)
        && run_definition::kept(paths, &Service::new(name.clone()), memory.run)
            .is_some_and(|definition| definition.is_managed())
}

/// Whether it was up when the former daemon ended, and that was wanted.
fn was_wanted(memory: &PersistedState) -> bool {
    memory.state.is_alive() && (memory.goal != Goal::Down || matches!(memory.state, State::Stopping { .. }))
}

/// The services that have ever run. The error says why that cannot be told.
pub(super) fn names(paths: &Paths) -> Result<BTreeSet<Name>, String> {
    let directory = paths.services();
    let entries = match std::fs::read_dir(&directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeSet::new()),
        entries => entries.and_then(Iterator::collect::<io::Result<Vec<_>>>),
    };
    let entries = entries.map_err(|error| format!("cannot read `{}`: {error}", directory.display()))?;
    let name = |entry: &DirEntry| entry.file_name().to_str().and_then(|name| Name::new(name).ok());
    Ok(entries.iter().filter_map(name).collect())
}

/// What is found of these services, in a look that began then or goes on since then. `unsearched` says why there may be
/// shims without files.
pub(super) async fn traces(
    paths: &Arc<Paths>,
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
        let (paths, name, memory) = (Arc::clone(paths), name.clone(), memories.get(name).cloned());
        let unsearched = unsearched.map(str::to_owned);
        looks.spawn(async move {
            let trace = trace(&paths, &name, memory.as_ref(), began, unsearched.as_deref()).await;
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
    name: &Name,
    memory: Option<&PersistedState>,
    began: Moment,
    unsearched: Option<&str>,
) -> RunTrace {
    let files = paths.files(name);
    let (found, record, reached) = match last_record(&files, began).await {
        Ok(Some(RecordedRun { record, is_kept, reached })) => {
            (classify(&record, is_kept, paths, name).await, Some(record), reached)
        }
        Ok(None) => (Discovered::Absent, None, None),
        Err(why) => return RunTrace { found: Discovered::Unclear { why }, record: None, reached: None },
    };
    if !matches!(found, Discovered::Running { .. }) {
        let unseen = |memory: &&PersistedState| {
            let told = record.as_ref().map_or(0, |record| record.run);
            memory.state.is_alive() && told < memory.run
        };
        let manager = run_definition::last_manager(&files);
        let by_shim = !matches!(&manager, Ok(manager) if *manager != Manager::Process);
        let unseen = match memory {
            Some(memory) => Some(memory).filter(unseen).map(Some),
            // Nothing was remembered of it.
            None => record.is_none().then_some(None),
        };
        match (unseen, unsearched) {
            (Some(_), Some(why)) if by_shim => return RunTrace::unclear(why),
            (Some(Some(memory)), _) if was_wanted(memory) => {
                if let Err(error) = &manager
                    && !is_absent_or_damaged(error)
                {
                    let definition = files.directory().join("definition.json");
                    return RunTrace::unclear(&format!("cannot read `{}`: {error}", definition.display()));
                }
            }
            _ => {}
        }
        // What it was when nobody wrote down more; what a manager runs has never had a shim.
        if let Some(memory) = unseen.flatten().filter(|_| by_shim) {
            process::orphans::end(paths, name, memory.run, None).await;
        }
        process::limits::leave_over(paths, name).await;
    }
    RunTrace { found, record, reached }
}

/// Whether there is nothing to be read, now or ever. Every other error may be another one at another moment.
fn is_absent_or_damaged(error: &io::Error) -> bool {
    use ErrorKind::{InvalidData, IsADirectory, NotADirectory, NotFound, UnexpectedEof};
    matches!(error.kind(), NotFound | NotADirectory | InvalidData | IsADirectory | UnexpectedEof)
}

/// A launch that the former daemon had sent off is still carried out. Until that shows, or it is clear that it got lost,
/// nobody may think that there is none.
async fn wait_for_launches(paths: &Paths, memories: &BTreeMap<Name, PersistedState>) {
    let deadline = clock::now().plus(LAUNCH_TIMEOUT);
    let is_out = |memory: &PersistedState| matches!(memory.state, State::Launching { .. });
    for (name, memory) in memories.iter().filter(|(_, memory)| is_out(memory)) {
        let files = paths.files(name);
        // What cannot be read does not show; whoever looks next says so.
        let shows = || {
            let record = files.read_record().ok().flatten();
            record.is_some_and(|record| record.run >= memory.run)
                || files.try_lock().is_ok_and(|lock| lock.is_none())
        };
        while !shows() && clock::now() < deadline {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// The record of the last run; none if there is nothing that says anything of it. While a shim holds the lock it is asked
/// itself, whatever lies on the disk, and waited for if it has only just been started: a second one must not be started beside
/// it. One that lives and says nothing, because it is frozen, has written down what it would say.
///
/// The error says why it cannot be told whether anything runs, or not yet how it ended.
async fn last_record(files: &Files, began: Moment) -> Result<Option<RecordedRun>, String> {
    let deadline = clock::now().plus(FIRST_REPORT_TIMEOUT);
    loop {
        match files.try_lock() {
            Ok(Some(_lock)) => return unlocked(files, began),
            Ok(None) => {}
            Err(error) if error.kind() == ErrorKind::NotFound && is_gone(files) => return Ok(None),
            Err(error) => {
                return Err(unknown_because(&format!("cannot open `{}`: {error}", files.lock().display())));
            }
        }
        match process::query_record(files).await {
            Ok((record, talk)) => {
                return Ok(Some(RecordedRun { record, is_kept: true, reached: Reached::keep(talk) }));
            }
            Err(error) if clock::now() >= deadline => {
                // Its socket may have been removed. What it wrote down is believed if it is that very process that lives.
                let record = files.read_record().ok().flatten().filter(|record| record.shim.is_alive());
                if let Some(record) = record {
                    return Ok(Some(RecordedRun { record, is_kept: true, reached: None }));
                }
                // It may just have ended: then the lock is free by now.
                if clock::now() >= deadline.plus(FIRST_REPORT_TIMEOUT) {
                    let lock = files.lock();
                    let why =
                        format!("its shim holds the lock `{}` and does not answer: {error}", lock.display());
                    return Err(unknown_because(&why));
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(2)).await,
        }
    }
}

/// Nobody keeps the service, unless the lock that its shim holds was deleted. What its record says, if it has one that can be
/// read: one that is damaged says nothing, and one that cannot be read at this moment is waited for, but not for ever.
fn unlocked(files: &Files, began: Moment) -> Result<Option<RecordedRun>, String> {
    let is_lost = |error: &io::Error| {
        matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::IsADirectory)
            || clock::now() >= began.plus(READ_TIMEOUT)
    };
    let record = files.read_record();
    let is_kept = match &record {
        Ok(Some(record)) if !record.is_end() => {
            process::lost::keeps(record.shim, files).map_err(|why| unknown_because(&why))?
        }
        _ => false,
    };
    if !is_kept {
        // Nobody listens there; a shim that ended on a disk that could not be written has left it.
        let _ = std::fs::remove_file(files.socket());
    }
    match record {
        Ok(record) => Ok(record.map(|record| RecordedRun { record, is_kept, reached: None })),
        Err(error) if is_lost(&error) => {
            tracing::warn!(path = %files.record().display(), %error, "cannot read how its last run ended");
            Ok(None)
        }
        Err(error) => {
            let record = files.record();
            Err(format!(
                "it has ended with an unknown exit status: cannot read `{}`: {error}",
                record.display()
            ))
        }
    }
}

/// Whether the directory was removed just now.
fn is_gone(files: &Files) -> bool {
    files.directory().try_exists().is_ok_and(|there| !there)
}

/// What follows from the one look that was taken. It is not repeated here: whatever a second one saw that the first did not
/// would be lost.
///
/// - Nobody kept the service: the record was read while we held its lock. A shim writes its last record before it lets go of
///   the lock, and nobody begins without it, so that record is the last word.
/// - Its shim kept it when it was asked, or had written so and lived: the run goes on for us, whatever has become of it since.
///   Whoever [adopts](process::adopt) it hears what comes, and when the shim has ended reads what it wrote down before that.
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

/// What a manager runs leaves no trace with us. If it was up, its manager says whether it is; where it has not answered,
/// nobody knows.
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

/// Whether it was up for all that is known, and nothing was being done about it.
fn is_to_be_asked(memory: &PersistedState) -> bool {
    memory.state.is_active()
}

/// Asks managers what has become of what they ran when the former daemon ended, so that nobody is told what only it
/// knew. One that does not answer soon is not waited for.
pub(super) async fn query_managers(
    drivers: &Drivers,
    found: &RecoveredRuns,
    memories: &BTreeMap<Name, PersistedState>,
) -> BTreeMap<Name, ManagerReport> {
    let is_kept = |name: &Name| {
        found.runs.get(name).is_some_and(|trace| matches!(trace.found, Discovered::Running { .. }))
    };
    let asked = found.plan.ids().map(|id| found.plan.service(id)).filter_map(|service| {
        let memory = memories.get(&service.name).filter(|memory| is_to_be_asked(memory))?;
        let definition = kept(&drivers.paths, service, memory.run, found.orphaned.contains(&service.name));
        // Where it is lost with which it was started, that of now is asked only if it was accepted.
        let definition =
            definition.or_else(|| drivers.acceptance.covers(service).then(|| Arc::clone(service)))?;
        (definition.is_managed() && !is_kept(&service.name)).then_some(definition)
    });
    let asked: Vec<Arc<Service>> = asked.collect();
    if asked.is_empty() {
        return BTreeMap::new();
    }
    drivers.managers.query_all(found.plan.settings(), asked, MANAGER_TIMEOUT).await
}

#[cfg(test)]
mod tests;
