//! The lock of a state directory: who holds it is the daemon of the project.

use service_api::project::LOCK;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

pub(super) fn path(state_dir: &Path) -> PathBuf {
    state_dir.join(LOCK)
}

/// The lock, unless another process holds it. The kernel lets go of it when its holder ends, however that happens.
pub(crate) fn lock(state_dir: &Path) -> io::Result<Option<File>> {
    let mut file =
        File::options().create(true).truncate(false).write(true).mode(0o600).open(path(state_dir))?;
    match file.try_lock() {
        Ok(()) => {
            let named = file.set_len(0).and_then(|()| write!(file, "{}", std::process::id()));
            if let Err(error) = named {
                // It holds all the same.
                tracing::warn!(%error, "cannot write down who holds the lock");
            }
            Ok(Some(file))
        }
        Err(std::fs::TryLockError::WouldBlock) => Ok(None),
        Err(std::fs::TryLockError::Error(error)) => Err(error),
    }
}
