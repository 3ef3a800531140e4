//! The fault matrix with real processes: docs/reliability.md has it as a table. Ten rounds of each random fault, or two
//! hundred with `SERVICE_FAULTS=long`.

// What a test stands on is there, or the test fails.
#![allow(clippy::unwrap_used)]

mod freeze;
mod kill;
mod output;
mod probe;
mod records;
mod requests;
mod resources;
mod shim;

use service_tests::{Project, alive, descriptors, eventually, name, program, signal};
use std::fs;
use std::path::{Path, PathBuf};

/// Ends the daemon with its services, as a user does, and looks that neither a process nor a socket is left.
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

/// Waits until the daemon has no more descriptors open than it had; what it has just answered may still be closing.
#[track_caller]
fn has_no_more_than(before: usize, daemon: u32) {
    eventually("the daemon has closed what it opened", || (descriptors(daemon) <= before).then_some(()));
}

/// The processes of a project with this name.
fn named(project: &Project, wanted: &str) -> Vec<u32> {
    project.processes().into_iter().filter(|pid| name(*pid) == wanted).collect()
}

/// A process of nobody's, which nobody may touch.
struct Stranger(std::process::Child);

impl Stranger {
    fn new() -> Self {
        Self(std::process::Command::new(program("actor")).spawn().expect("the actor can be run"))
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let untouched = alive(self.pid());
        signal(self.pid(), nix::sys::signal::Signal::SIGKILL);
        self.0.wait().expect("it is our child");
        assert!(untouched || std::thread::panicking(), "the stranger was killed");
    }
}
