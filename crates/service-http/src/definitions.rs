//! [`ProjectDefinitions`]: the definitions of a running daemon. The sources are its `services.toml`, which is loaded again
//! after a change, and the added services.

use service_api::{Code, Problem};
use service_config::load::{self, Addition, Additions};
use service_core::config::Service;
use service_core::{Name, Plan};
use service_host::blocking::{run_blocking, run_on_files};
use service_host::fs::FileStamp;
use service_orchestrator::ServiceOrchestrator;
use service_orchestrator::request::Enacted;
use service_orchestrator::snapshot::FleetSnapshot;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, MutexGuard, PoisonError};
use tokio::sync::{Mutex, Semaphore};

/// The maximum number of files and requests that are parsed and checked at the same time. This runs on other threads,
/// because the single thread of the runtime answers every client.
const MAX_CHECKS: usize = 2;
/// The number of threads that look at the file at the same time, on a disk that may not answer.
const MAX_LOOKS: usize = 4;
/// A larger file takes longer to load than a reader waits.
const SMALL_FILE_BYTES: u64 = 64 << 10;

/// The file and the additions. The mutex of the additions is asynchronous, because it is held across calls of the
/// orchestrator, so that two requests do not load the same change twice.
pub struct ProjectDefinitions {
    path: PathBuf,
    /// The last load. Requests can read it while another request is checked. A blocking mutex suffices: it is never
    /// held across an await.
    last: std::sync::Mutex<LastLoad>,
    additions: Mutex<Additions>,
    permits: Arc<Semaphore>,
    /// The permits to look at the file.
    looks: Arc<Semaphore>,
}

/// Whether a request has to wait until a changed file is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileState {
    Unchanged,
    /// Changed, and loaded in a moment.
    Small,
    Large,
}

/// The result of the last load of the file.
struct LastLoad {
    stamp: Option<FileStamp>,
    result: Result<(), Problem>,
}

/// One version of the file.
pub(super) struct FileRevision {
    /// The plan of the file, and the defaults of every service.
    file: (Plan, Service),
    /// The stamp of the file before it was read.
    stamp: Option<FileStamp>,
}

/// An added service.
pub(super) struct Loaded {
    pub(super) name: Name,
    /// Whether the definition equals the previous one of this name; `None` if there was none.
    pub(super) before: Option<Unchanged>,
}

/// Whether two definitions are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unchanged {
    Yes,
    No,
}

impl ProjectDefinitions {
    /// Starts with the present content of the file, which was loaded with this `result`.
    pub fn new(path: PathBuf, additions: Additions, result: Result<(), Problem>) -> Self {
        let last = std::sync::Mutex::new(LastLoad { stamp: FileStamp::read(&path), result });
        let additions = Mutex::new(additions);
        let (permits, looks) = (Arc::new(Semaphore::new(MAX_CHECKS)), Arc::new(Semaphore::new(MAX_LOOKS)));
        Self { path, last, additions, permits, looks }
    }

    /// Applies the file to the plan, if the file has changed. An invalid file changes nothing, and every call returns
    /// its error.
    pub(super) async fn refresh(&self, orchestrator: &ServiceOrchestrator) -> Result<(), Problem> {
        match self.result_if_unchanged(self.look().await?) {
            Some(result) => result,
            None => self.load_if_changed(&mut *self.additions.lock().await, orchestrator).await,
        }
    }

    /// The plan that the file defines now, with the added services.
    pub(super) async fn plan(&self) -> Result<Plan, Problem> {
        let (path, additions) = (self.path.clone(), self.additions().await);
        self.check(move || load::plan_with(&path, &additions)).await?
    }

    /// The present content of the file, for [`Self::apply_revision`], and its plan with added services.
    pub(super) async fn read(&self) -> Result<(FileRevision, Plan), Problem> {
        let (path, additions) = (self.path.clone(), self.additions().await);
        let read = move || {
            let stamp = FileStamp::read(&path);
            let file = load::with_defaults(&path)?;
            let plan = load::merged(&file, &additions);
            Ok((FileRevision { file, stamp }, plan))
        };
        self.check(read).await?
    }

    /// Replaces the plan by the plan of a revision, with the current additions, because other requests may have added
    /// or removed services since the file was read. If another revision was loaded meanwhile, nothing changes.
    pub(super) async fn apply_revision(
        &self,
        orchestrator: &ServiceOrchestrator,
        revision: &FileRevision,
    ) -> Result<Enacted, Problem> {
        let additions = self.additions.lock().await;
        if self.last_load().stamp != revision.stamp {
            return Ok(Enacted::No);
        }
        let (file, all) = (revision.file.clone(), additions.all().to_vec());
        orchestrator.replan(self.check(move || load::merged(&file, &all)).await?).await?;
        Ok(Enacted::Yes)
    }

    /// Defines each undefined addition whose dependencies are defined, because a rollback restores only the services of
    /// the file.
    pub(super) async fn restore_additions(&self, orchestrator: &ServiceOrchestrator) -> Result<(), Problem> {
        let additions = self.additions.lock().await;
        let plan = orchestrator.plan();
        let is_missing = |addition: &&Addition| plan.id(&addition.name).is_none();
        let missing: Vec<Addition> = additions.all().iter().filter(is_missing).cloned().collect();
        if missing.is_empty() {
            return Ok(());
        }
        let (path, before) = (self.path.clone(), Plan::clone(&plan));
        let merge = move || {
            let (_, defaults) = load::with_defaults(&path)?;
            Ok::<_, Problem>(load::merged(&(before, defaults), &missing))
        };
        let whole = self.check(merge).await??;
        let fits = whole.ids().map(|id| whole.service(id)).filter(|service| plan.id(&service.name).is_none());
        let added: Vec<Service> = fits.map(|service| Service::clone(service)).collect();
        if !added.is_empty() {
            orchestrator.redefine(added, Vec::new()).await?;
        }
        Ok(())
    }

    /// The added services.
    pub(super) async fn additions(&self) -> Vec<Addition> {
        self.additions.lock().await.all().to_vec()
    }

    /// Adds all services that `choose` returns, or none. `choose` receives the file's plan, the present additions and
    /// the present state. If another request changes the additions or the file meanwhile, `choose` is called again.
    ///
    /// # Errors
    /// The file or a definition is invalid, or `additions.json` cannot be written.
    pub(super) async fn add(
        &self,
        orchestrator: &ServiceOrchestrator,
        choose: impl Fn(&Plan, &[Addition], &FleetSnapshot) -> Result<Vec<Addition>, Problem>
        + Send
        + Sync
        + 'static,
    ) -> Result<Vec<Loaded>, Problem> {
        let choose = Arc::new(choose);
        loop {
            self.refresh(orchestrator).await?;
            let (path, before) = (self.path.clone(), self.additions().await);
            let (choose, fleet) = (Arc::clone(&choose), orchestrator.fleet_snapshot());
            let check = move || {
                let stamp = FileStamp::read(&path);
                let file = load::with_defaults(&path)?;
                let fresh = choose(&file.0, &before, &fleet)?;
                Ok::<_, Problem>((stamp, CheckedAdditions::new(&file, before, fresh)?))
            };
            let (stamp, CheckedAdditions { before, all, services, loaded }) = self.check(check).await??;
            let mut additions = self.additions.lock().await;
            if additions.all() != before || self.last_load().stamp != stamp {
                continue;
            }
            persist(&mut additions, all)?;
            return match orchestrator.redefine(services, Vec::new()).await {
                Ok(_) => Ok(loaded),
                Err(problem) => {
                    persist(&mut additions, before)?;
                    Err(problem)
                }
            };
        }
    }

    /// Removes the inactive services among these added services, and returns their names.
    pub(super) async fn remove(
        &self,
        orchestrator: &ServiceOrchestrator,
        names: Vec<Name>,
    ) -> Result<Vec<Name>, Problem> {
        let mut additions = self.additions.lock().await;
        let before = additions.all().to_vec();
        let without = |names: &[Name]| {
            before.iter().filter(|addition| !names.contains(&addition.name)).cloned().collect()
        };
        // If the removal cannot be saved, nothing is removed: otherwise the next daemon would define the services
        // again, without their history.
        persist(&mut additions, without(&names))?;
        let removed = orchestrator.redefine(Vec::new(), names.clone()).await;
        let stays = |name: &Name| removed.as_ref().map_or(true, |removed| !removed.contains(name));
        if names.iter().any(stays) {
            persist(&mut additions, without(removed.as_deref().unwrap_or_default()))?;
        }
        removed
    }

    async fn load_if_changed(
        &self,
        additions: &mut Additions,
        orchestrator: &ServiceOrchestrator,
    ) -> Result<(), Problem> {
        let stamp = self.look().await?;
        if let Some(result) = self.result_if_unchanged(stamp) {
            return result;
        }
        let result = self.load(additions, orchestrator).await;
        *self.last_load() = LastLoad { stamp, result: result.clone() };
        result
    }

    /// The result of the last load, if the file has not changed since.
    fn result_if_unchanged(&self, now: Option<FileStamp>) -> Option<Result<(), Problem>> {
        let last = self.last_load();
        (last.stamp == now).then(|| last.result.clone())
    }

    /// The result of the last load, and whether the file has changed since.
    pub(super) async fn last_result(&self) -> Result<FileState, Problem> {
        let now = self.look().await?;
        match self.result_if_unchanged(now) {
            Some(result) => result.map(|()| FileState::Unchanged),
            None if now.is_none_or(|now| now.size <= SMALL_FILE_BYTES) => Ok(FileState::Small),
            None => Ok(FileState::Large),
        }
    }

    /// Looks at the files of the project, on another thread.
    pub(super) async fn run_on_files<T: Send + 'static>(
        &self,
        look: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        run_on_files(&self.looks, look).await
    }

    /// The stamp of the file.
    async fn look(&self) -> Result<Option<FileStamp>, Problem> {
        let path = self.path.clone();
        self.run_on_files(move || FileStamp::read(&path)).await.map_err(|error| {
            Problem::new(Code::BadDefinition, format!("cannot read `{}`: {error}", self.path.display()))
                .help("check the disk of the file")
        })
    }

    fn last_load(&self) -> MutexGuard<'_, LastLoad> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn load(
        &self,
        additions: &mut Additions,
        orchestrator: &ServiceOrchestrator,
    ) -> Result<(), Problem> {
        let acceptance = Arc::clone(orchestrator.acceptance());
        let (path, all) = (self.path.clone(), additions.all().to_vec());
        let plan = self.check(move || load::plan_for(&acceptance, &path, &all)).await??;
        additions.drop_defined(&plan);
        tracing::info!(services = plan.len(), "loading the changed services.toml");
        orchestrator.replan(plan).await
    }

    /// Calls `work`, which parses and checks, on another thread.
    async fn check<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        run_blocking(&self.permits, work)
            .await
            .map_err(|error| Problem::new(Code::Internal, format!("cannot check the definitions: {error}")))
    }
}

/// Valid additions.
struct CheckedAdditions {
    /// The additions at the time of the check.
    before: Vec<Addition>,
    all: Vec<Addition>,
    services: Vec<Service>,
    loaded: Vec<Loaded>,
}

impl CheckedAdditions {
    fn new(file: &(Plan, Service), before: Vec<Addition>, fresh: Vec<Addition>) -> Result<Self, Problem> {
        let names: BTreeSet<&Name> = fresh.iter().map(|addition| &addition.name).collect();
        let mut all: Vec<Addition> =
            before.iter().filter(|addition| !names.contains(&addition.name)).cloned().collect();
        let services = load::check_additions(file, &all, &fresh)?;
        let known: BTreeMap<&Name, &Addition> =
            before.iter().map(|addition| (&addition.name, addition)).collect();
        let loaded = fresh.iter().map(|addition| {
            let old = known.get(&addition.name);
            let before = old.map(|old| if **old == *addition { Unchanged::Yes } else { Unchanged::No });
            Loaded { name: addition.name.clone(), before }
        });
        let loaded = loaded.collect();
        all.extend(fresh);
        Ok(Self { before, all, services, loaded })
    }
}

fn persist(additions: &mut Additions, all: Vec<Addition>) -> Result<(), Problem> {
    additions.replace(all).map_err(|error| {
        let path = additions.path().display();
        Problem::from_io(&error, format!("cannot save the added services in `{path}`: {error}"))
            .or_help("nothing was changed; the state directory has to be writable")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use service_host::disk::Disk;
    use service_orchestrator::request::{ApplyOptions, WaitPolicy};

    #[tokio::test]
    async fn others_are_answered_while_a_request_is_checked() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("services.toml");
        std::fs::write(&path, "").unwrap();
        let additions = Additions::open(directory.path(), "boot", Disk::default()).unwrap();
        let definitions = ProjectDefinitions::new(path, additions, Ok(()));
        let orchestrator = ServiceOrchestrator::new().await.unwrap();
        let (answered, waits) = std::sync::mpsc::channel();
        let waits = std::sync::Mutex::new(waits);
        let adding = definitions.add(&orchestrator, move |_, _, _| {
            let other = waits.lock().unwrap().recv_timeout(std::time::Duration::from_mins(1));
            other.map(|()| Vec::new()).map_err(|error| Problem::new(Code::Timeout, error.to_string()))
        });
        let other = async {
            definitions.refresh(&orchestrator).await.unwrap();
            assert!(definitions.additions().await.is_empty());
            answered.send(()).unwrap();
        };
        let (added, ()) = tokio::join!(adding, other);
        assert!(added.unwrap().is_empty());
        orchestrator.shutdown().await;
    }

    #[tokio::test]
    async fn an_apply_takes_back_nothing_that_was_added_or_removed_while_it_was_checked() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("services.toml");
        let write = |services: &str| std::fs::write(&path, services).unwrap();
        write("[services.a]\nstart_command = \"true\"\n");
        let additions = Additions::open(directory.path(), "boot", Disk::default()).unwrap();
        let definitions = ProjectDefinitions::new(path.clone(), additions, Ok(()));
        let orchestrator = ServiceOrchestrator::new().await.unwrap();
        orchestrator.replan(definitions.plan().await.unwrap()).await.unwrap();
        let add = async |name: &str| {
            let keys = serde_json::from_str("{\"start_command\": \"true\"}").unwrap();
            let addition = Addition { name: Name::new(name).unwrap(), keys, transient: false };
            definitions.add(&orchestrator, move |_, _, _| Ok(vec![addition.clone()])).await.unwrap();
        };
        let defined = || {
            let plan = orchestrator.plan();
            plan.ids().map(|id| plan.service(id).name.to_string()).collect::<Vec<_>>()
        };
        add("before").await;
        let how =
            ApplyOptions { start: false, rollback: false, wait: WaitPolicy::Unlimited, by: "test".into() };
        write("[services.b]\nstart_command = \"true\"\n");
        definitions.refresh(&orchestrator).await.unwrap();
        let (revision, plan) = definitions.read().await.unwrap();
        add("meanwhile").await;
        definitions.remove(&orchestrator, vec![Name::new("before").unwrap()]).await.unwrap();
        let apply_revision = definitions.apply_revision(&orchestrator, &revision);
        let mut rows = orchestrator.apply(plan, how.clone(), apply_revision).await.unwrap().unwrap();
        while rows.recv().await.is_some() {}
        assert_eq!(defined(), ["b", "meanwhile"]);
        // Another revision is loaded, so the checked one is outdated.
        let (revision, plan) = definitions.read().await.unwrap();
        write("[services.longer]\nstart_command = \"true\"\n");
        definitions.refresh(&orchestrator).await.unwrap();
        let apply_revision = definitions.apply_revision(&orchestrator, &revision);
        assert!(orchestrator.apply(plan, how, apply_revision).await.unwrap().is_none());
        assert_eq!(defined(), ["longer", "meanwhile"]);
        // Sets the plan as after a rollback.
        orchestrator.replan(load::plan(&path).unwrap()).await.unwrap();
        definitions.restore_additions(&orchestrator).await.unwrap();
        assert_eq!(defined(), ["longer", "meanwhile"]);
        orchestrator.shutdown().await;
    }
}
