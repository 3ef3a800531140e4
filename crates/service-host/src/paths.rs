//! [`Paths`]: the files of a project, and the base directory of relative paths.

use crate::disk::Disk;
use service_api::project::fnv1a;
use service_core::Name;
use service_shim::Files;
use std::path::{Path, PathBuf};

/// The paths of a project.
#[derive(Debug)]
pub struct Paths {
    /// The state directory.
    pub state_dir: PathBuf,
    /// The fallback for `state.json` while the state directory cannot be written.
    pub fallback_state_file: Option<PathBuf>,
    /// The project's file; without one, its directory.
    pub project: PathBuf,
    /// The base directory of relative paths in definitions.
    pub base_dir: PathBuf,
    /// The Nushell that started the daemon, if any.
    pub nu: Option<PathBuf>,
    /// The kernel's id of this boot.
    pub boot_id: String,
    /// The syncing of the files.
    pub disk: Disk,
}

impl Paths {
    /// The files of one service.
    pub fn files(&self, name: &Name) -> Files {
        Files::new(self.services().join(&**name)).with_fallback_record(self.fallback_record(name))
    }

    /// The fallback for the record of a run while the state directory cannot be written.
    fn fallback_record(&self, name: &Name) -> Option<PathBuf> {
        let directory = fallback_records(self.fallback_state_file.as_deref()?);
        Some(directory.join(format!("{name}.json")))
    }

    /// The parent of the directories of all services.
    pub fn services(&self) -> PathBuf {
        self.state_dir.join("services")
    }

    /// A name that distinguishes this project in shared namespaces.
    pub fn fingerprint(&self) -> String {
        format!("{:016x}", fnv1a(self.state_dir.as_os_str().as_encoded_bytes()))
    }

    /// The working directory of a service.
    pub fn working_dir(&self, written: Option<&str>) -> PathBuf {
        written.map_or_else(|| self.base_dir.clone(), |written| self.base_dir.join(written))
    }
}

/// The directory of fallback records, beside the fallback state file: `x.runs` beside `x.state.json`.
pub fn fallback_records(fallback_state_file: &Path) -> PathBuf {
    fallback_state_file.with_extension("").with_extension("runs")
}
