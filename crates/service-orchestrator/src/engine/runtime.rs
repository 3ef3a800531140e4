//! [`ServiceRuntime`]: the engine's data of one service. [`RunTasks`]: the part that ends with a run. [`RetiredRuns`]:
//! the part that outlives the service.

use crate::snapshot::ServiceSnapshot;
use service_core::Name;
use service_core::config::Service;
use service_host::report::ManagerInfo;
use service_process::ShimHandle;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::task::AbortHandle;

/// The number of removed services whose last run number is retained.
const MAX_RETIRED_COUNT: usize = 10_000;

/// The numbers of the last runs of services that are no longer defined. A run number is never assigned again.
#[derive(Default)]
pub(super) struct RetiredRuns(BTreeMap<Name, u64>);

impl RetiredRuns {
    pub(super) fn insert(&mut self, name: &Name, run: u64) {
        if run > 0 && self.0.len() < MAX_RETIRED_COUNT {
            self.0.insert(name.clone(), run);
        }
    }

    /// Removes and returns the number of the last run of a service that is defined again; 0 without any.
    pub(super) fn remove(&mut self, name: &Name) -> u64 {
        self.0.remove(name).unwrap_or(0)
    }
}

/// The engine's data of one service in the plan.
pub(super) struct ServiceRuntime {
    pub(super) snapshot: Arc<ServiceSnapshot>,
    /// The definition of the last start.
    pub(super) last_run: Option<LastRun>,
    pub(super) run: RunTasks,
    pub(super) orphaned: Orphaned,
}

/// The definition of a run.
pub(super) struct LastRun {
    pub(super) definition: Arc<Service>,
    pub(super) saved: Saved,
}

/// Whether the definition of a run is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Saved {
    Yes,
    No,
}

/// Whether the service runs without a definition. Such a service is removed when it has stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Orphaned {
    Yes,
    No,
}

/// The data of one run. Dropping it aborts tasks that wait for the run.
#[derive(Default)]
pub(super) struct RunTasks {
    /// The number of the run.
    id: u64,
    pub(super) shim: Option<ShimHandle>,
    /// The task that watches the log or the port for readiness.
    pub(super) readiness: Option<AbortOnDrop>,
    /// The last call of the manager. Only another call aborts it, because an aborted call may leave partial results.
    pub(super) manager_call: Option<AbortHandle>,
    /// Set if the manager has already started this run, by a restart in one call.
    pub(super) restarted_by_manager: Option<ManagerInfo>,
}

/// A task that is aborted when this handle is dropped.
pub(super) struct AbortOnDrop(AbortHandle);

impl From<AbortHandle> for AbortOnDrop {
    fn from(task: AbortHandle) -> Self {
        Self(task)
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl ServiceRuntime {
    /// A service that has not run.
    pub(super) fn new(snapshot: ServiceSnapshot, orphaned: Orphaned) -> Self {
        Self { snapshot: Arc::new(snapshot), last_run: None, run: RunTasks::default(), orphaned }
    }

    pub(super) fn is_orphaned(&self) -> bool {
        self.orphaned == Orphaned::Yes
    }

    /// The snapshot, for changes.
    pub(super) fn edit(&mut self) -> &mut ServiceSnapshot {
        Arc::make_mut(&mut self.snapshot)
    }

    /// The definition of the last run.
    pub(super) fn last_definition(&self) -> Option<&Arc<Service>> {
        self.last_run.as_ref().map(|last| &last.definition)
    }
}

impl RunTasks {
    /// The data of an adopted run with a shim.
    pub(super) fn for_found_run(id: u64, shim: ShimHandle) -> Self {
        Self { id, shim: Some(shim), ..Self::default() }
    }

    /// Drops the data of an earlier run, except for a start of this run by the manager.
    pub(super) fn enter_run(&mut self, id: u64) {
        if self.id < id {
            let restarted_by_manager = self.restarted_by_manager.take();
            *self = Self { id, restarted_by_manager, ..Self::default() };
        }
    }

    /// Drops all data: the run has ended, and no other has begun.
    pub(super) fn end(&mut self) {
        *self = Self { id: self.id, ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ServiceOrchestrator, load};
    use service_core::config::Origin;
    use std::path::Path;
    use std::sync::Weak;
    use std::time::Duration;

    fn transient(name: &str, command: &str) -> Service {
        let text = format!("[services.{name}]\noneshot = true\nstart_command = \"{command}\"\n");
        let config = load::config_from_str(&text, "services.toml").unwrap();
        Service { origin: Origin::Transient, ..config.services[0].clone() }
    }

    async fn until(what: &str, is_so: impl Fn() -> bool) {
        for _ in 0..3_000 {
            if is_so() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{what}");
    }

    #[tokio::test]
    async fn runs_that_are_forgotten_leave_no_definition() {
        let orchestrator = ServiceOrchestrator::new().await.unwrap();
        let mut definitions: Vec<Weak<Service>> = Vec::new();
        for nth in 0..100 {
            let service = transient(&format!("run-{nth}"), "true");
            let name = service.name.clone();
            orchestrator.redefine(vec![service], Vec::new()).await.unwrap();
            orchestrator.start_service(&name).await.unwrap();
            definitions.push(Arc::downgrade(&orchestrator.fleet_snapshot().entry(&name).unwrap().definition));
            assert_eq!(orchestrator.redefine(Vec::new(), vec![name.clone()]).await.unwrap(), [name]);
        }
        let is_gone = |definition: &Weak<Service>| definition.upgrade().is_none();
        until("a definition is kept", || definitions.iter().all(is_gone)).await;
        orchestrator.shutdown().await;
    }

    #[tokio::test]
    async fn a_launch_that_is_refused_leaves_no_file_open() {
        let directory = tempfile::tempdir().unwrap();
        let builder = ServiceOrchestrator::builder().state_dir(directory.path());
        let orchestrator = builder.start().await.unwrap();
        orchestrator.redefine(vec![transient("web", "/not/there")], Vec::new()).await.unwrap();
        orchestrator.start_service("web").await.unwrap_err();
        let files = directory.path().join("services");
        let is_open = |files: &Path| {
            let open = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
            open.filter_map(|open| std::fs::read_link(open.path()).ok()).any(|path| path.starts_with(files))
        };
        until("a file of the service is open", || !is_open(&files)).await;
        orchestrator.shutdown().await;
    }

    #[test]
    fn that_a_manager_has_restarted_a_service_is_for_the_next_run_alone() {
        let info = || Some(ManagerInfo::default());
        let mut run = RunTasks { id: 1, restarted_by_manager: info(), ..RunTasks::default() };
        run.enter_run(2);
        assert_eq!(run.restarted_by_manager, info());
        run.restarted_by_manager = info();
        // The goal changed to down in between.
        run.end();
        run.enter_run(3);
        assert_eq!(run.restarted_by_manager, None);
    }

    #[tokio::test]
    async fn what_waits_for_a_run_ends_with_it() {
        let task = tokio::spawn(std::future::pending::<()>());
        let mut run = RunTasks { id: 1, readiness: Some(task.abort_handle().into()), ..RunTasks::default() };
        run.enter_run(1);
        assert!(run.readiness.is_some());
        run.enter_run(2);
        assert!(run.readiness.is_none());
        assert!(task.await.unwrap_err().is_cancelled());
    }
}
