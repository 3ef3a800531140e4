//! Adopts services in their [recovered](super::recovery) state: follows running services, and reports the end of the
//! others.

use super::leftover::with_orphaned;
use super::recovery::{definition_of_run, elsewhere};
use super::run_trace::RunTrace;
use super::runtime::{LastRun, Orphaned, RunTasks, Saved};
use super::task::Engine;
use service_core::config::Service;
use service_core::service::{Discovered, Event, PersistedState, State};
use service_core::{Id, Moment, Name, Plan};
use service_host::clock;
use service_host::report::ManagerReport;
use service_host::report::Observation;
use service_manager as manager;
use service_shim::Phase;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Observations during an adoption, which are reported once the snapshot contains the services.
#[derive(Default)]
struct Discoveries {
    events: Vec<(Name, u64, Event)>,
    known: Vec<(Name, u64, Observation)>,
}

impl Discoveries {
    fn add_observation(&mut self, name: &Name, run: u64, report: Observation) {
        self.known.push((name.clone(), run, report));
    }
}

impl Engine {
    /// Adopts every service in its recovered state. Returns observations of the runs, to be
    /// [applied](Engine::apply_observation) once the snapshot contains the services.
    pub(super) fn adopt_all(
        &mut self,
        mut memories: BTreeMap<Name, PersistedState>,
        mut runs: BTreeMap<Name, RunTrace>,
        mut reported: BTreeMap<Name, ManagerReport>,
    ) -> Vec<(Name, u64, Observation)> {
        let (mut discoveries, now) = (Discoveries::default(), clock::now());
        let plan = Arc::clone(self.fleet.plan());
        for id in plan.ids() {
            let name = &plan.service(id).name;
            let (memory, trace) = (memories.remove(name), runs.remove(name));
            self.adopt_service(id, memory, trace, reported.remove(name), &mut discoveries, now);
        }
        self.settled(discoveries, now)
    }

    /// Lets the fleet decide on the adopted services.
    fn settled(&mut self, discoveries: Discoveries, now: Moment) -> Vec<(Name, u64, Observation)> {
        self.fleet.resume(now);
        for (name, run, event) in discoveries.events {
            self.handle_event(&name, run, event);
        }
        discoveries.known
    }

    /// Handles the result of a later examination of a service in an unknown state.
    pub(super) async fn handle_trace(&mut self, name: &Name, trace: RunTrace) {
        if trace.may_run() && self.fleet.plan().id(name).is_none() {
            self.add_orphaned(name).await;
        }
        let Some(id) = self.fleet.plan().id(name) else { return };
        let machine = self.fleet.machine(id);
        if machine.state().unknown_because().is_none() {
            return;
        }
        let memory =
            Some(machine.memory().last_known()).filter(|memory| *memory != PersistedState::default());
        let (mut discoveries, now) = (Discoveries::default(), clock::now());
        self.adopt_service(id, memory, Some(trace), None, &mut discoveries, now);
        let known = self.settled(discoveries, now);
        self.refresh(id);
        for (name, run, report) in known {
            self.apply_observation(&name, run, report);
        }
    }

    /// Adds a service without a definition, so that the service can be displayed and stopped.
    async fn add_orphaned(&mut self, name: &Name) {
        let plan = with_orphaned(Plan::clone(self.fleet.plan()), &BTreeSet::from([name.clone()]));
        self.replan(plan).await;
        let Some(id) = self.fleet.plan().id(name) else { return };
        self.services[id.index()].orphaned = Orphaned::Yes;
        self.fleet.restore(
            id,
            PersistedState::default(),
            Discovered::Unclear { why: String::new() },
            clock::now(),
        );
    }

    /// Retains the last run numbers of the services that another plan does not have. A number may be missing in the
    /// directory of a service, for example because the disk was full.
    pub(super) fn retire_runs(&mut self, next: &Plan) {
        let plan = Arc::clone(self.fleet.plan());
        for id in plan.ids().filter(|id| next.id(&plan.service(*id).name).is_none()) {
            self.retired.insert(&plan.service(id).name, self.fleet.machine(id).run());
        }
    }

    /// Continues the run numbers of a service that is defined again, if this daemon assigned them or its directory
    /// still exists. If a number were repeated, records of the earlier run would be attributed to the later one.
    pub(super) fn number_runs(&mut self, returned: &[Id]) {
        let plan = Arc::clone(self.fleet.plan());
        for id in returned.iter().copied() {
            let files = self.drivers.paths.files(&plan.service(id).name);
            let recorded = files.read_record().ok().flatten().map_or(0, |record| record.run);
            // A run of a manager has no record.
            let saved = recorded.max(self.drivers.definitions.last_run(&plan.service(id).name));
            let run = saved.max(self.retired.remove(&plan.service(id).name));
            if run > 0 {
                let memory = PersistedState { run, ..PersistedState::default() };
                self.fleet.restore(id, memory, Discovered::Absent, clock::now());
            }
        }
    }

    /// Adopts one service in its recovered state.
    fn adopt_service(
        &mut self,
        id: Id,
        memory: Option<PersistedState>,
        mut trace: Option<RunTrace>,
        reported: Option<ManagerReport>,
        discoveries: &mut Discoveries,
        now: Moment,
    ) {
        let plan = Arc::clone(self.fleet.plan());
        let name = &plan.service(id).name;
        // The state file has no service that was not defined when it was written. No run number is assigned twice.
        let may_run = trace.as_ref().is_some_and(RunTrace::may_run) || reported.is_some();
        let memory = memory.or_else(|| {
            let run = self.drivers.definitions.last_run(name);
            (run > 0 && !may_run).then(|| PersistedState { run, ..PersistedState::default() })
        });
        let mut found_shim = None;
        if let Some(RunTrace { found: Discovered::Running { .. }, record: Some(record), reached }) =
            &mut trace
        {
            // The pid is set at once, before clients query it. The shim is reported later, or never if it is frozen.
            let leader = match record.phase {
                Phase::Running { leader, .. } => Some(leader),
                Phase::Launching { .. }
                | Phase::Exited { .. }
                | Phase::Finished { .. }
                | Phase::LaunchFailed { .. } => None,
            };
            discoveries.add_observation(
                name,
                record.run,
                Observation::Processes { leader, shim: record.shim },
            );
            if leader.is_some() {
                self.drivers.reports.event(name, record.run, Event::Launched);
            }
            let shim = self.drivers.shims.reattach(plan.service(id), record.clone(), reached.take());
            found_shim = Some(shim);
        }
        let record = trace.as_ref().and_then(|trace| trace.record.as_ref());
        if let Some(record) = record {
            discoveries.add_observation(name, record.run, Observation::Missing(record.dropped_lines()));
            if let Some(left) = record.leftover.clone() {
                discoveries.add_observation(name, record.run, Observation::Left(left));
            }
        }
        let remembered = memory.as_ref().map_or(0, |memory| memory.run);
        let run = record.map_or(remembered, |record| record.run.max(remembered));
        let definition =
            definition_of_run(&self.drivers.definitions, plan.service(id), run, self.is_orphaned(id));
        if definition.as_deref().is_some_and(Service::is_managed) {
            // The run had no shim.
            trace = trace.filter(|trace| trace.unclear_reason().is_none());
        }
        let judged = definition.as_ref().unwrap_or(plan.service(id));
        let found = match elsewhere(judged, memory.as_ref(), run, reported.as_ref()) {
            Some(found) if !trace.as_ref().is_some_and(RunTrace::may_run) => {
                if matches!(memory.as_ref().map(|memory| &memory.state), Some(State::Launching { .. })) {
                    // The first status query shows whether the start call had an effect.
                    discoveries.events.push((name.clone(), run, Event::Launched));
                }
                found
            }
            _ => trace.map_or(Discovered::Absent, |trace| trace.found),
        };
        if let Some(reported) = reported {
            let entry = self.services[id.index()].edit();
            // The check belongs to the reported run.
            entry.snapshot.run = run;
            entry.check = Some(Arc::new(reported.check));
            if manager::decides(judged) {
                discoveries.events.push((name.clone(), run, reported.event));
            }
            discoveries.add_observation(name, run, Observation::Manager(reported.info));
        }
        if let Some(definition) = definition {
            if let Discovered::Running { .. } | Discovered::Unclear { .. } = &found {
                self.fleet.set_running_definition(id, Arc::clone(&definition));
            }
            self.services[id.index()].last_run = Some(LastRun { definition, saved: Saved::Yes });
        }
        let stranger = || {
            if let Discovered::Running { .. } = found {
                PersistedState::unknown_run()
            } else {
                PersistedState::default()
            }
        };
        let memory = memory.unwrap_or_else(stranger);
        // Restarts that the previous daemon counted are not counted again.
        self.services[id.index()].edit().snapshot.restarts = memory.restarts;
        self.fleet.restore(id, memory, found, now);
        if let Some(shim) = found_shim {
            self.services[id.index()].run = RunTasks::for_found_run(self.fleet.machine(id).run(), shim);
        }
        if self.is_orphaned(id) {
            self.fleet.decommission(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::ServiceOrchestrator;
    use service_config::load;
    use service_core::Plan;
    use service_host::disk::Disk;
    use service_store::{BegunRun, RunDefinitions};

    #[tokio::test]
    async fn a_service_that_comes_back_goes_on_with_the_numbers_of_its_runs() {
        let orchestrator = ServiceOrchestrator::new().await.unwrap();
        let plan = |text: &str| Plan::compile(load::config_from_str(text, "services.toml").unwrap()).unwrap();
        let web = || plan("[services.web]\nstart_command = \"sleep 1000\"\n");
        for run in 1..=2 {
            orchestrator.replan(web()).await.unwrap();
            orchestrator.start_service("web").await.unwrap();
            assert_eq!(orchestrator.fleet_snapshot().entry("web").unwrap().snapshot.run, run);
            orchestrator.stop_service("web").await.unwrap();
            orchestrator.replan(plan("")).await.unwrap();
        }
        orchestrator.shutdown().await;
    }

    #[tokio::test]
    async fn so_does_one_of_which_nothing_could_be_written_down() {
        let state = tempfile::tempdir().unwrap();
        let orchestrator = ServiceOrchestrator::builder().state_dir(state.path()).start().await.unwrap();
        let plan = |text: &str| Plan::compile(load::config_from_str(text, "services.toml").unwrap()).unwrap();
        for run in 1..=2 {
            let web = plan("[services.web]\nstart_command = \"sleep 1000\"\n");
            orchestrator.replan(web).await.unwrap();
            orchestrator.start_service("web").await.unwrap();
            assert_eq!(orchestrator.fleet_snapshot().entry("web").unwrap().snapshot.run, run);
            orchestrator.stop_service("web").await.unwrap();
            for file in ["run/web/run.json", "definitions.jsonl"] {
                std::fs::remove_file(state.path().join(file)).unwrap();
            }
            orchestrator.replan(plan("")).await.unwrap();
        }
        orchestrator.shutdown().await;
    }

    #[tokio::test]
    async fn so_does_one_that_a_manager_runs() {
        let state = tempfile::tempdir().unwrap();
        let definitions = RunDefinitions::open(state.path(), Disk::default()).unwrap();
        let text = "[services.web]\nstart_command = \"sleep 1000\"\nmanager = \"command\"\nstop_command = \"true\"\n";
        let plan = |text: &str| Plan::compile(load::config_from_str(text, "services.toml").unwrap()).unwrap();
        let web = plan(text);
        for run in [6, 7] {
            let definition = &**web.service(web.ids().next().unwrap());
            definitions.save(&[BegunRun { definition, run, is_repeated: run == 7 }]).unwrap();
        }
        let builder = || ServiceOrchestrator::builder().state_dir(state.path());
        let orchestrator = builder().start_plan(plan("")).await.unwrap();
        orchestrator.replan(web).await.unwrap();
        assert_eq!(orchestrator.fleet_snapshot().entry("web").unwrap().snapshot.run, 7);
        orchestrator.shutdown().await;
    }

    #[tokio::test]
    async fn so_does_one_that_was_not_defined_when_the_last_daemon_ended() {
        let state = tempfile::tempdir().unwrap();
        let definitions = RunDefinitions::open(state.path(), Disk::default()).unwrap();
        let text = "[services.web]\nstart_command = \"sleep 1000\"\n";
        let plan = Plan::compile(load::config_from_str(text, "services.toml").unwrap()).unwrap();
        let definition = &**plan.service(plan.ids().next().unwrap());
        definitions.save(&[BegunRun { definition, run: 7, is_repeated: false }]).unwrap();
        let orchestrator =
            ServiceOrchestrator::builder().state_dir(state.path()).start_plan(plan).await.unwrap();
        orchestrator.start_service("web").await.unwrap();
        assert_eq!(orchestrator.fleet_snapshot().entry("web").unwrap().snapshot.run, 8);
        orchestrator.stop_service("web").await.unwrap();
        orchestrator.shutdown().await;
    }
}
