//! `orchestratord projects --prune`: removes the state of projects without a file and without running services.
//!
//! The state is kept if it may still be needed: the disk is not mounted, a lock is held or cannot be read, a manager
//! did not respond, a service was active when the last daemon ended, or the project has a systemd unit.

use crate::daemon::try_lock;
use crate::offline;
use crate::systemd;
use service_api::project::gone::Pruned;
use service_api::project::{Environment, RECORD};
use service_api::view::ProjectSummary;
use service_api::{Problem, Project};
use service_host::clock;
use service_host::paths::{RUNS, files_in};
use service_orchestrator::renamed_project::FilePresence;
use service_process::liveness;
use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

/// The time limit for a daemon or a shim to release its lock after its work.
const LOCK_TIMEOUT: Duration = Duration::from_secs(1);
/// The interval between two attempts to acquire a lock.
const LOCK_POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Removes the state of these projects, and returns a row for each.
///
/// # Errors
/// The parent of the state directories is unknown.
pub(crate) fn prune(around: &Environment<'_>) -> Result<Vec<Pruned>, Problem> {
    let found = offline::projects(around)?;
    let may_go =
        |trace: &ProjectSummary| !(trace.runs() || trace.daemon && serves(Path::new(&trace.state_dir)));
    let pruned = found.into_iter().filter(may_go).filter_map(|trace| {
        let path = trace.path.clone()?;
        let project = Project::at(Path::new(&path), around).ok()?;
        // The recorded path may lead to a project with another state directory, which must not be removed.
        let is_its = project.state_dir == Path::new(&trace.state_dir) && !systemd::is_enabled(&project);
        is_its.then(|| remove_state(&project, trace)).flatten()
    });
    Ok(pruned.collect())
}

/// Removes the state of one project, unless one of its services runs.
fn remove_state(project: &Project, trace: ProjectSummary) -> Option<Pruned> {
    let state_dir = &project.state_dir;
    if !std::fs::symlink_metadata(state_dir).ok()?.is_dir() {
        return None;
    }
    // While the locks are held, no daemon and no shim of the project can start.
    let _daemon = wait_for_lock(|| try_lock(state_dir).ok()?.acquired())?;
    let _services = wait_for_lock(|| lock_services(state_dir).ok().flatten())?;
    let managed = offline::manager_services(state_dir).ok()?;
    if !managed.is_empty() || FilePresence::check(&project.config, state_dir) != FilePresence::Gone {
        return None;
    }
    let size = directory_size(state_dir);
    let run_directory = std::fs::read_link(state_dir.join(RUNS));
    let removed = std::fs::remove_dir_all(state_dir);
    for beside in [project.socket.clone(), project.fallback_state_file(), project.session_mark()] {
        let _ = std::fs::remove_file(beside);
    }
    if let Ok(directory) = run_directory {
        let _ = std::fs::remove_dir_all(directory);
    }
    Some(Pruned {
        path: trace.path.unwrap_or_default(),
        state_dir: trace.state_dir,
        size,
        error: removed.err().map(|error| error.to_string()),
    })
}

/// Whether the daemon that holds the lock serves. An ending daemon removes its record before it releases the lock.
fn serves(state_dir: &Path) -> bool {
    state_dir.join(RECORD).exists()
}

/// Tries to acquire a lock until an ending process has released it.
fn wait_for_lock<T>(acquire: impl Fn() -> Option<T>) -> Option<T> {
    let deadline = clock::now().plus(LOCK_TIMEOUT);
    loop {
        let lock = acquire();
        if lock.is_some() || clock::now() >= deadline {
            return lock;
        }
        std::thread::sleep(LOCK_POLL_INTERVAL);
    }
}

/// The locks of all services; `None` if one is held. A service without a run directory has no lock.
fn lock_services(state_dir: &Path) -> io::Result<Option<Vec<File>>> {
    let mut locks = Vec::new();
    for name in liveness::names(state_dir).map_err(io::Error::other)? {
        match files_in(state_dir, &name).try_lock() {
            Ok(Some(lock)) => locks.push(lock),
            Ok(None) => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Some(locks))
}

/// The size of all files. Symbolic links are not followed.
fn directory_size(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| Some((entry.path(), std::fs::symlink_metadata(entry.path()).ok()?)))
        .map(|(path, found)| if found.is_dir() { directory_size(&path) } else { found.len() })
        .sum()
}
