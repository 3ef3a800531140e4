//! What a former daemon left: shims that run, records of runs that ended, services that are no longer defined.

use super::task::Task;
use super::{Report, is_managed, ran};
use crate::clock;
use crate::manager::{self, Heard};
use crate::process::{self, Reached};
use crate::room::Room;
use crate::world::{Places, World};
use service_api::redact;
use service_core::config::{Command, Config, Restart, Service};
use service_core::service::{Event, Exit, Found, Memory, State};
use service_core::{Moment, Name, Plan};
use service_shim::{Files, Phase, Record};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// How long managers may take to say what became of what they run. Most do in a tenth of that.
const HEARING: Duration = Duration::from_secs(2);
/// How long a launch that was sent off may take to show.
const LAUNCH: Duration = Duration::from_millis(500);
/// At how many services one looks side by side: each takes two descriptors.
const AT_ONCE: usize = 64;
/// How long a shim that was just started may take to say so.
const FIRST_WORDS: Duration = Duration::from_secs(2);

/// The plan, with the services that run although they are no longer defined, and what was found of each service.
pub(super) struct Traces {
    pub(super) plan: Plan,
    pub(super) left_over: BTreeSet<Name>,
    pub(super) runs: BTreeMap<Name, Trace>,
}

/// What was found of one service.
pub(super) struct Trace {
    found: Found,
    record: Record,
    reached: Option<Reached>,
}

/// What a service's directory says of its last run.
struct Last {
    record: Record,
    /// Whether somebody holds the lock of a run.
    is_kept: bool,
    /// The connection to the shim, if it was asked itself and there is room for it.
    reached: Option<Reached>,
}

/// Looks at every service's directory, at many side by side: a shim that is frozen keeps nobody else waiting.
pub(super) async fn look(places: &Arc<Places>, plan: Plan, memories: &BTreeMap<Name, Memory>) -> Traces {
    let managed = |name: &Name| plan.id(name).is_some_and(|id| is_managed(plan.service(id)));
    let lost = process::lost::call_back(places, memories, managed).await;
    wait_for_launches(places, memories).await;
    let (mut looks, mut runs) = (JoinSet::new(), BTreeMap::new());
    let at_once = Room::now().looks(AT_ONCE);
    for entry in std::fs::read_dir(places.services()).into_iter().flatten().flatten() {
        let Some(name) = entry.file_name().to_str().and_then(|name| Name::new(name).ok()) else { continue };
        if lost.contains_key(&name) {
            continue;
        }
        if looks.len() >= at_once {
            runs.extend(looks.join_next().await.and_then(Result::ok).flatten());
        }
        looks.spawn(trace(Arc::clone(places), name));
    }
    runs.extend(looks.join_all().await.into_iter().flatten());
    for (name, record) in lost {
        let found = found(&record, true, places, &name).await;
        runs.insert(name, Trace { found, record, reached: None });
    }
    let running = runs.iter().filter(|(_, trace)| matches!(trace.found, Found::Running { .. }));
    let left_over: BTreeSet<Name> =
        running.map(|(name, _)| name.clone()).filter(|name| plan.id(name).is_none()).collect();
    Traces { plan: with_left_overs(plan, &left_over), left_over, runs }
}

async fn trace(places: Arc<Places>, name: Name) -> Option<(Name, Trace)> {
    match last_record(&places.files(&name)).await {
        Ok(Some(Last { record, is_kept, reached })) => {
            let found = found(&record, is_kept, &places, &name).await;
            if !matches!(found, Found::Running { .. }) {
                process::limits::leave_over(&places, &name).await;
            }
            Some((name, Trace { found, record, reached }))
        }
        Ok(None) => {
            process::limits::leave_over(&places, &name).await;
            None
        }
        Err(error) => {
            tracing::warn!(service = %name, %error, "cannot read the record of its last run");
            None
        }
    }
}

/// A launch that the former daemon had sent off is still carried out. Until that shows, or it is clear that it got lost,
/// nobody may think that there is none.
async fn wait_for_launches(places: &Places, memories: &BTreeMap<Name, Memory>) {
    let deadline = clock::now().plus(LAUNCH);
    let is_out = |memory: &Memory| matches!(memory.state, State::Launching { .. });
    for (name, memory) in memories.iter().filter(|(_, memory)| is_out(memory)) {
        let files = places.files(name);
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

/// The record of the last run. While a shim holds the lock it is asked itself, whatever lies on the disk, and waited for
/// if it has only just been started: a second one must not be started beside it. One that lives and says nothing, because
/// it is frozen, has written down what it would say.
async fn last_record(files: &Files) -> std::io::Result<Option<Last>> {
    let deadline = clock::now().plus(FIRST_WORDS);
    loop {
        if let Some(_lock) = files.try_lock()? {
            let record = files.read_record()?;
            // Somebody may have deleted the lock that it holds.
            let is_kept = record
                .as_ref()
                .is_some_and(|record| !record.is_end() && process::lost::keeps(record.shim, files));
            if !is_kept {
                // Nobody listens there; a shim that ended on a disk that could not be written has left it.
                let _ = std::fs::remove_file(files.socket());
            }
            return Ok(record.map(|record| Last { record, is_kept, reached: None }));
        }
        match process::ask(files).await {
            Ok((record, talk)) => {
                return Ok(Some(Last { record, is_kept: true, reached: Reached::keep(talk) }));
            }
            Err(error) if clock::now() >= deadline => {
                // Its socket may have been removed. What it wrote down is believed if it is that very process that lives.
                let record = files.read_record().ok().flatten().filter(|record| record.shim.is_alive());
                if let Some(record) = record {
                    return Ok(Some(Last { record, is_kept: true, reached: None }));
                }
                // It may just have ended: then the lock is free by now.
                if clock::now() >= deadline.plus(FIRST_WORDS) {
                    return Err(error);
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(2)).await,
        }
    }
}

/// What follows from the one look that was taken. It is not repeated here: whatever a second one saw that the first did not
/// would be lost.
///
/// - Nobody kept the service: the record was read while we held its lock. A shim writes its last record before it lets go of
///   the lock, and nobody begins without it, so that record is the last word.
/// - Its shim kept it when it was asked, or had written so and lived: the run goes on for us, whatever has become of it since.
///   Whoever [adopts](process::adopt) it hears what comes, and when the shim has ended reads what it wrote down before that.
async fn found(record: &Record, is_kept: bool, places: &Places, name: &Name) -> Found {
    let run = record.run;
    match &record.phase {
        _ if record.boot_id != places.boot_id => Found::Nothing,
        Phase::Gone { exit, .. } => {
            Found::Over { run, event: Event::Gone(process::limits::exit(places, name, run, *exit)) }
        }
        Phase::Refused { message, .. } => {
            Found::Over { run, event: Event::Refused(redact(message).into_owned()) }
        }
        Phase::Launching { at } | Phase::Running { at, .. } | Phase::Exited { at, .. } if is_kept => {
            Found::Running { run, launched: Moment::from_nanos(*at) }
        }
        Phase::Exited { leader, exit, .. } => {
            process::orphans::end(places, name, run, Some(*leader)).await;
            Found::Over { run, event: Event::Gone(process::limits::exit(places, name, run, *exit)) }
        }
        Phase::Launching { .. } => {
            process::orphans::end(places, name, run, None).await;
            Found::Over { run, event: Event::Gone(Exit::Unknown) }
        }
        Phase::Running { leader, .. } => {
            process::orphans::end(places, name, run, Some(*leader)).await;
            Found::Over { run, event: Event::Gone(Exit::Unknown) }
        }
    }
}

/// The plan and these services, which only need to be seen and stopped.
pub(super) fn with_left_overs(plan: Plan, names: &BTreeSet<Name>) -> Plan {
    let left_over = |name: Name| {
        let mut service = Service::new(name);
        service.description = "no longer defined; goes when it is stopped".to_owned();
        service.restart = Restart::No;
        service.start_command = Command { text: "true".to_owned(), argv: vec!["true".to_owned()] };
        service
    };
    if names.is_empty() {
        return plan;
    }
    let defined = plan.ids().map(|id| Service::clone(plan.service(id)));
    let services = defined.chain(names.iter().cloned().map(left_over)).collect();
    Plan::compile(Config { settings: plan.settings().clone(), services })
        .expect("services without dependencies, of names that are not in the plan, cannot make it wrong")
}

/// What a manager runs leaves no trace with us. If it was up, its manager says whether it is; where it has not answered,
/// nobody knows.
fn elsewhere(
    definition: &Service,
    memory: Option<&Memory>,
    run: u64,
    heard: Option<&Heard>,
) -> Option<Found> {
    let memory = memory.filter(|memory| memory.run == run && memory.state.is_alive())?;
    let launched = memory.state.launched().unwrap_or_default();
    is_managed(definition).then(|| match heard.map(|heard| &heard.event) {
        Some(event @ Event::Gone(_)) => Found::Over { run, event: event.clone() },
        None if is_to_be_asked(memory) => Found::Unheard { run, launched },
        _ => Found::Running { run, launched },
    })
}

/// Whether it was up for all that is known, and nothing was being done about it.
fn is_to_be_asked(memory: &Memory) -> bool {
    memory.state.is_going()
}

/// Asks managers what has become of what they ran when the former daemon ended, so that nobody is told what only it
/// knew. One that does not answer soon is not waited for.
pub(super) async fn hear(
    world: &World,
    found: &Traces,
    memories: &BTreeMap<Name, Memory>,
) -> BTreeMap<Name, Heard> {
    let is_kept =
        |name: &Name| found.runs.get(name).is_some_and(|trace| matches!(trace.found, Found::Running { .. }));
    let asked = found.plan.ids().map(|id| found.plan.service(id)).filter_map(|service| {
        let memory = memories.get(&service.name).filter(|memory| is_to_be_asked(memory))?;
        let definition = ran::kept(&world.places, service, memory.run).map(Arc::new);
        // Where it is lost with which it was started, that of now is asked only if it was accepted.
        let definition =
            definition.or_else(|| world.acceptance.covers(service).then(|| Arc::clone(service)))?;
        (is_managed(&definition) && !is_kept(&service.name)).then_some(definition)
    });
    let asked: Vec<Arc<Service>> = asked.collect();
    if asked.is_empty() {
        return BTreeMap::new();
    }
    manager::hear(world, found.plan.settings(), asked, HEARING).await
}

impl Task {
    /// Takes up every service where it is. Returns what is known of the runs that were found, to be
    /// [learned](Task::learned) once the board shows them.
    pub(super) fn recall(
        &mut self,
        mut memories: BTreeMap<Name, Memory>,
        mut runs: BTreeMap<Name, Trace>,
        mut heard: BTreeMap<Name, Heard>,
    ) -> Vec<(Name, u64, Report)> {
        let (mut known, mut events) = (Vec::new(), Vec::new());
        let now = clock::now();
        let plan = Arc::clone(self.fleet.plan());
        for id in plan.ids() {
            let name = &plan.service(id).name;
            let mut trace = runs.remove(name);
            if let Some(Trace { found: Found::Running { .. }, record, reached }) = &mut trace {
                // Its pid is known before anybody can ask; the shim itself has not been heard yet, and is not if it is
                // frozen.
                let leader = match record.phase {
                    Phase::Running { leader, .. } => Some(leader),
                    Phase::Launching { .. }
                    | Phase::Exited { .. }
                    | Phase::Gone { .. }
                    | Phase::Refused { .. } => None,
                };
                known.push((name.clone(), record.run, Report::Processes { leader, keeper: record.shim }));
                if leader.is_some() {
                    self.world.report(name, record.run, Event::Launched);
                }
                let keeper =
                    process::adopt(self.world.clone(), plan.service(id), record.clone(), reached.take());
                self.keepers.insert(name.clone(), keeper);
            }
            if let Some(Trace { record, .. }) = &trace {
                known.push((name.clone(), record.run, Report::Missing(record.missing())));
                known.extend(record.left.clone().map(|left| (name.clone(), record.run, Report::Left(left))));
            }
            let memory = memories.remove(name);
            let remembered = memory.as_ref().map_or(0, |memory| memory.run);
            let run = trace.as_ref().map_or(remembered, |trace| trace.record.run.max(remembered));
            let definition = ran::kept(&self.world.places, plan.service(id), run).map(Arc::new);
            let judged = definition.as_ref().unwrap_or(plan.service(id));
            let heard = heard.remove(name);
            let found = match elsewhere(judged, memory.as_ref(), run, heard.as_ref()) {
                Some(found) if !matches!(trace, Some(Trace { found: Found::Running { .. }, .. })) => {
                    if matches!(memory.as_ref().map(|memory| &memory.state), Some(State::Launching { .. })) {
                        // Whether that call did it is for the first answer to tell.
                        events.push((name.clone(), run, Event::Launched));
                    }
                    found
                }
                _ => trace.map_or(Found::Nothing, |trace| trace.found),
            };
            if let Some(heard) = heard {
                let entry = Arc::make_mut(&mut self.entries[id.index()]);
                // It is of that run, whatever comes next.
                entry.snapshot.run = run;
                entry.check = Some(Arc::new(heard.check));
                if manager::decides(judged) {
                    events.push((name.clone(), run, heard.event));
                }
                known.push((name.clone(), run, Report::Told(heard.told)));
            }
            if let Some(definition) = definition {
                if let Found::Running { .. } = &found {
                    self.fleet.remember(id, Arc::clone(&definition));
                }
                self.ran.insert(name.clone(), definition);
            }
            let stranger = || {
                if let Found::Running { .. } = found { Memory::of_a_stranger() } else { Memory::default() }
            };
            let memory = memory.unwrap_or_else(stranger);
            // What the former daemon has counted is not counted again.
            Arc::make_mut(&mut self.entries[id.index()]).snapshot.restarts = memory.restarts;
            self.fleet.recall(id, memory, found, now);
            if self.left_over.contains(name) {
                self.fleet.retire(id);
            }
        }
        self.fleet.resume(now);
        for (name, run, event) in events {
            self.happened(&name, run, event);
        }
        known
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use service_shim::{PROTOCOL_VERSION, Process};

    /// Of a shim that has ended, whatever its pid is used for now.
    fn record(phase: Phase) -> Record {
        Record {
            version: PROTOCOL_VERSION,
            service: "web".to_owned(),
            run: 3,
            boot_id: String::new(),
            shim: Process { pid: std::process::id(), start_time: 0 },
            phase,
            notified: false,
            dropped: 0,
            untold: 0,
            said: service_shim::protocol::Said::default(),
            left: None,
        }
    }

    #[tokio::test]
    async fn who_was_kept_when_it_was_looked_at_is_running_although_its_shim_has_ended_since() {
        let directory = tempfile::tempdir().unwrap();
        let (project, base_dir, boot_id, disk) = Default::default();
        let state_dir = directory.path().to_owned();
        let places = Places { state_dir, refuge: None, project, base_dir, nu: None, boot_id, disk };
        let name = Name::new("web").unwrap();
        let leader = Process { pid: std::process::id(), start_time: 0 };
        let exit = service_shim::Exit::Code(0);
        for phase in [Phase::Running { leader, at: 1 }, Phase::Exited { leader, exit, at: 1 }] {
            let found = found(&record(phase), true, &places, &name).await;
            assert_eq!(found, Found::Running { run: 3, launched: Moment::from_nanos(1) });
        }
        let ended = record(Phase::Gone { exit, at: 2 });
        for is_kept in [true, false] {
            let over = Found::Over { run: 3, event: Event::Gone(Exit::Code(0)) };
            assert_eq!(found(&ended, is_kept, &places, &name).await, over);
        }
        let killed = found(&record(Phase::Running { leader, at: 1 }), false, &places, &name).await;
        assert_eq!(killed, Found::Over { run: 3, event: Event::Gone(Exit::Unknown) });
    }
}
