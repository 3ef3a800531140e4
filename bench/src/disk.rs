//! Where systems run: in memory, or on a disk that was in use before. A journaling file system that has removed files
//! of late takes ten times as long to create one, for some minutes.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// A file system in memory that every Linux has.
const MEMORY: &str = "/dev/shm";
/// How many files are created and removed in each new directory on the disk.
const AGING_FILES: usize = 20_000;

static DISK: OnceLock<PathBuf> = OnceLock::new();
static AGES: AtomicBool = AtomicBool::new(true);

/// Names the directory on the disk. Without it, that is the directory of this program.
pub(crate) fn select(directory: PathBuf) {
    let _ = DISK.set(directory);
}

/// Leaves the disk as it is.
pub(crate) fn do_not_age() {
    AGES.store(false, Ordering::Relaxed);
}

/// The kind of file system, for a place of a system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Medium {
    Memory,
    Disk,
}

impl Medium {
    pub(crate) fn path(self) -> PathBuf {
        let own = || std::env::current_exe().ok().and_then(|path| path.parent().map(Path::to_path_buf));
        match self {
            Self::Memory => PathBuf::from(MEMORY),
            Self::Disk => DISK.get().cloned().or_else(own).expect("a program lies in a directory"),
        }
    }

    /// A new directory in it.
    pub(crate) fn directory(self) -> tempfile::TempDir {
        let directory = tempfile::Builder::new().prefix("service-bench-").tempdir_in(self.path());
        let directory = directory.expect("it takes a directory");
        if self == Self::Disk && AGES.load(Ordering::Relaxed) {
            age(directory.path()).expect("it takes files");
        }
        directory
    }

    /// The name of the file system, such as `ext4`.
    pub(crate) fn file_system(self) -> String {
        let path = fs::canonicalize(self.path()).unwrap_or_default();
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let above = fields.filter(|fields| fields.len() > 2 && path.starts_with(fields[1]));
        above.max_by_key(|fields| fields[1].len()).map_or_else(String::new, |fields| fields[2].to_owned())
    }
}

/// Creates and removes many small files. `ext4` remembers a removed file in the group of blocks of its directory, so
/// they are in the directory that is to age.
fn age(directory: &Path) -> std::io::Result<()> {
    let removed = directory.join("removed");
    fs::create_dir(&removed)?;
    for nth in 0..AGING_FILES {
        fs::write(removed.join(nth.to_string()), "a small file\n")?;
    }
    fs::remove_dir_all(removed)
}
