//! [`Source`]: the `services.toml` of a running daemon, read again when it has changed.

use crate::load;
use crate::orchestrator::ServiceOrchestrator;
use service_api::Problem;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use tokio::sync::Mutex;

/// The file, and what came of the last look at it. The lock is tokio's because a look awaits the orchestrator, and two
/// requests must not take up one change twice.
pub(super) struct Source {
    path: PathBuf,
    last: Mutex<(Option<Stamp>, Result<(), Problem>)>,
}

/// What changes when a file or the right to read it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: (i64, i64),
    changed: (i64, i64),
    size: u64,
    inode: u64,
}

impl Source {
    /// The file as it is now is the one the daemon begins with.
    pub(super) fn new(path: PathBuf) -> Self {
        let last = Mutex::new((stamp(&path), Ok(())));
        Self { path, last }
    }

    /// The file as it is now cannot be read, for this reason.
    pub(super) fn wrong(path: PathBuf, problem: Problem) -> Self {
        let last = Mutex::new((stamp(&path), Err(problem)));
        Self { path, last }
    }

    /// Changes to the plan that the file describes. A file that is wrong changes nothing, and says so each time.
    pub(super) async fn refresh(&self, orchestrator: &ServiceOrchestrator) -> Result<(), Problem> {
        let mut last = self.last.lock().await;
        let now = stamp(&self.path);
        if now != last.0 {
            *last = (now, self.take_up(orchestrator).await);
        }
        last.1.clone()
    }

    async fn take_up(&self, orchestrator: &ServiceOrchestrator) -> Result<(), Problem> {
        let plan = load::plan(&self.path)?;
        tracing::info!(services = plan.len(), "taking up the changed services.toml");
        orchestrator.replan(plan).await
    }
}

fn stamp(path: &std::path::Path) -> Option<Stamp> {
    let meta = std::fs::metadata(path).ok()?;
    let (modified, changed) = ((meta.mtime(), meta.mtime_nsec()), (meta.ctime(), meta.ctime_nsec()));
    Some(Stamp { modified, changed, size: meta.size(), inode: meta.ino() })
}
