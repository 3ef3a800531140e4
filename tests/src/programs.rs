//! Programs that tests run: programs that cargo has built, and installed ones.

use std::path::{Path, PathBuf};

/// The directory of `$SERVICE_TEST_PROGRAMS`, for example of release builds; without it, the directory of cargo's
/// programs, which is a parent of the test program's.
pub(crate) fn programs() -> PathBuf {
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

/// The first program of this name on `PATH`, or in the directories of system programs.
pub fn installed(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(system).map(|dir| dir.join(name)).find(|program| program.is_file())
}

/// Capabilities that CI may lack, because its kernel or its container forbids them.
const MAY_LACK: [Lack; 3] = [Lack::Docker, Lack::Podman, Lack::MemoryCgroup];

/// A capability that no package provides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lack {
    /// A docker engine that runs here.
    Docker,
    /// Podman containers that run here.
    Podman,
    /// A cgroup v2 with a memory controller that this user may delegate.
    MemoryCgroup,
    /// The privileges of root.
    Root,
}

/// Reports a test as skipped because a program is not installed; on CI that is a failure.
pub fn skip(want: &str) {
    assert!(std::env::var_os("CI").is_none(), "on CI nothing may be missing: {want}");
    eprintln!("SKIPPED: {want}");
}

/// Reports a test as skipped because the machine lacks a capability; on CI that is a failure unless it is listed.
pub fn skip_for(lack: Lack, why: &str) {
    let fails = std::env::var_os("CI").is_some() && !MAY_LACK.contains(&lack);
    assert!(!fails, "on CI this may not be missing: {lack:?}: {why}");
    eprintln!("SKIPPED: {lack:?}: {why}");
}
