//! `orchestratord projects --prune`: removes what is left of projects whose file is gone and of which nothing runs.
//!
//! What cannot be told is left alone: a disk that is not mounted, a lock that somebody has or that cannot be read, a manager
//! that did not answer, a service that was up when the last daemon ended, a unit of systemd.

use crate::daemon::try_lock;
use crate::host::clock;
use crate::offline;
use crate::place::Presence;
use crate::systemd;
use service_api::project::gone::Pruned;
use service_api::project::{Environment, RECORD};
use service_api::view::Trace;
use service_api::{Problem, Project};
use service_shim::Files;
use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

/// How long a daemon or a shim may hold its lock after it has ended its work.
const ENDS_WITHIN: Duration = Duration::from_secs(1);

/// Removes it, and tells what was removed.
///
/// # Errors
/// If there is no directory for state.
pub fn prune(around: &Environment<'_>) -> Result<Vec<Pruned>, Problem> {
    let found = offline::projects(around)?;
    let may_go = |trace: &Trace| !(trace.runs() || trace.daemon && serves(Path::new(&trace.state_dir)));
    let pruned = found.into_iter().filter(may_go).filter_map(|trace| {
        let path = trace.path.clone()?;
        let project = Project::at(Path::new(&path), around).ok()?;
        // Two spellings of one path must not remove what is another's.
        let is_its = project.state_dir == Path::new(&trace.state_dir) && !systemd::is_enabled(&project);
        is_its.then(|| one(&project, trace)).flatten()
    });
    Ok(pruned.collect())
}

/// Removes one, unless something of it still runs.
fn one(project: &Project, trace: Trace) -> Option<Pruned> {
    let state_dir = &project.state_dir;
    if !std::fs::symlink_metadata(state_dir).ok()?.is_dir() {
        return None;
    }
    // Nobody can begin anything of it meanwhile.
    let _daemon = soon(|| try_lock(state_dir).ok()?.acquired())?;
    let _services = soon(|| locks(&state_dir.join("services")).ok().flatten())?;
    let elsewhere = offline::elsewhere(state_dir).ok()?;
    if !elsewhere.is_empty() || Presence::of(&project.config, state_dir) != Presence::Gone {
        return None;
    }
    let size = size(state_dir);
    let removed = std::fs::remove_dir_all(state_dir);
    for beside in [project.socket.clone(), project.refuge(), project.session_mark()] {
        let _ = std::fs::remove_file(beside);
    }
    Some(Pruned {
        path: trace.path.unwrap_or_default(),
        state_dir: trace.state_dir,
        size,
        error: removed.err().map(|error| error.to_string()),
    })
}

/// Whether a daemon that has the lock is not just ending: its record goes before the lock does.
fn serves(state_dir: &Path) -> bool {
    state_dir.join(RECORD).exists()
}

/// Who has just ended still holds its lock for a moment.
fn soon<T>(take: impl Fn() -> Option<T>) -> Option<T> {
    let deadline = clock::now().plus(ENDS_WITHIN);
    loop {
        let taken = take();
        if taken.is_some() || clock::now() >= deadline {
            return taken;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The locks of all services; `None` if somebody has one.
fn locks(services: &Path) -> io::Result<Option<Vec<File>>> {
    let entries = match std::fs::read_dir(services) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Some(Vec::new())),
        entries => entries?,
    };
    let mut locks = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            match Files::new(entry.path()).try_lock()? {
                Some(lock) => locks.push(lock),
                None => return Ok(None),
            }
        }
    }
    Ok(Some(locks))
}

/// Bytes on the disk, links not followed.
fn size(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| Some((entry.path(), std::fs::symlink_metadata(entry.path()).ok()?)))
        .map(|(path, found)| if found.is_dir() { size(&path) } else { found.len() })
        .sum()
}
