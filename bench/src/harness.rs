//! The traits of a measured system: [`System::set_up`] turns [`ServiceSpec`]s into an [`Instance`], which starts and
//! stops them.

use crate::disk::Medium;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// One service.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub(crate) struct ServiceSpec {
    pub(crate) name: String,
    pub(crate) command: Vec<String>,
    /// Indices of the services that must be ready first.
    pub(crate) needs: Vec<usize>,
    /// The port on which the service listens when it is ready.
    pub(crate) port: Option<u16>,
    /// The URL of its HTTP check, and the interval between two checks.
    pub(crate) check: Option<(String, Duration)>,
    /// The output of a one-shot, which is not started again. The bench waits until the log has it.
    pub(crate) output: Option<Output>,
}

/// The output of a one-shot.
#[derive(Debug, Clone, Copy, serde::Serialize, serde::Deserialize)]
pub(crate) struct Output {
    pub(crate) lines: usize,
    /// The bytes of each write.
    pub(crate) write: usize,
    /// Whether all lines stay in the log. Otherwise a rotation may remove old lines.
    pub(crate) kept: bool,
}

/// Where an instance runs.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// The directory with its definitions, its state and its logs, on the medium of the system.
    pub(crate) directory: PathBuf,
    /// `XDG_RUNTIME_DIR`, which is in memory for every user.
    pub(crate) runtime: PathBuf,
}

/// A program that runs services.
pub(crate) trait System {
    /// The name in the table.
    fn name(&self) -> &'static str;

    /// The version; `None` if the system is not installed.
    fn version(&self) -> Option<String>;

    /// The medium of its directory.
    fn medium(&self) -> Medium {
        Medium::Memory
    }

    /// Starts the system with these services, but starts no service. `None` if the system cannot run them.
    fn set_up(&self, services: &[ServiceSpec], place: &Place) -> Option<Box<dyn Instance>>;
}

/// A running system. Dropping it ends all its processes.
pub(crate) trait Instance {
    /// Requests the start of all services. May return before they are alive.
    fn start(&mut self);

    /// Requests the stop of all services. May return before they have ended.
    fn stop(&mut self);

    /// Requests the status of all services once. `false` if the system has no API for that.
    fn status(&mut self) -> bool {
        false
    }

    /// The log file of a service.
    fn log(&self, _service: &ServiceSpec) -> Option<PathBuf> {
        None
    }
}

/// The path of a service's log, for systems that accept a path.
pub(crate) fn log_in(directory: &Path, service: &ServiceSpec) -> PathBuf {
    directory.join(&service.name).with_extension("log")
}
