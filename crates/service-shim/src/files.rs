//! [`Files`]: the files in the directory of a service.

use crate::protocol::{Phase, RunRecord};
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The size at which the record file is replaced: about fifty records.
const MAX_RECORD_FILE_BYTES: u64 = 16 * 1024;

/// Size and modification time, in seconds and nanoseconds, of the two files of a record.
pub type RecordStamp = [(u64, i64, i64); 2];

/// The name of a record file.
const RECORD: &str = "run.json";

/// The files of one service, in two directories:
///
/// - The state directory lies on a disk and survives a reboot. It contains the log.
/// - The run directory lies in memory and is removed with the boot, or with the session. It contains the lock, the record
///   of the last run and the control socket of its shim. It is a path through a link of the daemon, so that it remains
///   valid if the daemon has to choose another directory.
#[derive(Debug, Clone)]
pub struct Files {
    directory: PathBuf,
    run_directory: PathBuf,
    /// [`Files::run_directory`] without links, as of [`Files::resolve`].
    resolved: PathBuf,
}

impl Files {
    /// The files of a service with only one directory.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        let directory = directory.into();
        Self { run_directory: directory.clone(), resolved: directory.clone(), directory }
    }

    /// The files with this run directory.
    #[must_use]
    pub fn with_run_directory(mut self, path: impl Into<PathBuf>) -> Self {
        self.run_directory = path.into();
        self.resolved.clone_from(&self.run_directory);
        self
    }

    /// Resolves the links to the run directory. Without this, its files cannot be found while the links are gone.
    pub fn resolve(&mut self) {
        if let Ok(resolved) = self.run_directory.canonicalize() {
            self.resolved = resolved;
        }
    }

    /// The state directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The run directory.
    pub fn run_directory(&self) -> &Path {
        &self.run_directory
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
        self.resolved.join(RECORD)
    }

    /// The file for the record while the run directory cannot be written. Before version 4 it was the only one.
    fn fallback_record(&self) -> PathBuf {
        self.directory.join(RECORD)
    }

    /// The lock that the shim holds until no process of the run is left.
    pub fn lock(&self) -> PathBuf {
        self.resolved.join("run.lock")
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
        self.resolved.join("shim.sock")
    }

    /// Calls `use_it` with a short path to the control socket.
    ///
    /// The path of a socket must fit in 108 bytes, but a directory may be longer. The short path leads through
    /// `/proc/self/fd`.
    pub fn with_socket_path<T>(&self, use_it: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
        let directory = File::open(&self.resolved)?;
        use_it(Path::new(&format!("/proc/self/fd/{}/shim.sock", directory.as_raw_fd())))
    }

    /// The record of the last run; `None` if there was none. Of the record in the run directory and the one that could
    /// not be written there, the later one counts.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] if the file holds no record.
    pub fn read_record(&self) -> io::Result<Option<RunRecord>> {
        let usual = read(&self.record());
        if self.has_one_directory() {
            return usual;
        }
        let fallback = read(&self.fallback_record()).ok().flatten();
        match (usual, fallback) {
            (Ok(Some(usual)), Some(fallback)) if progress(&fallback) < progress(&usual) => Ok(Some(usual)),
            (_, Some(fallback)) => Ok(Some(fallback)),
            (usual, None) => usual,
        }
    }

    /// Changes whenever a record is written; `None` without a record.
    pub fn record_stamp(&self) -> Option<RecordStamp> {
        let stamp = |path: &Path| {
            std::fs::metadata(path).ok().map(|file| (file.len(), file.mtime(), file.mtime_nsec()))
        };
        let stamps = [stamp(&self.record()), stamp(&self.fallback_record())];
        stamps.iter().any(Option::is_some).then(|| stamps.map(Option::unwrap_or_default))
    }

    fn has_one_directory(&self) -> bool {
        self.directory == self.run_directory
    }

    /// Saves the record of the last run, in the run directory or, while that cannot be written, in the state directory.
    pub fn save_record(&self, record: &RunRecord) -> io::Result<()> {
        self.write_record(record)
            .or_else(|error| self.write_fallback_record(record).map_err(|_no_fallback| error))
    }

    /// Saves the record of the last run in the run directory, readable by its owner alone.
    pub fn write_record(&self, record: &RunRecord) -> io::Result<()> {
        self.append_record(record)?;
        if !self.has_one_directory() {
            // The fallback record is older now. In most cases there is no such file.
            let _ = std::fs::remove_file(self.fallback_record());
        }
        Ok(())
    }

    /// Saves the record of the last run in the state directory, in one step.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`] if this is the run directory.
    pub fn write_fallback_record(&self, record: &RunRecord) -> io::Result<()> {
        if self.has_one_directory() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        replace(&self.directory, &serde_json::to_vec(record)?)
    }

    /// Appends the record to the file in one short write. Replacing the file would take ten times as long. A file that
    /// has grown long is replaced.
    fn append_record(&self, record: &RunRecord) -> io::Result<()> {
        let mut line = serde_json::to_vec(record)?;
        let mut file = open(&self.record())?;
        let length = file.metadata()?.len();
        if length > MAX_RECORD_FILE_BYTES {
            return replace(&self.resolved, &line);
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

/// Replaces the record in this directory.
fn replace(directory: &Path, record: &[u8]) -> io::Result<()> {
    private_dir(directory)?;
    let (path, aside) = (directory.join(RECORD), directory.join("run.json.new"));
    let _ = std::fs::remove_file(&aside);
    open(&aside)?.write_all(record)?;
    std::fs::rename(aside, path)
}

/// Creates a directory that only its owner may enter, if it does not exist. Its parent exists: the state of a project that
/// was removed is not created again.
pub(crate) fn private_dir(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        created => created,
    }
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
    fn a_record_that_cannot_be_written_in_the_run_directory_is_written_in_the_state_directory_until_it_can() {
        let directory = tempfile::tempdir().unwrap();
        let (state, run) = (directory.path().join("web"), directory.path().join("run"));
        let fallback = state.join(RECORD);
        std::fs::create_dir(&run).unwrap();
        let files = Files::new(&state).with_run_directory(&run);
        files.save_record(&record(1)).unwrap();
        assert!(!state.exists(), "no file on the disk");
        // Not even root can write a directory in place of the file.
        std::fs::rename(files.record(), run.join("before")).unwrap();
        std::fs::create_dir(files.record()).unwrap();
        files.save_record(&record(2)).unwrap();
        assert_eq!(files.read_record().unwrap(), Some(record(2)));
        assert!(Files::new(&run).save_record(&record(2)).is_err());
        std::fs::remove_dir(files.record()).unwrap();
        std::fs::rename(run.join("before"), files.record()).unwrap();
        assert_eq!(files.read_record().unwrap(), Some(record(2)), "the later one counts");
        files.save_record(&record(3)).unwrap();
        assert_eq!(files.read_record().unwrap(), Some(record(3)));
        assert!(!fallback.exists());
        files.write_fallback_record(&record(2)).unwrap();
        assert_eq!(files.read_record().unwrap(), Some(record(3)), "the later one counts");
        std::fs::remove_dir_all(&run).unwrap();
        files.save_record(&record(4)).unwrap();
        assert_eq!(files.read_record().unwrap(), Some(record(4)), "the run directory is gone");
    }

    #[test]
    fn the_files_of_a_run_follow_the_link_when_they_are_resolved() {
        let directory = tempfile::tempdir().unwrap();
        let [one, two, link] = ["one", "two", "link"].map(|name| directory.path().join(name));
        for run in [&one, &two] {
            std::fs::create_dir_all(run.join("web")).unwrap();
        }
        std::os::unix::fs::symlink(&one, &link).unwrap();
        let mut files = Files::new(directory.path().join("web")).with_run_directory(link.join("web"));
        files.resolve();
        std::fs::remove_file(&link).unwrap();
        files.write_record(&record(1)).unwrap();
        assert!(one.join("web/run.json").exists());
        std::os::unix::fs::symlink(&two, &link).unwrap();
        files.resolve();
        files.write_record(&record(2)).unwrap();
        assert!(two.join("web/run.json").exists());
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
