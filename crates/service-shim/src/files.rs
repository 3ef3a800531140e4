//! [`Files`]: what lies in a service's own directory.

use crate::protocol::Record;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Bytes of records that are kept before a new file is begun: some fifty of them.
const LONGEST_RECORDS: u64 = 16 * 1024;

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

    /// The record of the last run, as a line of JSON; those that were written before may stand in front of it.
    pub fn record(&self) -> PathBuf {
        self.directory.join("run.json")
    }

    /// Makes what a run begins with where it is not there yet, empty: in a file system that takes longer than all that is done
    /// with it at first. The directory exists.
    pub fn prepare(&self) -> io::Result<()> {
        [self.lock(), self.log()].into_iter().try_for_each(|path| open(&path).map(drop))
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

    /// Whether somebody has the lock. It is shared for a moment at most, which a shim that is about to take it waits for.
    pub fn is_locked(&self) -> io::Result<bool> {
        let file = match File::open(self.lock()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            opened => opened?,
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
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
    /// [`io::ErrorKind::InvalidData`] if the file has no record.
    pub fn read_record(&self) -> io::Result<Option<Record>> {
        match std::fs::read(self.record()) {
            Ok(bytes) => last_record(&bytes).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes this the record of the last run, readable by its owner alone.
    ///
    /// It becomes the last line of the file: one short write, where a new file under the name of the old one would cost a
    /// file system ten times that. A file that has grown long is replaced.
    pub fn write_record(&self, record: &Record) -> io::Result<()> {
        let mut line = serde_json::to_vec(record)?;
        let mut file = open(&self.record())?;
        let length = file.metadata()?.len();
        if length > LONGEST_RECORDS {
            let aside = self.directory.join("run.json.new");
            let _ = std::fs::remove_file(&aside);
            open(&aside)?.write_all(&line)?;
            return std::fs::rename(aside, self.record());
        }
        if length > 0 {
            // What stands before may be torn.
            line.insert(0, b'\n');
        }
        // One of which only a part could be written is torn, and written again.
        file.write_all(&line)
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

/// The last line that is whole. One that is torn says nothing, and what stood there before it is true still.
fn last_record(bytes: &[u8]) -> io::Result<Record> {
    let invalid =
        |error: &dyn std::fmt::Display| io::Error::new(io::ErrorKind::InvalidData, error.to_string());
    let mut last = Err(invalid(&"it is empty"));
    for line in bytes.rsplit(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        match serde_json::from_slice::<Record>(line) {
            // A power failure may leave zeros where something was written.
            Err(error) if error.is_eof() || line.contains(&0) => last = Err(invalid(&error)),
            record => return record.map_err(|error| invalid(&error)),
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Exit, PROTOCOL_VERSION, Phase, Process};

    fn record(run: u64) -> Record {
        Record {
            version: PROTOCOL_VERSION,
            service: "web".to_owned(),
            run,
            boot_id: "this".to_owned(),
            shim: Process { pid: 7, start_time: 9 },
            phase: Phase::Gone { exit: Exit::Code(0), at: 1 },
            notified: false,
            said: crate::Said::default(),
            dropped: 0,
            untold: 0,
            left: None,
        }
    }

    #[test]
    fn the_last_record_counts_however_many_there_were() {
        let directory = tempfile::tempdir().unwrap();
        let files = Files::new(directory.path());
        assert_eq!(files.read_record().unwrap(), None);
        for run in 1..500 {
            files.write_record(&record(run)).unwrap();
            assert_eq!(files.read_record().unwrap(), Some(record(run)));
        }
        assert!(files.record().metadata().unwrap().len() < 2 * LONGEST_RECORDS);
    }

    #[test]
    fn a_torn_record_leaves_the_one_before_it_and_the_next_one_follows() {
        let directory = tempfile::tempdir().unwrap();
        let files = Files::new(directory.path());
        files.write_record(&record(1)).unwrap();
        let whole = std::fs::read(files.record()).unwrap();
        let torn = [&whole[..], b"\n", &whole[..whole.len() / 2]].concat();
        std::fs::write(files.record(), torn).unwrap();
        assert_eq!(files.read_record().unwrap(), Some(record(1)));
        files.write_record(&record(2)).unwrap();
        assert_eq!(files.read_record().unwrap(), Some(record(2)));
    }

    #[test]
    fn who_only_looks_sees_whether_the_lock_is_held_and_makes_none() {
        let directory = tempfile::tempdir().unwrap();
        let files = Files::new(directory.path());
        assert!(!files.is_locked().unwrap() && !files.lock().exists());
        let lock = files.try_lock().unwrap().unwrap();
        assert!(files.is_locked().unwrap());
        drop(lock);
        assert!(!files.is_locked().unwrap());
        std::fs::remove_file(files.lock()).unwrap();
        std::os::unix::fs::symlink(files.lock(), files.lock()).unwrap();
        assert!(files.is_locked().is_err(), "it leads to itself");
    }

    #[test]
    fn what_is_no_record_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let files = Files::new(directory.path());
        for nonsense in ["", "{", "hello", "{}"] {
            std::fs::write(files.record(), nonsense).unwrap();
            assert_eq!(files.read_record().unwrap_err().kind(), io::ErrorKind::InvalidData, "{nonsense:?}");
        }
    }
}
