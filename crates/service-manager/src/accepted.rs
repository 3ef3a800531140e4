//! [`AcceptedModules`]: the last accepted content of each module that is a file of the user.
//!
//! A module may change while its services run. Until the change is accepted, calls for these services run a copy of the
//! accepted content, so that the services can still be queried and stopped. The copy uses the files beside the
//! original, which are not part of the acceptance.
//!
//! Each call reads the module and computes its hash on the thread of the runtime, where `Modules` reads its metadata as
//! well.

use super::embedded::path_for;
use service_api::ownership::read_regular;
use service_api::trust::MAX_FILE_BYTES;
use service_core::config::{Manager, Service};
use service_host::acceptance::Acceptance;
use service_host::fs::{private_dir, write_private};
use service_host::paths::Paths;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The copies that were called since the daemon started. The lock is held only for a lookup.
#[derive(Default)]
pub(super) struct AcceptedModules(Mutex<BTreeMap<PathBuf, Original>>);

/// The original of a copy.
struct Original {
    directory: PathBuf,
    /// Whether calls run the copy instead.
    is_replaced: bool,
}

impl AcceptedModules {
    /// The module for the calls of a service: the copy, if there is one and the present content is not accepted;
    /// otherwise the module of the definition.
    pub(super) fn module_for(&self, paths: &Paths, acceptance: &Acceptance, service: &Service) -> PathBuf {
        let module = path_for(paths, service);
        let Some(copy) = copy_of(&module, paths, service) else { return module };
        let is_accepted = acceptance.covers(service);
        if is_accepted && let Err(error) = keep(&module, &copy, || acceptance.covers(service)) {
            tracing::warn!(service = %service.name, %error, "cannot save the accepted content of the module");
        }
        let is_replaced = !is_accepted && copy.is_file();
        let mut originals = self.originals();
        if is_replaced || originals.contains_key(&copy) {
            let directory = module.parent().unwrap_or(Path::new("/")).to_path_buf();
            originals.insert(copy.clone(), Original { directory, is_replaced });
        }
        if is_replaced { copy } else { module }
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
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The path of the copy of a module that is a file of the user.
fn copy_of(module: &Path, paths: &Paths, service: &Service) -> Option<PathBuf> {
    let Manager::Module(_) = service.manager else { return None };
    Some(paths.files(&service.name).directory().join("module").join(module.file_name()?))
}

/// Copies a module, unless the copy already has its content or the content is not accepted. A service without a
/// directory has never run and needs no copy.
fn keep(module: &Path, copy: &Path, is_accepted: impl FnOnce() -> bool) -> io::Result<()> {
    let Some(directory) = copy.parent().filter(|directory| directory.parent().is_some_and(Path::is_dir))
    else {
        return Ok(());
    };
    // The call itself reports a missing module.
    let Ok(content) = read_regular(module, MAX_FILE_BYTES) else { return Ok(()) };
    if fs::read(copy).is_ok_and(|kept| kept == content) || !is_accepted() {
        return Ok(());
    }
    private_dir(directory)?;
    write_private(copy, &content)
}
