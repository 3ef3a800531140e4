//! Removal of the files of a service that is not defined any more.

use crate::ServiceOrchestrator;
use service_core::Name;
use service_host::clock;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::Duration;
use tokio::task::spawn_blocking;

/// The maximum time for which the shim of an ended service holds its lock.
const SHIM_EXIT_TIMEOUT: Duration = Duration::from_secs(2);
/// The interval between two tries of that lock.
const LOCK_POLL_INTERVAL: Duration = Duration::from_millis(2);

impl ServiceOrchestrator {
    /// Removes log, record and definition of an inactive service, once its shim has released its lock. An error is logged.
    pub async fn remove_files(&self, name: &Name) {
        let files = self.drivers.paths.files(name);
        let deadline = clock::now().plus(SHIM_EXIT_TIMEOUT);
        let lock = loop {
            match files.try_lock() {
                Ok(None) if clock::now() < deadline => tokio::time::sleep(LOCK_POLL_INTERVAL).await,
                Ok(Some(lock)) => break Some(lock),
                // There was no run since the boot.
                Err(error) if error.kind() == ErrorKind::NotFound => break None,
                Ok(None) | Err(_) => return,
            }
        };
        self.drivers.definitions.remove(name);
        // The log may be large.
        let removed = spawn_blocking(move || {
            let removed = remove(files.directory()).and(remove(files.run_directory()));
            drop(lock);
            removed
        });
        if let Ok(Err(error)) = removed.await {
            tracing::warn!(service = %name, %error, "cannot remove the files of a removed service");
        }
    }
}

fn remove(directory: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(directory) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
