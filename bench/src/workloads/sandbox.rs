//! [`Sandbox`]: the place in which a workload runs once.

use crate::harness::{Instance, ServiceSpec, System};
use crate::process;
use crate::ready_listener::ReadyListener;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// The directory in which one workload runs once, and the socket on which its services report.
pub(crate) struct Sandbox {
    directory: Option<tempfile::TempDir>,
    pub(crate) ready: ReadyListener,
}

/// Directories of finished runs. They are removed at the end: for some seconds after files were removed, `ext4` takes
/// ten times as long to create one, and the next run would pay for that.
static FINISHED: Mutex<Vec<tempfile::TempDir>> = Mutex::new(Vec::new());

/// Removes the directories of all finished runs when it is dropped.
pub(crate) struct Cleanup;

impl Drop for Cleanup {
    fn drop(&mut self) {
        FINISHED.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        FINISHED.lock().unwrap_or_else(PoisonError::into_inner).extend(self.directory.take());
    }
}

impl Sandbox {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let ready = ReadyListener::new(directory.path());
        Self { directory: Some(directory), ready }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.as_ref().expect("it has one until it is dropped").path()
    }

    /// A service that runs the payload with these arguments.
    pub(crate) fn service(&self, index: usize, arguments: &[&str]) -> ServiceSpec {
        let payload = service_tests::program("payload").display().to_string();
        let command =
            [payload, self.ready.address()].into_iter().chain(arguments.iter().map(ToString::to_string));
        ServiceSpec {
            name: format!("s{index}"),
            command: command.collect(),
            needs: Vec::new(),
            port: None,
            check: None,
            ends: false,
        }
    }

    /// `count` services without dependencies that report when they are alive.
    pub(crate) fn independent(&self, count: usize) -> Vec<ServiceSpec> {
        (0..count).map(|index| self.service(index, &["alive"])).collect()
    }

    pub(crate) fn set_up(&self, system: &dyn System, services: &[ServiceSpec]) -> Option<Box<dyn Instance>> {
        system.set_up(services, self.path())
    }

    /// The CPU time and memory that the system's own processes have used.
    pub(crate) fn used(&self) -> process::Use {
        process::Use::measure(&process::pids_in(self.path()))
    }
}

/// Milliseconds between two moments.
pub(crate) fn elapsed_ms(begun: Instant, ended: Instant) -> f64 {
    ended.duration_since(begun).as_secs_f64() * 1e3
}
