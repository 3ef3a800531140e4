//! Paths: the repository, and the programs that cargo built.

use std::io;
use std::path::{Path, PathBuf};

/// The root of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in a directory of the repository")
}

/// The directory of the built programs, which contains this program, whatever `CARGO_TARGET_DIR` is.
pub(crate) fn programs() -> io::Result<PathBuf> {
    let me = std::env::current_exe()?;
    Ok(me
        .parent()
        .ok_or_else(|| io::Error::other("cannot find the directory of the programs"))?
        .to_path_buf())
}

/// The target directory.
pub(crate) fn target() -> io::Result<PathBuf> {
    Ok(programs()?
        .parent()
        .ok_or_else(|| io::Error::other("cannot find the target directory"))?
        .to_path_buf())
}
