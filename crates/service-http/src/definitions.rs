//! [`Definitions`]: the definitions of a running daemon: its `services.toml`, loaded again when it has changed, and the
//! services that were added to it.

use service_api::Problem;
use service_config::load::{self, Addition, Additions};
use service_core::config::Service;
use service_core::{Name, Plan};
use service_orchestrator::ServiceOrchestrator;
use service_orchestrator::request::Enacted;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use tokio::sync::Mutex;

/// The file and the additions. The lock is tokio's because a change awaits the orchestrator, and two requests must not load
/// one change twice.
pub struct Definitions {
    path: PathBuf,
    state: Mutex<State>,
}

/// The result of the last load of the file, and what was added.
struct State {
    stamp: Option<FileStamp>,
    result: Result<(), Problem>,
    additions: Additions,
}

/// What changes when a file or the right to read it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileStamp {
    modified: (i64, i64),
    changed: (i64, i64),
    size: u64,
    inode: u64,
}

/// One content of the file.
pub(super) struct FileRevision {
    /// Its services, and the defaults of every service.
    file: (Plan, Service),
    /// Its stamp before it was read.
    stamp: Option<FileStamp>,
}

/// One service that was added.
pub(super) struct Loaded {
    pub(super) name: Name,
    /// Whether the definition equals an earlier one of this name; none if there was no earlier one.
    pub(super) before: Option<Unchanged>,
}

/// Whether two definitions are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unchanged {
    Yes,
    No,
}

impl Definitions {
    /// The daemon begins with the present content of the file; `result` says whether that can be read.
    pub fn new(path: PathBuf, additions: Additions, result: Result<(), Problem>) -> Self {
        let state = State { stamp: FileStamp::read(&path), result, additions };
        Self { path, state: Mutex::new(state) }
    }

    /// Changes to the plan that the file describes. A file that is wrong changes nothing and is an error each time.
    pub(super) async fn refresh(&self, orchestrator: &ServiceOrchestrator) -> Result<(), Problem> {
        self.load_if_changed(&mut *self.state.lock().await, orchestrator).await
    }

    /// The plan of the present file, with what was added.
    pub(super) async fn plan(&self) -> Result<Plan, Problem> {
        load::plan_with(&self.path, self.state.lock().await.additions.all())
    }

    /// The present content of the file, for [`Self::enact`], and its plan with what was added.
    pub(super) async fn read(&self) -> Result<(FileRevision, Plan), Problem> {
        let state = self.state.lock().await;
        let stamp = FileStamp::read(&self.path);
        let file = load::with_defaults(&self.path)?;
        let plan = load::merged(&file, state.additions.all());
        Ok((FileRevision { file, stamp }, plan))
    }

    /// Changes to the plan of a revision, with the additions of now: other requests may have added or removed services since
    /// the file was read, and these answers stay true. If another revision is loaded by now, nothing changes.
    pub(super) async fn enact(
        &self,
        orchestrator: &ServiceOrchestrator,
        revision: &FileRevision,
    ) -> Result<Enacted, Problem> {
        let state = self.state.lock().await;
        if state.stamp != revision.stamp {
            return Ok(Enacted::No);
        }
        orchestrator.replan(load::merged(&revision.file, state.additions.all())).await?;
        Ok(Enacted::Yes)
    }

    /// Defines the additions that are not defined and whose dependencies are: an apply that was rolled back restores only the
    /// file's services.
    pub(super) async fn restore_additions(&self, orchestrator: &ServiceOrchestrator) -> Result<(), Problem> {
        let state = self.state.lock().await;
        let plan = orchestrator.plan();
        let is_missing = |addition: &&Addition| plan.id(&addition.name).is_none();
        let missing: Vec<Addition> = state.additions.all().iter().filter(is_missing).cloned().collect();
        if missing.is_empty() {
            return Ok(());
        }
        let (_, defaults) = load::with_defaults(&self.path)?;
        let whole = load::merged(&(Plan::clone(&plan), defaults), &missing);
        let fits = whole.ids().map(|id| whole.service(id)).filter(|service| plan.id(&service.name).is_none());
        let added: Vec<Service> = fits.map(|service| Service::clone(service)).collect();
        if !added.is_empty() {
            orchestrator.redefine(added, Vec::new()).await?;
        }
        Ok(())
    }

    /// What was added.
    pub(super) async fn additions(&self) -> Vec<Addition> {
        self.state.lock().await.additions.all().to_vec()
    }

    /// Adds all that `choose` returns, or none. `choose` gets the file's plan and the earlier additions.
    ///
    /// # Errors
    /// The file or a definition is invalid, or `additions.json` cannot be written.
    pub(super) async fn add(
        &self,
        orchestrator: &ServiceOrchestrator,
        choose: impl FnOnce(&Plan, &[Addition]) -> Result<Vec<Addition>, Problem>,
    ) -> Result<Vec<Loaded>, Problem> {
        let mut state = self.state.lock().await;
        self.load_if_changed(&mut state, orchestrator).await?;
        let file = load::with_defaults(&self.path)?;
        let before = state.additions.all().to_vec();
        let fresh = choose(&file.0, &before)?;
        let is_fresh = |name: &Name| fresh.iter().any(|addition| addition.name == *name);
        let mut all: Vec<Addition> =
            before.iter().filter(|addition| !is_fresh(&addition.name)).cloned().collect();
        let services = load::check_additions(&file, &all, &fresh)?;
        let loaded = fresh.iter().map(|addition| {
            let old = before.iter().find(|old| old.name == addition.name);
            let before = old.map(|old| if old == addition { Unchanged::Yes } else { Unchanged::No });
            Loaded { name: addition.name.clone(), before }
        });
        let loaded = loaded.collect();
        all.extend(fresh.iter().cloned());
        persist(&mut state.additions, all)?;
        match orchestrator.redefine(services, Vec::new()).await {
            Ok(_) => Ok(loaded),
            Err(problem) => {
                persist(&mut state.additions, before)?;
                Err(problem)
            }
        }
    }

    /// Removes those of these that are inactive. Returns which.
    pub(super) async fn remove(
        &self,
        orchestrator: &ServiceOrchestrator,
        names: Vec<Name>,
    ) -> Result<Vec<Name>, Problem> {
        let mut state = self.state.lock().await;
        let before = state.additions.all().to_vec();
        let without = |names: &[Name]| {
            before.iter().filter(|addition| !names.contains(&addition.name)).cloned().collect()
        };
        // If this cannot be saved, nothing is removed: the next daemon would define it again, without its history.
        persist(&mut state.additions, without(&names))?;
        let removed = orchestrator.redefine(Vec::new(), names.clone()).await;
        let stays = |name: &Name| removed.as_ref().map_or(true, |removed| !removed.contains(name));
        if names.iter().any(stays) {
            persist(&mut state.additions, without(removed.as_deref().unwrap_or_default()))?;
        }
        removed
    }

    async fn load_if_changed(
        &self,
        state: &mut State,
        orchestrator: &ServiceOrchestrator,
    ) -> Result<(), Problem> {
        let now = FileStamp::read(&self.path);
        if now != state.stamp {
            (state.stamp, state.result) = (now, self.load(&mut state.additions, orchestrator).await);
        }
        state.result.clone()
    }

    async fn load(
        &self,
        additions: &mut Additions,
        orchestrator: &ServiceOrchestrator,
    ) -> Result<(), Problem> {
        let plan = load::plan_for(orchestrator.acceptance(), &self.path, additions.all())?;
        additions.drop_defined(&plan);
        tracing::info!(services = plan.len(), "loading the changed services.toml");
        orchestrator.replan(plan).await
    }
}

fn persist(additions: &mut Additions, all: Vec<Addition>) -> Result<(), Problem> {
    additions.replace(all).map_err(|error| {
        let path = additions.path().display();
        Problem::from_io(&error, format!("cannot save the added services in `{path}`: {error}"))
            .or_help("nothing was changed; the state directory has to be writable")
    })
}

impl FileStamp {
    fn read(path: &Path) -> Option<Self> {
        let meta = std::fs::metadata(path).ok()?;
        let (modified, changed) = ((meta.mtime(), meta.mtime_nsec()), (meta.ctime(), meta.ctime_nsec()));
        Some(Self { modified, changed, size: meta.size(), inode: meta.ino() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use service_host::disk::Disk;
    use service_orchestrator::request::{ApplyOptions, WaitPolicy};

    #[tokio::test]
    async fn an_apply_takes_back_nothing_that_was_added_or_removed_while_it_was_checked() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("services.toml");
        let write = |services: &str| std::fs::write(&path, services).unwrap();
        write("[services.a]\nstart_command = \"true\"\n");
        let additions = Additions::open(directory.path(), "boot", Disk::default()).unwrap();
        let definitions = Definitions::new(path.clone(), additions, Ok(()));
        let orchestrator = ServiceOrchestrator::new().await.unwrap();
        orchestrator.replan(definitions.plan().await.unwrap()).await.unwrap();
        let add = async |name: &str| {
            let keys = serde_json::from_str("{\"start_command\": \"true\"}").unwrap();
            let addition = Addition { name: Name::new(name).unwrap(), keys, transient: false };
            definitions.add(&orchestrator, |_, _| Ok(vec![addition])).await.unwrap();
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
        let enact = definitions.enact(&orchestrator, &revision);
        let mut rows = orchestrator.apply(plan, how.clone(), enact).await.unwrap().unwrap();
        while rows.recv().await.is_some() {}
        assert_eq!(defined(), ["b", "meanwhile"]);
        // Another revision is loaded: the one that was checked is outdated.
        let (revision, plan) = definitions.read().await.unwrap();
        write("[services.longer]\nstart_command = \"true\"\n");
        definitions.refresh(&orchestrator).await.unwrap();
        let enact = definitions.enact(&orchestrator, &revision);
        assert!(orchestrator.apply(plan, how, enact).await.unwrap().is_none());
        assert_eq!(defined(), ["longer", "meanwhile"]);
        // As after an apply that was rolled back.
        orchestrator.replan(load::plan(&path).unwrap()).await.unwrap();
        definitions.restore_additions(&orchestrator).await.unwrap();
        assert_eq!(defined(), ["longer", "meanwhile"]);
        orchestrator.shutdown().await;
    }
}
