//! The built-in modules, embedded in the program and written to files for Nushell; and the path of a service's module.

use super::author::Author;
use super::error::ModuleError;
use service_api::ownership::read_regular;
use service_api::trust::MAX_FILE_BYTES;
use service_core::config::{Manager, Service};
use service_host::fs::{private_dir, write_private};
use service_host::paths::Paths;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The built-in modules.
const BUILT_IN: [(&str, &str); 4] = [
    ("command", include_str!("../../../nu/managers/command.nu")),
    ("systemd", include_str!("../../../nu/managers/systemd.nu")),
    ("podman", include_str!("../../../nu/managers/podman.nu")),
    ("docker", include_str!("../../../nu/managers/docker.nu")),
];

/// The code that built-in modules share.
const SHARED: &[(&str, &str)] = &[
    ("containers", include_str!("../../../nu/managers/containers.nu")),
    ("quote", include_str!("../../../nu/managers/quote.nu")),
];

/// Writes the modules to files, which Nushell can read.
pub fn install(paths: &Paths) -> std::io::Result<()> {
    let directory = directory(paths);
    private_dir(&directory)?;
    BUILT_IN.iter().chain(SHARED).try_for_each(|(name, text)| {
        write_private(&directory.join(name).with_extension("nu"), text.as_bytes())
    })
}

/// The author of this module.
pub(super) fn author(paths: &Paths, module: &Path) -> Author {
    if module.parent() == Some(&*directory(paths)) { Author::Us } else { Author::Others }
}

/// Restores a built-in module before each use, in case its file was changed.
pub(super) fn assure(paths: &Paths, module: &Path) -> Result<(), ModuleError> {
    if author(paths, module) == Author::Others {
        return Ok(());
    }
    let directory = directory(paths);
    let is_as_it_came = |(name, text): &(&str, &str)| {
        let path = directory.join(name).with_extension("nu");
        let is_file = std::fs::symlink_metadata(&path).is_ok_and(|found| found.is_file());
        is_file && read_regular(&path, MAX_FILE_BYTES).is_ok_and(|found| found == text.as_bytes())
    };
    if BUILT_IN.iter().chain(SHARED).all(is_as_it_came) {
        return Ok(());
    }
    tracing::warn!("the built-in managers were modified; restoring them");
    install(paths)
        .map_err(|error| ModuleError::Restore { module: module.to_path_buf(), error: Arc::new(error) })
}

fn directory(paths: &Paths) -> PathBuf {
    paths.state_dir.join("managers")
}

/// The path of a service's module.
pub(super) fn path_for(paths: &Paths, service: &Service) -> PathBuf {
    module_path(paths, &service.manager).unwrap_or_default()
}

/// The path of a manager's module; `None` for a process.
pub(super) fn module_path(paths: &Paths, manager: &Manager) -> Option<PathBuf> {
    match manager {
        Manager::Module(path) => Some(paths.base_dir.join(path)),
        Manager::BuiltIn(name) => Some(directory(paths).join(name).with_extension("nu")),
        Manager::Process => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_manager_has_its_module() {
        assert_eq!(BUILT_IN.map(|(name, _)| name), Manager::BUILT_IN);
    }
}
