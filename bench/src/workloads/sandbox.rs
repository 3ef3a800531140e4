//! [`Sandbox`]: the environment in which a workload runs once.

use crate::disk::Medium;
use crate::harness::{Instance, Place, ServiceSpec, System};
use crate::process;
use crate::stamps::Stamps;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// The directories of one run of a workload, and the page into which its services write.
pub(crate) struct Sandbox {
    /// First the directory on the system's medium, then a directory in memory.
    directories: Vec<tempfile::TempDir>,
    place: Place,
    pub(crate) stamps: Stamps,
}

/// Directories of finished runs. They are removed at the end, so that only [`disk::age`](crate::disk::age) ages the
/// disk.
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
        FINISHED.lock().unwrap_or_else(PoisonError::into_inner).append(&mut self.directories);
    }
}

impl Sandbox {
    pub(crate) fn new(system: &dyn System) -> Self {
        let (own, memory) = (system.medium().directory(), Medium::Memory.directory());
        let place = Place { directory: own.path().to_owned(), runtime: memory.path().join("run") };
        std::fs::create_dir(&place.runtime).expect("the directory is ours");
        let stamps = Stamps::new(memory.path());
        Self { directories: vec![own, memory], place, stamps }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.place.directory
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// A service that runs the payload with these arguments. Its index is its slot.
    pub(crate) fn service(&self, index: usize, arguments: &[&str]) -> ServiceSpec {
        let payload = service_tests::program("payload").display().to_string();
        let own = [payload, self.stamps.path(), index.to_string()];
        ServiceSpec {
            name: format!("s{index}"),
            command: own.into_iter().chain(arguments.iter().map(ToString::to_string)).collect(),
            needs: Vec::new(),
            port: None,
            check: None,
            output: None,
        }
    }

    /// A service that listens on a port of its own this many milliseconds after its start.
    pub(crate) fn listening(&self, index: usize, after: u32, needs: Vec<usize>) -> ServiceSpec {
        let port = service_tests::free_port();
        let service = self.service(index, &["listen", &port.to_string(), &after.to_string()]);
        ServiceSpec { needs, port: Some(port), ..service }
    }

    /// `count` services without dependencies.
    pub(crate) fn independent(&self, count: usize) -> Vec<ServiceSpec> {
        (0..count).map(|index| self.service(index, &["alive"])).collect()
    }

    pub(crate) fn set_up(&self, system: &dyn System, services: &[ServiceSpec]) -> Option<Box<dyn Instance>> {
        system.set_up(services, &self.place)
    }

    /// The CPU time and the memory of the system's own processes.
    pub(crate) fn used(&self) -> process::Use {
        process::Use::measure(&process::pids_in(self.path()))
    }
}
