//! [`Files`]: what lies in a service's own directory.

use crate::Record;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The directory of one service: its log, the record of its last run, the control socket of its shim.
#[derive(Debug, Clone)]
pub struct Files {
    directory: PathBuf,
}

impl Files {
    /// The files in this directory.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    /// The directory itself.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The current log, in [CRI format](crate::cri). Rotated ones have `.1`, `.2` … appended; `.1` is the newest.
    pub fn log(&self) -> PathBuf {
        self.directory.join("service.log")
    }

    /// The rotated log number `n`, counted from 1.
    pub fn rotated(&self, n: u32) -> PathBuf {
        self.directory.join(format!("service.log.{n}"))
    }

    /// The record of the last run.
    pub fn record(&self) -> PathBuf {
        self.directory.join("run.json")
    }

    /// What the shim of a run holds locked until nothing of the run is left.
    pub fn lock(&self) -> PathBuf {
        self.directory.join("run.lock")
    }

    /// Takes the lock; `None` if somebody has it. The kernel lets go of it when its holder ends, however that happens.
    pub fn try_lock(&self) -> io::Result<Option<File>> {
        let file =
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(self.lock())?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Where the shim listens. Use [`Files::with_socket_path`] to bind or connect: this path may be too long for that.
    pub fn socket(&self) -> PathBuf {
        self.directory.join("shim.sock")
    }

    /// Calls `use_it` with a short path of the control socket.
    ///
    /// A socket's path must fit in 108 bytes, a state directory need not: the way leads through `/proc/self/fd`.
    pub fn with_socket_path<T>(&self, use_it: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
        let directory = File::open(&self.directory)?;
        use_it(Path::new(&format!("/proc/self/fd/{}/shim.sock", directory.as_raw_fd())))
    }

    /// The record of the last run; `None` if there was none.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] if the file is not a record.
    pub fn read_record(&self) -> io::Result<Option<Record>> {
        match std::fs::read(self.record()) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(io::Error::other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces the record in one step, readable by its owner alone.
    pub fn write_record(&self, record: &Record) -> io::Result<()> {
        let aside = self.directory.join("run.json.new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
        file.write_all(&serde_json::to_vec(record)?)?;
        drop(file);
        std::fs::rename(aside, self.record())
    }
}
