//! [`AcceptedModules`]: the last accepted content of each module that is a file of the user.
//!
//! A module may change while its services run. Until the change is accepted, calls for these services run a copy of the
//! accepted content, so that the services can still be queried and stopped. The copy uses the files beside the
//! original, which are not part of the acceptance.
//!
//! Each call reads the module and computes its hash, on another thread. A copy ends with a comment that has its hash, so a
//! part of a copy, as a power failure may leave it, is not called.

use super::embedded::path_for;
use super::error::ModuleError;
use service_api::ownership::read_regular;
use service_api::trust::{MAX_FILE_BYTES, sha256};
use service_core::config::{Manager, Service};
use service_host::acceptance::Acceptance;
use service_host::blocking::run_on_files;
use service_host::disk::Disk;
use service_host::fs::private_dir;
use service_host::paths::Paths;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Semaphore;

/// The beginning of the last line of a copy.
const HASH_COMMENT: &[u8] = b"\n# The accepted content of this module has the SHA-256 ";

/// The modules that were called since the daemon started.
#[derive(Default)]
pub(super) struct AcceptedModules {
    /// The original of each copy. The lock is held only for a lookup.
    originals: Mutex<BTreeMap<PathBuf, Original>>,
    /// One permit for each module, so that a disk that does not answer blocks at most one thread for each module. The
    /// lock is held only for a lookup.
    reads: Mutex<BTreeMap<PathBuf, Arc<Semaphore>>>,
}

/// The original of a copy.
struct Original {
    directory: PathBuf,
    /// Whether calls run the copy instead.
    is_replaced: bool,
}

impl AcceptedModules {
    /// The module for the calls of a service: the copy, if there is one and the present content is not accepted;
    /// otherwise the module of the definition.
    pub(super) async fn module_for(
        &self,
        paths: &Arc<Paths>,
        acceptance: &Arc<Acceptance>,
        service: &Arc<Service>,
    ) -> Result<PathBuf, ModuleError> {
        let module = path_for(paths, service);
        let Some(copy) = copy_of(&module, paths, service) else { return Ok(module) };
        let choose = {
            let (paths, acceptance) = (Arc::clone(paths), Arc::clone(acceptance));
            let (service, module, copy) = (Arc::clone(service), module.clone(), copy.clone());
            move || is_replaced(&paths.disk, &acceptance, &service, &module, &copy)
        };
        let is_replaced = run_on_files(&self.permit(&module), choose)
            .await
            .map_err(|error| ModuleError::read(&module, error))?;
        let mut originals = self.originals();
        if is_replaced || originals.contains_key(&copy) {
            let directory = module.parent().unwrap_or(Path::new("/")).to_path_buf();
            originals.insert(copy.clone(), Original { directory, is_replaced });
        }
        Ok(if is_replaced { copy } else { module })
    }

    /// The directory of a copy's original, which has the files that the copy uses.
    pub(super) fn original_directory(&self, copy: &Path) -> Option<PathBuf> {
        self.originals().get(copy).map(|original| original.directory.clone())
    }

    /// Whether calls for this service run a copy, because its module has changed.
    pub(super) fn is_replaced(&self, paths: &Paths, service: &Service) -> bool {
        let copy = copy_of(&path_for(paths, service), paths, service);
        copy.is_some_and(|copy| self.originals().get(&copy).is_some_and(|original| original.is_replaced))
    }

    fn originals(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Original>> {
        self.originals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The permit to read this module.
    pub(super) fn permit(&self, module: &Path) -> Arc<Semaphore> {
        let mut reads = self.reads.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(reads.entry(module.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(1))))
    }
}

/// Whether calls run the copy. Copies a module whose content is accepted.
fn is_replaced(disk: &Disk, acceptance: &Acceptance, service: &Service, module: &Path, copy: &Path) -> bool {
    let is_accepted = acceptance.covers_blocking(service);
    if is_accepted && let Err(error) = keep(disk, module, copy, || acceptance.covers_blocking(service)) {
        tracing::warn!(service = %service.name, %error, "cannot save the accepted content of the module");
    }
    !is_accepted && is_whole(disk, copy)
}

/// The path of the copy of a module that is a file of the user.
fn copy_of(module: &Path, paths: &Paths, service: &Service) -> Option<PathBuf> {
    let Manager::Module(_) = service.manager else { return None };
    Some(paths.files(&service.name).directory().join("module").join(module.file_name()?))
}

/// Copies a module, unless the copy already has its content or the content is not accepted.
fn keep(disk: &Disk, module: &Path, copy: &Path, is_accepted: impl FnOnce() -> bool) -> io::Result<()> {
    let Some(directory) = copy.parent() else { return Ok(()) };
    // The call itself reports a missing module.
    let Ok(content) = read_regular(module, MAX_FILE_BYTES) else { return Ok(()) };
    let content = with_hash(content);
    if fs::read(copy).is_ok_and(|kept| kept == content) || !is_accepted() {
        return Ok(());
    }
    private_dir(directory)?;
    disk.replace(copy, &content)
}

/// Whether the copy exists as it was written. If it is damaged, the copy before it takes its place.
fn is_whole(disk: &Disk, copy: &Path) -> bool {
    let read = |path: &Path| fs::read(path).and_then(|content| verify_hash(&content));
    match read(copy) {
        Ok(()) => return true,
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => {
            tracing::warn!(%error, copy = %copy.display(), "the kept content of a module is damaged");
        }
    }
    let kept = disk.read(copy, |content| verify_hash(content).map(|()| content.to_vec()));
    let kept = kept.and_then(|kept| kept.map(|content| disk.replace(copy, &content)).transpose());
    if let Err(error) = &kept {
        tracing::warn!(%error, copy = %copy.display(), "cannot restore the kept content of a module");
    }
    matches!(kept, Ok(Some(())))
}

/// Adds the comment with the hash.
fn with_hash(mut content: Vec<u8>) -> Vec<u8> {
    let hash = sha256(&content);
    content.extend(HASH_COMMENT);
    content.extend(hash.as_bytes());
    content.push(b'\n');
    content
}

/// Checks that a copy is as it was written.
fn verify_hash(copy: &[u8]) -> io::Result<()> {
    let comment_bytes = HASH_COMMENT.len() + 64 + b"\n".len();
    let content = copy.len().checked_sub(comment_bytes).map(|end| &copy[..end]);
    match content {
        Some(content) if with_hash(content.to_vec()) == copy => Ok(()),
        _ => Err(io::Error::new(ErrorKind::InvalidData, "its hash is wrong")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_part_of_a_copy_is_no_copy() {
        let directory = tempfile::tempdir().unwrap();
        let (module, copy) = (directory.path().join("m.nu"), directory.path().join("module/m.nu"));
        let disk = Disk::default();
        let keep = |content: &str| {
            fs::write(&module, content).unwrap();
            keep(&disk, &module, &copy, || true).unwrap();
        };
        assert!(!is_whole(&disk, &copy));
        keep("export def start [] {}");
        assert!(is_whole(&disk, &copy));
        disk.finish(Duration::from_mins(1));
        let former = fs::read(&copy).unwrap();
        keep("export def start [] { 1 }");
        let whole = fs::read(&copy).unwrap();
        assert!(whole != former && is_whole(&disk, &copy));
        // Until the new copy is synced, the former one remains.
        for damaged in [&b""[..], &whole[..1], &whole[..30], &whole[..whole.len() - 1], &[0; 40]] {
            fs::write(&copy, damaged).unwrap();
            let disk = Disk::default();
            assert!(is_whole(&disk, &copy), "the copy before it");
            assert_eq!(fs::read(&copy).unwrap(), former);
        }
        fs::remove_file(copy.with_extension("nu.1")).unwrap();
        fs::write(&copy, &former[..30]).unwrap();
        assert!(!is_whole(&Disk::default(), &copy), "there is none before it");
        keep("export def start [] {}");
        assert!(is_whole(&disk, &copy));
    }
}
