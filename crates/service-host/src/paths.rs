//! [`Paths`]: the files of a project, and the base directory of relative paths.

use crate::disk::Disk;
use service_api::project::fnv1a;
use service_core::Name;
use service_shim::Files;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The paths of a project.
#[derive(Debug, Default)]
pub struct Paths {
    /// The directory of goals and logs.
    pub state_dir: PathBuf,
    /// Directories in memory for the [run directory](crate::run_directory), the best one first. Without any, it lies in
    /// the state directory.
    pub memory_directories: Vec<PathBuf>,
    /// The file for goals while the state directory cannot be written.
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
    /// The paths of a project with this state directory, and nothing else.
    pub fn new(state_dir: impl Into<PathBuf>) -> Self {
        Self { state_dir: state_dir.into(), ..Self::default() }
    }

    /// The files of one service.
    pub fn files(&self, name: &Name) -> Files {
        files_in(&self.state_dir, name)
    }

    /// The state directories of all services.
    pub fn services(&self) -> PathBuf {
        self.state_dir.join(SERVICES)
    }

    /// The run directories of all services.
    pub fn runs(&self) -> PathBuf {
        self.state_dir.join(RUNS)
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

/// The state directories of all services, in the state directory of the project.
pub const SERVICES: &str = "services";
/// The link to the run directory, in the state directory of the project.
pub const RUNS: &str = "run";

/// The files of a service of the project with this state directory.
pub fn files_in(state_dir: &Path, name: &str) -> Files {
    Files::new(state_dir.join(SERVICES).join(name)).with_run_directory(state_dir.join(RUNS).join(name))
}

/// The name of the run directory in a directory in memory. The name of a state directory identifies its project.
pub fn run_directory_name(state_dir: &Path) -> OsString {
    let mut name = state_dir.file_name().unwrap_or_default().to_owned();
    name.push(".run");
    name
}
