//! What each system implements: [`System::set_up`] turns [`ServiceSpec`]s into an [`Instance`], which starts and stops them.

use std::path::Path;
use std::time::Duration;

/// One service.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub(crate) struct ServiceSpec {
    pub(crate) name: String,
    pub(crate) command: Vec<String>,
    /// Indices of the services that have to be ready before.
    pub(crate) needs: Vec<usize>,
    /// The service is ready when it listens on this port.
    pub(crate) port: Option<u16>,
    /// The URL of its HTTP check, and the interval between two checks.
    pub(crate) check: Option<(String, Duration)>,
    /// Whether the service is a one-shot, which is not started again.
    pub(crate) ends: bool,
}

/// A program that runs services.
pub(crate) trait System {
    /// Its name in the table.
    fn name(&self) -> &'static str;

    /// Its version; `None` if it is not installed.
    fn version(&self) -> Option<String>;

    /// Starts the system in `directory` with these services, none of them started. `None` if it cannot run them.
    fn set_up(&self, services: &[ServiceSpec], directory: &Path) -> Option<Box<dyn Instance>>;
}

/// A running system. Dropping it ends all its processes.
pub(crate) trait Instance {
    /// Requests the start of all services. May return before they are up.
    fn start(&mut self);

    /// Requests the stop of all services. May return before they are down.
    fn stop(&mut self);

    /// Requests the status of all services once. `false` if the system has no API for that.
    fn status(&mut self) -> bool {
        false
    }

    /// The log file of a service.
    fn log(&self, _part: &ServiceSpec) -> Option<std::path::PathBuf> {
        None
    }
}
