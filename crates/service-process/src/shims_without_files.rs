//! Finds living shims without files, after the lock of a run, the directory of a service, or the whole state directory
//! was deleted. If the daemon trusted the files alone, it would start a second run beside the first.
//!
//! `/proc` shows these shims: a shim holds its lock file open, `/proc` names open files even if they are deleted, and
//! the service has the mark of the run in its environment. A found shim is requested ([`request_file_recreation`]) to
//! recreate its files, and is adopted like any other. All processes are searched only if files are missing: without
//! persisted state, or if a service that should run has no locked shim.

use nix::libc::ESRCH;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use service_core::Name;
use service_core::service::PersistedState;
use service_host::clock;
use service_host::environment::RUN_ID_VARIABLE;
use service_host::fs::private_dir;
use service_host::paths::{Paths, RUNS, SERVICES, files_in, run_directory_name};
use service_host::{procfs, run_directory};
use service_shim::{Files, NotifyStatus, PROTOCOL_VERSION, Phase, Process, RunRecord};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use thiserror::Error;

/// The process name of shims.
const SHIM: &str = "service-shim";
/// The suffix of a deleted file in `/proc`.
const DELETED: &str = " (deleted)";
/// The time limit for a shim to recreate its files.
const RECREATE_TIMEOUT: Duration = Duration::from_secs(1);
/// The interval of checks for the recreated files.
const RECREATE_CHECK_INTERVAL: Duration = Duration::from_millis(5);

/// The result of a search for shims without files.
#[derive(Debug, Default)]
pub struct Lost {
    /// Records of shims that did not recreate their files: they are frozen, or of a former version.
    pub records: BTreeMap<Name, RunRecord>,
    /// Why the search may be incomplete: some processes could not be inspected.
    pub unsearched: Option<String>,
}

/// A process cannot be inspected, so it is unknown whether it is a shim without files.
#[derive(Debug, Error)]
#[error("cannot read `{}`: {error}", path.display())]
pub struct InspectError {
    path: PathBuf,
    error: io::Error,
}

impl InspectError {
    fn new(path: &Path, error: io::Error) -> Self {
        Self { path: path.to_owned(), error }
    }
}

/// Searches for shims of this state directory if files are missing, and requests them to recreate their files.
pub async fn request_file_recreation(
    paths: &Paths,
    memories: &BTreeMap<Name, PersistedState>,
    is_managed: impl Fn(&Name) -> bool,
) -> Lost {
    if is_anything_missing(paths, memories, is_managed) { search(paths).await } else { Lost::default() }
}

/// Searches all processes for shims of this state directory, and requests them to recreate their files.
pub async fn search(paths: &Paths) -> Lost {
    let (mut found, unsearched) = find(Path::new("/proc"), &paths.state_dir);
    let unsearched = unsearched.map(|error| error.to_string());
    if let Some(why) = &unsearched {
        tracing::warn!(why, "cannot search for shims whose files are gone");
    }
    for (name, shim) in &found {
        tracing::warn!(service = %name, pid = shim.pid, "the shim runs, but its files are gone; requesting new ones");
        let files = paths.files(name);
        // A shim of a former version recreates its files in the state directory.
        let made = [run_directory::create_for_running(paths, &files), private_dir(files.directory())];
        if made.iter().all(Result::is_ok) {
            request_files(*shim);
        }
    }
    let deadline = clock::now().plus(RECREATE_TIMEOUT);
    loop {
        found.retain(|name, shim| !is_back(&paths.files(name), *shim));
        if found.is_empty() || clock::now() >= deadline {
            break;
        }
        tokio::time::sleep(RECREATE_CHECK_INTERVAL).await;
    }
    let records = found.into_iter().map(|(name, shim)| (name.clone(), record(paths, &name, shim))).collect();
    Lost { records, unsearched }
}

/// The living shims of this state directory without files.
pub fn find_lost(state_dir: &Path) -> BTreeMap<Name, Process> {
    find(Path::new("/proc"), state_dir).0
}

/// Requests a shim to recreate its files.
pub(super) fn request_files(shim: Process) {
    let _ = kill(Pid::from_raw(shim.pid.cast_signed()), Signal::SIGHUP);
}

/// Whether this is a living shim that holds the deleted lock of this service.
///
/// # Errors
/// The process cannot be inspected.
pub fn holds_lock(shim: Process, paths: &Paths, service: &Name) -> Result<bool, InspectError> {
    let proc = Path::new("/proc");
    if !shim.may_be_alive() || !is_shim(proc, shim.pid)? {
        return Ok(false);
    }
    Ok(lost_name(proc, shim.pid, &paths.state_dir)?.is_some_and(|name| name == *service))
}

fn is_anything_missing(
    paths: &Paths,
    memories: &BTreeMap<Name, PersistedState>,
    is_managed: impl Fn(&Name) -> bool,
) -> bool {
    let is_kept = |name: &Name, run: u64| {
        let files = paths.files(name);
        let is_end = |record: RunRecord| record.is_end() && record.run >= run;
        let is_over = files.read_record().is_ok_and(|record| record.is_some_and(is_end));
        let is_held = files.try_lock().map(|lock| lock.is_none() && files.socket().exists());
        // An unreadable file is not treated as missing.
        is_over || is_held.unwrap_or_else(|error| error.kind() != ErrorKind::NotFound)
    };
    let mut up = memories.iter().filter(|(name, memory)| memory.state.is_alive() && !is_managed(name));
    !paths.state_dir.join("state.json").exists() || !up.all(|(name, memory)| is_kept(name, memory.run))
}

fn is_back(files: &Files, shim: Process) -> bool {
    let says = || files.read_record().is_ok_and(|record| record.is_some_and(|record| record.shim == shim));
    !shim.is_alive() || files.socket().exists() && says() && files.try_lock().is_ok_and(|lock| lock.is_none())
}

/// Every living shim that holds a deleted lock of a service of this directory; and why the search may be incomplete.
fn find(proc: &Path, state_dir: &Path) -> (BTreeMap<Name, Process>, Option<InspectError>) {
    let (mut found, mut unsearched) = (BTreeMap::new(), None);
    let entries = match std::fs::read_dir(proc) {
        Ok(entries) => entries,
        Err(error) => return (found, Some(InspectError::new(proc, error))),
    };
    for entry in entries {
        let inspected = entry.map_err(|error| InspectError::new(proc, error)).and_then(|entry| {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
                return Ok(None);
            };
            let name = if is_shim(proc, pid)? { lost_name(proc, pid, state_dir)? } else { None };
            let Some(name) = name else { return Ok(None) };
            let process = Process::try_find(pid)
                .map_err(|error| InspectError::new(&entry.path().join("stat"), error))?;
            Ok(process.map(|process| (name, process)))
        });
        match inspected {
            Ok(shim) => found.extend(shim),
            Err(why) => unsearched = Some(why),
        }
    }
    (found, unsearched)
}

/// The value read from a process; `None` if the process has ended or belongs to another user. After any other error the
/// search is incomplete.
fn unless_gone<T>(
    proc: &Path,
    pid: u32,
    path: &Path,
    read: io::Result<T>,
) -> Result<Option<T>, InspectError> {
    let is_foreign = || {
        let directory = std::fs::metadata(proc.join(pid.to_string()));
        directory.is_ok_and(|directory| directory.uid() != geteuid().as_raw())
    };
    match read {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(ESRCH) => Ok(None),
        Err(error) if error.kind() == ErrorKind::PermissionDenied && is_foreign() => Ok(None),
        Err(error) => Err(InspectError::new(path, error)),
    }
}

fn is_shim(proc: &Path, pid: u32) -> Result<bool, InspectError> {
    let path = proc.join(format!("{pid}/comm"));
    let name = unless_gone(proc, pid, &path, std::fs::read_to_string(&path))?;
    Ok(name.is_some_and(|name| name.trim_end() == SHIM))
}

/// The service of this state directory that a shim supervises without files: its lock is not the file that a daemon would
/// lock, or its socket is missing.
fn lost_name(proc: &Path, shim: u32, state_dir: &Path) -> Result<Option<Name>, InspectError> {
    let Some(lock) = lock_of(proc, shim)? else { return Ok(None) };
    // The directory of the lock may have been renamed.
    let marked = marked_service(proc, shim, state_dir)?;
    let Some(name) = marked.or_else(|| locked_service(&lock.path, state_dir)) else { return Ok(None) };
    let files = files_in(state_dir, &name);
    let path = files.lock();
    match std::fs::metadata(&path) {
        Ok(file) => {
            let is_its = (file.dev(), file.ino()) == lock.identity;
            Ok(Some(name).filter(|_| !is_its || !files.socket().exists()))
        }
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(Some(name))
        }
        Err(error) => Err(InspectError::new(&path, error)),
    }
}

/// The lock of a shim.
struct HeldLock {
    /// The path as the kernel reports it, without the suffix of a deleted file.
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
}

/// The lock file of a shim.
fn lock_of(proc: &Path, pid: u32) -> Result<Option<HeldLock>, InspectError> {
    let path = proc.join(format!("{pid}/fd"));
    let Some(open) = unless_gone(proc, pid, &path, std::fs::read_dir(&path))? else { return Ok(None) };
    for entry in open {
        let Some(entry) = unless_gone(proc, pid, &path, entry)? else { continue };
        let target = unless_gone(proc, pid, &entry.path(), std::fs::read_link(entry.path()))?;
        let target = target.and_then(|target| target.into_os_string().into_string().ok());
        // The lock may have been renamed.
        let Some(target) = target.filter(|target| target.contains("/run.lock")) else { continue };
        let file = unless_gone(proc, pid, &entry.path(), std::fs::metadata(entry.path()))?;
        return Ok(file.map(|file| HeldLock {
            path: target.trim_end_matches(DELETED).into(),
            identity: (file.dev(), file.ino()),
        }));
    }
    Ok(None)
}

/// The service of this state directory to which a lock belongs, by its path.
fn locked_service(lock: &Path, state_dir: &Path) -> Option<Name> {
    let directory = lock.parent()?;
    let parent = directory.parent()?;
    let is_same = |known: &Path| parent == known || known.canonicalize().is_ok_and(|known| parent == known);
    let is_ours = parent.file_name() == Some(&run_directory_name(state_dir))
        || is_same(&state_dir.join(SERVICES))
        || is_same(&state_dir.join(RUNS));
    Name::new(directory.file_name()?.to_str()?).ok().filter(|_| is_ours)
}

/// The service of this state directory that a shim was started for, according to the mark of its service.
fn marked_service(proc: &Path, shim: u32, state_dir: &Path) -> Result<Option<Name>, InspectError> {
    let directory = mark(proc, shim)?.map(|(directory, _)| PathBuf::from(directory));
    let directory = directory.filter(|directory| directory.parent() == Some(&state_dir.join(SERVICES)));
    Ok(directory.and_then(|directory| Name::new(directory.file_name()?.to_str()?).ok()))
}

/// The mark in the environment of the shim's processes: directory and number of the run.
fn mark(proc: &Path, shim: u32) -> Result<Option<(String, u64)>, InspectError> {
    for pid in procfs::children(shim) {
        let path = proc.join(format!("{pid}/environ"));
        let environment = match std::fs::read(&path) {
            // The mark of a program that has switched to another user is unreadable.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => None,
            read => unless_gone(proc, pid, &path, read)?,
        };
        let environment = environment.unwrap_or_default();
        let mut variables = environment.split(|byte| *byte == 0).filter_map(|line| str::from_utf8(line).ok());
        let mark = variables.find_map(|variable| variable.strip_prefix(RUN_ID_VARIABLE)?.strip_prefix('='));
        let mark = mark.and_then(|mark| mark.rsplit_once('#'));
        if let Some((directory, run)) = mark.and_then(|(directory, run)| Some((directory, run.parse().ok()?)))
        {
            return Ok(Some((directory.to_owned(), run)));
        }
    }
    Ok(None)
}

/// The record of a run, reconstructed from `/proc`.
fn record(paths: &Paths, name: &Name, shim: Process) -> RunRecord {
    let known = paths.files(name).read_record().ok().flatten().filter(|record| record.shim == shim);
    let leader = procfs::children(shim.pid).into_iter().find_map(Process::find);
    let at = clock::now().as_nanos();
    known.unwrap_or_else(|| RunRecord {
        version: PROTOCOL_VERSION,
        service: name.to_string(),
        run: mark(Path::new("/proc"), shim.pid).ok().flatten().map_or(1, |(_, run)| run),
        boot_id: paths.boot_id.clone(),
        shim,
        phase: leader.map_or(Phase::Launching { at }, |leader| Phase::Running { leader, at }),
        notified: false,
        notify_status: NotifyStatus::default(),
        dropped: 0,
        unreported: 0,
        leftover: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Creates a link to itself, which cannot be read.
    fn link(path: &Path) {
        std::os::unix::fs::symlink(path, path).unwrap();
    }

    #[test]
    fn a_process_that_cannot_be_inspected_may_be_a_lost_shim() {
        let directory = tempfile::tempdir().unwrap();
        let (proc, state_dir) = (directory.path().join("proc"), directory.path().join("state"));
        let why = || find(&proc, &state_dir).1.map(|error| error.to_string());
        assert!(why().is_some_and(|why| why.contains("No such file")), "there is no list of processes");
        std::fs::create_dir_all(proc.join("7")).unwrap();
        std::fs::create_dir(proc.join("self")).unwrap();
        assert_eq!(why(), None, "the process has just ended");
        let (comm, open) = (proc.join("7/comm"), proc.join("7/fd"));
        for (unreadable, others) in [(&comm, None), (&open, Some((&comm, "service-shim\n")))] {
            if let Some((path, text)) = others {
                std::fs::remove_file(path).unwrap();
                std::fs::write(path, text).unwrap();
            }
            link(unreadable);
            let why = why().unwrap();
            assert!(why.contains(unreadable.to_str().unwrap()), "{why}");
        }
        std::fs::write(&comm, "sh\n").unwrap();
        assert_eq!(why(), None, "no shim");
    }
}
