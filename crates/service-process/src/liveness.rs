//! Finds the services of a project that have a shim, from their directories: without a daemon and without a connection
//! to a shim.

use service_shim::{Files, Phase};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// Whether a service has a shim; `true` if that is unknown.
pub fn has_shim(directory: &Path, boot: Option<&str>) -> bool {
    let files = Files::new(directory);
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

/// The names of the services of a project that have a shim.
///
/// # Errors
/// The directory cannot be read.
pub fn supervised(state_dir: &Path) -> io::Result<Vec<String>> {
    let boot = boot();
    let services = services(state_dir)?.into_iter().filter(|service| has_shim(service, boot.as_deref()));
    Ok(services.filter_map(|service| Some(service.file_name()?.to_str()?.to_owned())).collect())
}

/// The number of services of a project that have a shim. Returns 1 if the directory cannot be read.
pub fn count_supervised(state_dir: &Path, boot: Option<&str>) -> usize {
    let services = services(state_dir);
    services.map_or(1, |services| services.iter().filter(|service| has_shim(service, boot)).count())
}

/// The directories of the services of a project; empty before the first run.
fn services(state_dir: &Path) -> io::Result<Vec<PathBuf>> {
    match std::fs::read_dir(state_dir.join("services")) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(Vec::new())
        }
        Err(error) => Err(error),
    }
}

/// The entries of a directory; none if it cannot be read.
pub fn entries(directory: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    std::fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path())
}
