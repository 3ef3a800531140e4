//! Projects whose file or directory was deleted: their former paths, and whether a daemon still uses their state.

use crate::file_names::LOCK;
use crate::problem::{Code, Problem};
use crate::view::ProjectSummary;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

/// The path of a file, with the symbolic links of its existing directories resolved. A link in place of the file itself
/// is not resolved.
pub(crate) fn settled(file: &Path) -> PathBuf {
    match (file.parent(), file.file_name()) {
        (Some(directory), Some(name)) => resolved(directory).join(name),
        _ => resolved(file),
    }
}

/// Whether a file exists; a directory in its place does not count.
pub(super) fn is_there(file: &Path) -> bool {
    file.metadata().is_ok_and(|found| !found.is_dir())
}

/// Resolves the symbolic links of a directory; missing parts keep their names.
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
/// A shared lock is refused while a daemon has an exclusive one. A daemon that starts meanwhile retries its own lock.
pub fn has_daemon(state_dir: &Path) -> bool {
    match File::open(state_dir.join(LOCK)) {
        Ok(lock) => lock.try_lock_shared().is_err(),
        Err(error) => !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory),
    }
}

/// The error of a search in a deleted directory.
pub fn directory(cwd: &Path) -> Problem {
    let message = match cwd.as_os_str().is_empty() {
        true => "the current directory is gone".to_owned(),
        false => format!("the current directory is gone: `{}`", cwd.display()),
    };
    Problem::new(Code::NoProject, message)
        .help("change to another directory, or name a services.toml by its whole path with `--config`")
}

/// A deleted project whose state was removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pruned {
    /// The former path of its `services.toml`.
    pub path: String,
    /// The state directory that was removed.
    pub state_dir: String,
    /// The size in bytes.
    pub size: u64,
    /// Why the state directory could not be removed completely.
    pub error: Option<String>,
}

impl ProjectSummary {
    /// Whether services of the project run or may run.
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
        assert!(!has_daemon(state.path()), "no daemon has ever locked it");
        File::create(&lock).unwrap();
        assert!(!has_daemon(state.path()), "no daemon has the lock now");
        std::fs::remove_file(&lock).unwrap();
        std::os::unix::fs::symlink(LOCK, &lock).unwrap();
        assert!(File::open(&lock).is_err() && has_daemon(state.path()));
    }
}
