//! [`Source`]: where the definitions of a running daemon come from: its `services.toml`, read again when it has changed,
//! and what was added to it.

use crate::load::{self, Addition, Additions};
use crate::orchestrator::{Enacted, ServiceOrchestrator};
use service_api::Problem;
use service_core::config::Service;
use service_core::{Name, Plan};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use tokio::sync::Mutex;

/// The file and the additions. The lock is tokio's because whoever changes something awaits the orchestrator, and two
/// requests must not take up one change twice.
pub(crate) struct Source {
    path: PathBuf,
    state: Mutex<State>,
}

/// What came of the last look at the file, and what was added.
struct State {
    stamp: Option<Stamp>,
    result: Result<(), Problem>,
    additions: Additions,
}

/// What changes when a file or the right to read it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: (i64, i64),
    changed: (i64, i64),
    size: u64,
    inode: u64,
}

/// The file as it was read.
pub(crate) struct Written {
    /// Its services, and the defaults of every service.
    file: (Plan, Service),
    /// Its stamp before that.
    stamp: Option<Stamp>,
}

/// What became of one that was to be added.
pub(crate) struct Entered {
    pub(crate) name: Name,
    /// Whether one of its name had been added before, and was the same.
    pub(crate) before: Option<Same>,
}

/// Whether two definitions are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Same {
    Yes,
    No,
}

impl Source {
    /// The file as it is now is the one the daemon begins with; `result` says whether it can be read.
    pub(super) fn new(path: PathBuf, additions: Additions, result: Result<(), Problem>) -> Self {
        let state = State { stamp: stamp(&path), result, additions };
        Self { path, state: Mutex::new(state) }
    }

    /// Changes to the plan that the file describes. A file that is wrong changes nothing, and says so each time.
    pub(super) async fn refresh(&self, orchestrator: &ServiceOrchestrator) -> Result<(), Problem> {
        self.look(&mut *self.state.lock().await, orchestrator).await
    }

    /// What the file describes now, with what was added.
    pub(crate) async fn plan(&self) -> Result<Plan, Problem> {
        load::plan_with(&self.path, self.state.lock().await.additions.all())
    }

    /// What the file describes now, for itself, and that with what was added. The first is for [`Self::enact`].
    pub(crate) async fn read(&self) -> Result<(Written, Plan), Problem> {
        let state = self.state.lock().await;
        let stamp = stamp(&self.path);
        let file = load::with_defaults(&self.path)?;
        let plan = load::merged(&file, state.additions.all());
        Ok((Written { file, stamp }, plan))
    }

    /// Changes to what the file described when it was read, with what is added now: others may have added or removed services
    /// since then, and were told that it is so. Where another content of the file is taken up it does nothing.
    pub(crate) async fn enact(
        &self,
        orchestrator: &ServiceOrchestrator,
        written: &Written,
    ) -> Result<Enacted, Problem> {
        let state = self.state.lock().await;
        if state.stamp != written.stamp {
            return Ok(Enacted::No);
        }
        orchestrator.replan(load::merged(&written.file, state.additions.all())).await?;
        Ok(Enacted::Yes)
    }

    /// Defines what was added and is not defined, as far as what it needs is: an apply that went back brings only the file's
    /// services again.
    pub(crate) async fn complete(&self, orchestrator: &ServiceOrchestrator) -> Result<(), Problem> {
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
    pub(crate) async fn added(&self) -> Vec<Addition> {
        self.state.lock().await.additions.all().to_vec()
    }

    /// Adds these, or none of them. `choose` is given what is defined and names what is to be added.
    ///
    /// # Errors
    /// What is wrong with the file, with one of them, or with writing them down.
    pub(crate) async fn add(
        &self,
        orchestrator: &ServiceOrchestrator,
        choose: impl FnOnce(&Plan, &[Addition]) -> Result<Vec<Addition>, Problem>,
    ) -> Result<Vec<Entered>, Problem> {
        let mut state = self.state.lock().await;
        self.look(&mut state, orchestrator).await?;
        let file = load::with_defaults(&self.path)?;
        let before = state.additions.all().to_vec();
        let fresh = choose(&file.0, &before)?;
        let is_fresh = |name: &Name| fresh.iter().any(|addition| addition.name == *name);
        let mut all: Vec<Addition> =
            before.iter().filter(|addition| !is_fresh(&addition.name)).cloned().collect();
        let services = load::check_additions(&file, &all, &fresh)?;
        let entered = fresh.iter().map(|addition| {
            let old = before.iter().find(|old| old.name == addition.name);
            let before = old.map(|old| if old == addition { Same::Yes } else { Same::No });
            Entered { name: addition.name.clone(), before }
        });
        let entered = entered.collect();
        all.extend(fresh.iter().cloned());
        keep(&mut state.additions, all)?;
        match orchestrator.redefine(services, Vec::new()).await {
            Ok(_) => Ok(entered),
            Err(problem) => {
                keep(&mut state.additions, before)?;
                Err(problem)
            }
        }
    }

    /// Forgets those of these that are at rest, and tells which.
    pub(super) async fn forget(
        &self,
        orchestrator: &ServiceOrchestrator,
        names: Vec<Name>,
    ) -> Result<Vec<Name>, Problem> {
        let mut state = self.state.lock().await;
        let before = state.additions.all().to_vec();
        let without = |names: &[Name]| {
            before.iter().filter(|addition| !names.contains(&addition.name)).cloned().collect()
        };
        // What cannot be written down is not done either: the next daemon would define it again, without its past.
        keep(&mut state.additions, without(&names))?;
        let gone = orchestrator.redefine(Vec::new(), names.clone()).await;
        let stays = |name: &Name| gone.as_ref().map_or(true, |gone| !gone.contains(name));
        if names.iter().any(stays) {
            keep(&mut state.additions, without(gone.as_deref().unwrap_or_default()))?;
        }
        gone
    }

    async fn look(&self, state: &mut State, orchestrator: &ServiceOrchestrator) -> Result<(), Problem> {
        let now = stamp(&self.path);
        if now != state.stamp {
            (state.stamp, state.result) = (now, self.take_up(&mut state.additions, orchestrator).await);
        }
        state.result.clone()
    }

    async fn take_up(
        &self,
        additions: &mut Additions,
        orchestrator: &ServiceOrchestrator,
    ) -> Result<(), Problem> {
        let plan = load::plan_for(&orchestrator.world().acceptance, &self.path, additions.all())?;
        additions.drop_defined(&plan);
        tracing::info!(services = plan.len(), "taking up the changed services.toml");
        orchestrator.replan(plan).await
    }
}

fn keep(additions: &mut Additions, all: Vec<Addition>) -> Result<(), Problem> {
    additions.replace(all).map_err(|error| {
        let path = additions.path().display();
        Problem::of_io(&error, format!("cannot write down in `{path}` what is added: {error}"))
            .help("nothing was changed; the state directory has to be writable")
    })
}

fn stamp(path: &Path) -> Option<Stamp> {
    let meta = std::fs::metadata(path).ok()?;
    let (modified, changed) = ((meta.mtime(), meta.mtime_nsec()), (meta.ctime(), meta.ctime_nsec()));
    Some(Stamp { modified, changed, size: meta.size(), inode: meta.ino() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::disk::Disk;
    use crate::orchestrator::{Apply, Patience};

    #[tokio::test]
    async fn an_apply_takes_back_nothing_that_was_added_or_removed_while_it_was_checked() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("services.toml");
        let write = |services: &str| std::fs::write(&path, services).unwrap();
        write("[services.a]\nstart_command = \"true\"\n");
        let additions = Additions::open(directory.path(), "boot", Disk::default()).unwrap();
        let source = Source::new(path.clone(), additions, Ok(()));
        let orchestrator = ServiceOrchestrator::new().await.unwrap();
        orchestrator.replan(source.plan().await.unwrap()).await.unwrap();
        let add = async |name: &str| {
            let keys = serde_json::from_str("{\"start_command\": \"true\"}").unwrap();
            let addition = Addition { name: Name::new(name).unwrap(), keys, transient: false };
            source.add(&orchestrator, |_, _| Ok(vec![addition])).await.unwrap();
        };
        let defined = || {
            let plan = orchestrator.plan();
            plan.ids().map(|id| plan.service(id).name.to_string()).collect::<Vec<_>>()
        };
        add("before").await;
        let how = Apply { start: false, rollback: false, patience: Patience::Endless, by: "test".into() };
        write("[services.b]\nstart_command = \"true\"\n");
        source.refresh(&orchestrator).await.unwrap();
        let (written, plan) = source.read().await.unwrap();
        add("meanwhile").await;
        source.forget(&orchestrator, vec![Name::new("before").unwrap()]).await.unwrap();
        let enact = source.enact(&orchestrator, &written);
        let mut rows = orchestrator.apply(plan, how.clone(), enact).await.unwrap().unwrap();
        while rows.recv().await.is_some() {}
        assert_eq!(defined(), ["b", "meanwhile"]);
        // Another content has been taken up: what was checked is nobody's any more.
        let (written, plan) = source.read().await.unwrap();
        write("[services.longer]\nstart_command = \"true\"\n");
        source.refresh(&orchestrator).await.unwrap();
        let enact = source.enact(&orchestrator, &written);
        assert!(orchestrator.apply(plan, how, enact).await.unwrap().is_none());
        assert_eq!(defined(), ["longer", "meanwhile"]);
        // As after an apply that went back.
        orchestrator.replan(load::plan(&path).unwrap()).await.unwrap();
        source.complete(&orchestrator).await.unwrap();
        assert_eq!(defined(), ["longer", "meanwhile"]);
        orchestrator.shutdown().await;
    }
}
