//! Where things lie: the repository, and the programs that cargo built.

use crate::Done;
use std::path::{Path, PathBuf};

/// The repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in a directory of the repository")
}

/// Where cargo puts programs. This program lies among them, wherever `CARGO_TARGET_DIR` or a cargo config say that is.
pub(crate) fn programs() -> Done<PathBuf> {
    let me = std::env::current_exe()?;
    Ok(me.parent().ok_or("cannot tell where programs are built")?.to_path_buf())
}

/// The target directory.
pub(crate) fn target() -> Done<PathBuf> {
    Ok(programs()?.parent().ok_or("cannot tell where the target directory is")?.to_path_buf())
}
