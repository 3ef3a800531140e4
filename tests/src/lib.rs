//! What the end-to-end tests share: a project of its own for each test, used through the real `nu`.
//!
//! A [`Project`] is a directory with a `services.toml` and private XDG directories. Commands run in it as a user would
//! type them; when it goes out of scope its daemon and services are stopped, and whatever is left then fails the test.
//! Programs come from the directory of the test itself, so `cargo build --workspace --bins` has to come first, or from
//! `$SERVICE_TEST_PROGRAMS`.

// A harness panics wherever a test fails.
#![allow(clippy::missing_panics_doc)]

mod dice;
mod docker;
mod podman;
mod port;
mod process;
mod project;
mod relay;
mod socket;
mod systemd;
mod terminal;

pub use dice::{Dice, rounds};
pub use docker::Docker;
pub use podman::Podman;
pub use port::free_port;
pub use process::{alive, descriptors, marked, memory, name, signal};
pub use project::{Answer, Project, ServiceTable};
pub use relay::Relay;
pub use socket::{follow, http, joined, post, request, tcp};
pub use systemd::Systemd;
pub use terminal::Terminal;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a test waits for what must happen, on a machine under load.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `condition` gives something, and fails the test when it has not within [`PATIENCE`].
#[track_caller]
pub fn eventually<T>(what: &str, condition: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, what, condition)
}

/// Waits until `condition` gives something, and fails the test when it has not in this time.
#[track_caller]
pub fn within<T>(time: Duration, what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + time;
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {time:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The directory of `$SERVICE_TEST_PROGRAMS`, for example of release builds, else where cargo puts programs: tests lie in
/// a directory of it.
fn programs() -> PathBuf {
    if let Some(named) = std::env::var_os("SERVICE_TEST_PROGRAMS") {
        return named.into();
    }
    let test = std::env::current_exe().expect("a test knows its own path");
    test.parent().and_then(Path::parent).expect("tests lie in a directory of the programs'").to_path_buf()
}

/// A program that cargo built.
pub fn program(name: &str) -> PathBuf {
    let program = programs().join(name);
    assert!(program.is_file(), "{} is missing: run `cargo build --workspace --bins`", program.display());
    program
}

/// A program of `tests/requirements.txt`, which `.ci/run` installs into the target directory.
pub fn python_program(name: &str) -> Option<PathBuf> {
    let there = programs().join("../python/bin").join(name);
    there.is_file().then_some(there).or_else(|| installed(name))
}

/// The first program of this name on `PATH`, or in the directories of a system's own programs.
pub fn installed(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(system).map(|dir| dir.join(name)).find(|program| program.is_file())
}

/// Says that a test is skipped for want of something; on CI that is a failure.
pub fn skip(want: &str) {
    assert!(std::env::var_os("CI").is_none(), "on CI nothing may be missing: {want}");
    eprintln!("SKIPPED: {want}");
}
