//! Programs that tests run: those that cargo built, and those that are installed.

use std::path::{Path, PathBuf};

/// The directory of `$SERVICE_TEST_PROGRAMS`, for example of release builds, else where cargo puts programs: tests lie in
/// a directory of it.
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
