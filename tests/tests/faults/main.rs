//! The fault matrix with real processes; docs/reliability.md has it as a table. Ten rounds of each random fault, or two
//! hundred with `SERVICE_FAULTS=long`.

// A missing precondition fails the test.
#![allow(clippy::unwrap_used)]

mod clock;
mod deleted;
mod descriptors;
mod freeze;
mod home;
mod kill;
mod launch;
mod output;
mod probe;
mod records;
mod requests;
mod resources;
mod shim;
mod unclear;

use service_tests::{Project, WAIT_TIMEOUT, alive, eventually, http, name, program, signal};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Stops the daemon with its services, and checks that neither a process nor a socket remains.
#[track_caller]
fn leaves_nothing(project: &Project) {
    project.value("service daemon stop --services");
    eventually("every process has ended", || project.processes().is_empty().then_some(()));
    assert_eq!(sockets(&project.path("")), Vec::<PathBuf>::new());
}

fn sockets(below: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(below).into_iter().flatten().flatten() {
        let kind = entry.file_type().expect("Linux tells the type of a file");
        if kind.is_dir() {
            found.extend(sockets(&entry.path()));
        } else if std::os::unix::fs::FileTypeExt::is_socket(&kind) {
            found.push(entry.path());
        }
    }
    found
}

/// The resources of a daemon: open descriptors and live tasks.
struct Footprint {
    socket: PathBuf,
    daemon: u64,
    descriptors: u64,
    tasks: u64,
}

impl Footprint {
    /// The resources of an idle daemon.
    #[track_caller]
    fn measure(project: &Project) -> Self {
        let socket = project.socket();
        // When it answers the second request, the daemon has noticed the end of earlier clients.
        http(&socket, "GET", "/api/v1/daemon");
        let said = http(&socket, "GET", "/api/v1/daemon").1["data"].clone();
        let number = |name: &str| said[name].as_u64().unwrap();
        Self { daemon: number("pid"), descriptors: number("descriptors"), tasks: number("tasks"), socket }
    }

    /// Waits until the same daemon uses no more than this. Earlier connections may still be closing.
    #[track_caller]
    fn has_not_grown(&self) {
        let mut last = String::new();
        let deadline = Instant::now() + WAIT_TIMEOUT;
        while Instant::now() < deadline {
            let said = http(&self.socket, "GET", "/api/v1/daemon").1["data"].clone();
            assert_eq!(said["pid"], self.daemon, "it is another daemon");
            let within = |name: &str, limit: u64| said[name].as_u64().is_some_and(|number| number <= limit);
            if within("descriptors", self.descriptors) && within("tasks", self.tasks) {
                return;
            }
            last = said.to_string();
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("it held {} descriptors and {} tasks, and now: {last}", self.descriptors, self.tasks);
    }
}

/// The processes of a project with this name.
fn named(project: &Project, wanted: &str) -> Vec<u32> {
    project.processes().into_iter().filter(|pid| name(*pid) == wanted).collect()
}

/// An unrelated process, which must not be signalled.
struct UnrelatedProcess(std::process::Child);

impl UnrelatedProcess {
    fn new() -> Self {
        Self(
            std::process::Command::new(program("test_service")).spawn().expect("the test service can be run"),
        )
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for UnrelatedProcess {
    fn drop(&mut self) {
        let untouched = alive(self.pid());
        signal(self.pid(), nix::sys::signal::Signal::SIGKILL);
        self.0.wait().expect("it is our child");
        assert!(untouched || std::thread::panicking(), "the stranger was killed");
    }
}
