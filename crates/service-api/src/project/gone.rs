//! Projects whose file or directory is gone: their former path, and whether a daemon still has their state.

use crate::file_names::LOCK;
use crate::problem::{Code, Problem};
use crate::view::ProjectSummary;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

/// The path of a file with the existing links of its directories resolved. The last step stays as it is.
pub(crate) fn settled(file: &Path) -> PathBuf {
    match (file.parent(), file.file_name()) {
        (Some(directory), Some(name)) => resolved(directory).join(name),
        _ => resolved(file),
    }
}

/// Whether a file is there; a directory in its place is none.
pub(super) fn is_there(file: &Path) -> bool {
    file.metadata().is_ok_and(|found| !found.is_dir())
}

/// A directory with its links resolved; missing parts keep their names.
pub fn resolved(directory: &Path) -> PathBuf {
    if let Ok(resolved) = directory.canonicalize() {
        return resolved;
    }
    let Some(parent) = directory.parent() else { return directory.to_path_buf() };
    let parent = resolved(parent);
    match directory.components().next_back() {
        Some(Component::Normal(name)) => parent.join(name),
        Some(Component::ParentDir) => parent.parent().map(Path::to_path_buf).unwrap_or(parent),
        _ => parent,
    }
}

/// Whether a daemon holds the lock of this state directory. A lock that cannot be opened counts as held.
///
/// A shared lock is refused while a daemon has an exclusive one. A daemon that starts at this instant retries.
pub fn has_daemon(state_dir: &Path) -> bool {
    match File::open(state_dir.join(LOCK)) {
        Ok(lock) => lock.try_lock_shared().is_err(),
        Err(error) => !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory),
    }
}

/// The problem that nothing can be found from a directory that is not there.
pub fn directory(cwd: &Path) -> Problem {
    let message = match cwd.as_os_str().is_empty() {
        true => "the current directory is gone".to_owned(),
        false => format!("the current directory is gone: `{}`", cwd.display()),
    };
    Problem::new(Code::NoProject, message)
        .help("change to another directory, or name a services.toml by its whole path with `--config`")
}

/// A project of which nothing is left, now that its state was removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pruned {
    /// Where its `services.toml` was.
    pub path: String,
    /// The state directory that was removed.
    pub state_dir: String,
    /// The size in bytes.
    pub size: u64,
    /// Why it could not be removed completely.
    pub error: Option<String>,
}

impl ProjectSummary {
    /// Whether services of it run or may run.
    pub fn runs(&self) -> bool {
        self.kept > 0 || self.managed > 0 || self.containers != Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_cannot_be_opened_may_be_a_daemons() {
        let state = tempfile::tempdir().unwrap();
        let lock = state.path().join(LOCK);
        assert!(!has_daemon(state.path()), "nobody has ever had it");
        File::create(&lock).unwrap();
        assert!(!has_daemon(state.path()), "nobody has it now");
        std::fs::remove_file(&lock).unwrap();
        std::os::unix::fs::symlink(LOCK, &lock).unwrap();
        assert!(File::open(&lock).is_err() && has_daemon(state.path()));
    }
}
