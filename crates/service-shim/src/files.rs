//! [`Files`]: the files in the directory of a service.

use crate::protocol::{Phase, RunRecord};
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The size at which the record file is replaced: about fifty records.
const MAX_RECORD_FILE_BYTES: u64 = 16 * 1024;

/// The directory of one service: its log, the record of its last run, the control socket of its shim.
#[derive(Debug, Clone)]
pub struct Files {
    directory: PathBuf,
    fallback_record: Option<PathBuf>,
}

impl Files {
    /// The files in this directory.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into(), fallback_record: None }
    }

    /// Adds a fallback file for the record, used while the directory cannot be written. The fallback file lies on
    /// another file system, preferably in memory.
    #[must_use]
    pub fn with_fallback_record(mut self, path: Option<PathBuf>) -> Self {
        self.fallback_record = path;
        self
    }

    /// The file for the record while the directory cannot be written.
    pub fn fallback_record(&self) -> Option<&Path> {
        self.fallback_record.as_deref()
    }

    /// The directory itself.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The current log, in [CRI format](crate::cri). Rotated logs have `.1`, `.2` … appended; `.1` is the newest.
    pub fn log(&self) -> PathBuf {
        self.directory.join("service.log")
    }

    /// The rotated log number `n`, counted from 1.
    pub fn rotated(&self, n: u32) -> PathBuf {
        self.directory.join(format!("service.log.{n}"))
    }

    /// The record of the last run, as the last line of a file of JSON lines. Earlier records may precede it.
    pub fn record(&self) -> PathBuf {
        self.directory.join("run.json")
    }

    /// Creates an empty lock and an empty log if they do not exist, because creating a file takes longer than the first
    /// writes to it. The directory must exist.
    pub fn prepare(&self) -> io::Result<()> {
        [self.lock(), self.log()].into_iter().try_for_each(|path| open(&path).map(drop))
    }

    /// The lock that the shim holds until no process of the run is left.
    pub fn lock(&self) -> PathBuf {
        self.directory.join("run.lock")
    }

    /// Acquires the lock; `None` if another process holds it. The kernel releases the lock when its holder exits.
    pub fn try_lock(&self) -> io::Result<Option<File>> {
        let file =
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(self.lock())?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Whether a process holds the lock. The check holds a shared lock for a moment; a shim that acquires the lock
    /// retries.
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

    /// The socket of the shim. Use [`Files::with_socket_path`] to bind or connect, because this path may be too long.
    pub fn socket(&self) -> PathBuf {
        self.directory.join("shim.sock")
    }

    /// Calls `use_it` with a short path to the control socket.
    ///
    /// The path of a socket must fit in 108 bytes, but a state directory may be longer. The short path leads through
    /// `/proc/self/fd`.
    pub fn with_socket_path<T>(&self, use_it: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
        let directory = File::open(&self.directory)?;
        use_it(Path::new(&format!("/proc/self/fd/{}/shim.sock", directory.as_raw_fd())))
    }

    /// The record of the last run; `None` if there was none. Of the record in the directory and the one in the fallback
    /// file, the later one counts.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] if the file holds no record.
    pub fn read_record(&self) -> io::Result<Option<RunRecord>> {
        let usual = read(&self.record());
        let fallback = self.fallback_record.as_deref().and_then(|path| read(path).ok().flatten());
        match (usual, fallback) {
            (Ok(Some(usual)), Some(fallback)) if progress(&fallback) < progress(&usual) => Ok(Some(usual)),
            (_, Some(fallback)) => Ok(Some(fallback)),
            (usual, None) => usual,
        }
    }

    /// Saves the record of the last run, in the directory or, while that cannot be written, in the fallback file.
    pub fn save_record(&self, record: &RunRecord) -> io::Result<()> {
        self.write_record(record)
            .or_else(|error| self.write_fallback_record(record).map_err(|_no_fallback| error))
    }

    /// Saves the record of the last run in the directory, readable by its owner alone.
    pub fn write_record(&self, record: &RunRecord) -> io::Result<()> {
        self.append_record(record)?;
        if let Some(path) = &self.fallback_record {
            // The record in the fallback file is outdated now. Usually there is none.
            let _ = std::fs::remove_file(path);
        }
        Ok(())
    }

    /// Saves the record of the last run in the fallback file, in one step.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`] if there is no fallback file.
    pub fn write_fallback_record(&self, record: &RunRecord) -> io::Result<()> {
        let path = self.fallback_record.as_deref().ok_or(io::ErrorKind::Unsupported)?;
        if let Some(directory) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        }
        let aside = path.with_extension("new");
        let _ = std::fs::remove_file(&aside);
        open(&aside)?.write_all(&serde_json::to_vec(record)?)?;
        std::fs::rename(aside, path)
    }

    /// Appends the record to the file in one short write. Replacing the file would take ten times as long. A file that
    /// has grown long is replaced.
    fn append_record(&self, record: &RunRecord) -> io::Result<()> {
        let mut line = serde_json::to_vec(record)?;
        let mut file = open(&self.record())?;
        let length = file.metadata()?.len();
        if length > MAX_RECORD_FILE_BYTES {
            let aside = self.directory.join("run.json.new");
            let _ = std::fs::remove_file(&aside);
            open(&aside)?.write_all(&line)?;
            return std::fs::rename(aside, self.record());
        }
        if length > 0 {
            // The previous line may be torn.
            line.insert(0, b'\n');
        }
        // A partially written record is written again.
        file.write_all(&line)
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

fn read(path: &Path) -> io::Result<Option<RunRecord>> {
    match std::fs::read(path) {
        Ok(bytes) => last_record(&bytes).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The progress of a run. A record replaces another one of the same or of lower progress.
fn progress(record: &RunRecord) -> (u64, u8) {
    let phase = match record.phase {
        Phase::Launching { .. } => 0,
        Phase::Running { .. } => 1,
        Phase::Exited { .. } => 2,
        Phase::Finished { .. } | Phase::LaunchFailed { .. } => 3,
    };
    (record.run, phase)
}

/// The record in the last complete line. A torn line is skipped.
fn last_record(bytes: &[u8]) -> io::Result<RunRecord> {
    let invalid =
        |error: &dyn std::fmt::Display| io::Error::new(io::ErrorKind::InvalidData, error.to_string());
    let mut last = Err(invalid(&"it is empty"));
    for line in bytes.rsplit(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        match serde_json::from_slice::<RunRecord>(line) {
            // A power failure may leave zeros in place of a line.
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

    fn record(run: u64) -> RunRecord {
        RunRecord {
            version: PROTOCOL_VERSION,
            service: "web".to_owned(),
            run,
            boot_id: "this".to_owned(),
            shim: Process { pid: 7, start_time: 9 },
            phase: Phase::Finished { exit: Exit::Code(0), at: 1 },
            notified: false,
            notify_status: crate::NotifyStatus::default(),
            dropped: 0,
            unreported: 0,
            leftover: None,
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
        assert!(files.record().metadata().unwrap().len() < 2 * MAX_RECORD_FILE_BYTES);
    }

    #[test]
    fn a_record_that_cannot_be_written_in_the_directory_is_written_beside_it_until_it_can() {
        let directory = tempfile::tempdir().unwrap();
        let (state, memory) = (directory.path().join("web"), directory.path().join("memory"));
        std::fs::create_dir(&state).unwrap();
        let fallback = memory.join("web.json");
        let files = Files::new(&state).with_fallback_record(Some(fallback.clone()));
        files.save_record(&record(1)).unwrap();
        assert!(!memory.exists());
        // Not even root can write a directory in place of the file.
        std::fs::rename(files.record(), state.join("before")).unwrap();
        std::fs::create_dir(files.record()).unwrap();
        files.save_record(&record(2)).unwrap();
        assert_eq!(files.read_record().unwrap(), Some(record(2)));
        assert!(Files::new(&state).save_record(&record(2)).is_err());
        std::fs::remove_dir(files.record()).unwrap();
        std::fs::rename(state.join("before"), files.record()).unwrap();
        assert_eq!(files.read_record().unwrap(), Some(record(2)), "the later one counts");
        files.save_record(&record(3)).unwrap();
        assert_eq!(files.read_record().unwrap(), Some(record(3)));
        assert!(!fallback.exists());
        files.write_fallback_record(&record(2)).unwrap();
        assert_eq!(files.read_record().unwrap(), Some(record(3)), "the later one counts");
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
