//! Finds the services of a project that have a shim, from their directories: without a daemon and without a connection
//! to a shim.

use super::shims_without_files;
use service_core::Name;
use service_host::paths::{RUNS, SERVICES, files_in};
use service_shim::{Files, Phase};
use std::collections::BTreeSet;
use std::fs::DirEntry;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// A directory of services cannot be read, so the set of services that have run is unknown.
#[derive(Debug, Error)]
#[error("cannot read `{}`: {error}", directory.display())]
pub struct UnlistedError {
    directory: PathBuf,
    error: io::Error,
}

/// Whether a service has a shim; `true` if that is unknown.
pub fn has_shim(files: &Files, boot: Option<&str>) -> bool {
    // A shim that is starting, or could not write its record, only holds the lock.
    let is_locked = || files.is_locked().unwrap_or(true);
    let has_lock = || files.lock().try_exists().unwrap_or(true);
    match files.read_record() {
        Ok(Some(record)) => match record.phase {
            // A shim that has reported the end of its run is about to exit.
            Phase::Finished { .. } | Phase::LaunchFailed { .. } => false,
            Phase::Launching { .. } | Phase::Running { .. } | Phase::Exited { .. } => {
                boot.is_none_or(|boot| record.boot_id == boot) && record.shim.may_be_alive()
            }
        },
        Ok(None) => is_locked(),
        Err(_) => !has_lock() || is_locked(),
    }
}

/// The kernel's id of this boot, if readable.
pub fn boot() -> Option<String> {
    service_shim::process::boot_id().ok()
}

/// The names of the services of a project that have a shim, also of those whose files are gone.
///
/// # Errors
/// A directory cannot be read.
pub fn supervised(state_dir: &Path, boot: Option<&str>) -> Result<BTreeSet<Name>, UnlistedError> {
    let names = names(state_dir)?;
    let files = |name: &Name| files_in(state_dir, name);
    let is_complete = names.iter().all(|name| files(name).lock().exists());
    let mut found: BTreeSet<Name> = names.into_iter().filter(|name| has_shim(&files(name), boot)).collect();
    if !is_complete || !state_dir.join(RUNS).is_dir() {
        found.extend(shims_without_files::find_lost(state_dir).into_keys());
    }
    Ok(found)
}

/// The number of services of a project that have a shim. Returns 1 if a directory cannot be read.
pub fn count_supervised(state_dir: &Path, boot: Option<&str>) -> usize {
    supervised(state_dir, boot).map_or(1, |names| names.len())
}

/// The services of a project with a state directory or a run directory.
///
/// # Errors
/// A directory cannot be read.
pub fn names(state_dir: &Path) -> Result<BTreeSet<Name>, UnlistedError> {
    let mut names = BTreeSet::new();
    for directory in [SERVICES, RUNS].map(|directory| state_dir.join(directory)) {
        let entries = match std::fs::read_dir(&directory) {
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => continue,
            entries => entries.and_then(Iterator::collect::<io::Result<Vec<_>>>),
        };
        let entries = entries.map_err(|error| UnlistedError { directory, error })?;
        let name = |entry: &DirEntry| entry.file_name().to_str().and_then(|name| Name::new(name).ok());
        names.extend(entries.iter().filter_map(name));
    }
    Ok(names)
}

/// The entries of a directory; none if it cannot be read.
pub fn entries(directory: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    std::fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path())
}
