//! Creates files and directories that only their owner may read.

use std::fs::Metadata;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The maximum length of a path or an abstract name in a socket address.
pub const MAX_SOCKET_NAME_BYTES: usize = 107;

/// Creates a directory that only its owner may enter, or verifies an existing one.
pub fn private_dir(path: &Path) -> io::Result<()> {
    service_api::ownership::private_dir(path).map(drop)
}

/// Creates a temporary directory.
pub fn make_temporary_dir() -> io::Result<PathBuf> {
    let ours = std::env::temp_dir().join(format!("service-orchestrator-{}", nix::unistd::geteuid()));
    private_dir(&ours)?;
    for number in 0.. {
        let directory = ours.join(format!("embedded-{}-{number}", std::process::id()));
        match std::fs::DirBuilder::new().mode(0o700).create(&directory) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            created => return created.map(|()| directory),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Opens a file for appending. A missing file is created, readable by its owner alone.
pub fn open_private(path: &Path) -> io::Result<std::fs::File> {
    std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

/// Replaces a file atomically, readable by its owner alone.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let aside = path.with_extension("new");
    let mut file =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
    file.write_all(bytes)?;
    drop(file);
    std::fs::rename(aside, path)
}
/// The metadata that changes with the content or the permissions of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileStamp {
    modified: (i64, i64),
    changed: (i64, i64),
    /// The size, in bytes.
    pub size: u64,
    inode: u64,
}

impl From<&Metadata> for FileStamp {
    fn from(found: &Metadata) -> Self {
        Self {
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
            size: found.size(),
            inode: found.ino(),
        }
    }
}

impl FileStamp {
    /// The stamp of the file at this path; `None` if it cannot be examined.
    pub fn read(path: &Path) -> Option<Self> {
        Some(Self::from(&std::fs::metadata(path).ok()?))
    }
}
