//! Where systems run: in memory, or on a disk that was in use before. A journaling file system that has removed files
//! of late takes ten times as long to create one, for some minutes.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// A file system in memory that every Linux has.
const MEMORY: &str = "/dev/shm";
/// How many directories are created and removed, each with four files: as many inodes as of 20,000 files. Directories
/// matter: `ext4` avoids the inodes that were removed of late, and passes them one by one where it places a directory.
const AGING_DIRECTORIES: usize = 4_000;
/// `ext4` forgets a removed inode after one to five minutes.
const AGED_FOR: Duration = Duration::from_mins(1);

static DISK: OnceLock<PathBuf> = OnceLock::new();
static AGES: AtomicBool = AtomicBool::new(true);
static AGED: Mutex<Option<Instant>> = Mutex::new(None);

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
            let mut aged = AGED.lock().unwrap_or_else(PoisonError::into_inner);
            if aged.is_none_or(|aged| aged.elapsed() > AGED_FOR) {
                age(directory.path()).expect("it takes files");
                *aged = Some(Instant::now());
            }
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

fn age(directory: &Path) -> std::io::Result<()> {
    let removed = directory.join("removed");
    for nth in 0..AGING_DIRECTORIES {
        let service = removed.join(nth.to_string());
        fs::create_dir_all(&service)?;
        for file in ["run.lock", "run.json", "definition.json", "service.log"] {
            fs::write(service.join(file), "a small file\n")?;
        }
    }
    fs::remove_dir_all(removed)
}
