//! Shims that live although their files are gone: somebody has deleted the lock of a run, the directory of a service, or the whole
//! state directory. Whoever went by the files alone would start a second one beside what runs.
//!
//! The kernel knows better: a shim has its lock open, and `/proc` names the file also when it is deleted; and its service has the
//! mark of the run in its environment. A shim that is found so is asked ([`call_back`]) to make its files anew, and is taken over
//! as any other then. All processes are looked through only where something is missing: where nothing is remembered, or where
//! what should run has nobody who holds its lock.

use crate::host::clock;
use crate::host::environment::RUN_ID_VARIABLE;
use crate::host::paths::Paths;
use crate::host::procfs;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use service_core::Name;
use service_core::service::Memory;
use service_shim::{Files, NotifyStatus, PROTOCOL_VERSION, Phase, Process, RunRecord};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What shims are called.
const SHIM: &str = "service-shim";
/// What the kernel adds to the name of a file that is deleted.
const DELETED: &str = " (deleted)";
/// How long a shim may take to make its files anew.
const COMES_BACK_WITHIN: Duration = Duration::from_secs(1);

/// Finds those of this state directory, and has them make their files anew. Returns what is known of those that do not: they
/// are frozen, or of a former version.
pub(crate) async fn call_back(
    paths: &Paths,
    memories: &BTreeMap<Name, Memory>,
    is_managed: impl Fn(&Name) -> bool,
) -> BTreeMap<Name, RunRecord> {
    if !is_anything_missing(paths, memories, is_managed) {
        return BTreeMap::new();
    }
    let mut found = find(&paths.services());
    for (name, shim) in &found {
        tracing::warn!(service = %name, pid = shim.pid, "its shim lives and its files are gone; asking it to make them anew");
        if crate::host::fs::private_dir(paths.files(name).directory()).is_ok() {
            ask(*shim);
        }
    }
    let deadline = clock::now().plus(COMES_BACK_WITHIN);
    loop {
        found.retain(|name, shim| !is_back(&paths.files(name), *shim));
        if found.is_empty() || clock::now() >= deadline {
            break;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    found.into_iter().map(|(name, shim)| (name.clone(), record(paths, &name, shim))).collect()
}

/// Asks a shim to make its files anew.
pub(super) fn ask(shim: Process) {
    let _ = kill(Pid::from_raw(shim.pid.cast_signed()), Signal::SIGHUP);
}

/// Whether this is a shim that lives and holds the lock of these files, which was deleted.
pub(crate) fn keeps(shim: Process, files: &Files) -> bool {
    let services = files.directory().parent().unwrap_or(Path::new("/"));
    shim.is_alive()
        && is_shim(shim.pid)
        && lost_name(shim.pid, services).is_some_and(|name| files.directory().ends_with(&*name))
}

fn is_anything_missing(
    paths: &Paths,
    memories: &BTreeMap<Name, Memory>,
    is_managed: impl Fn(&Name) -> bool,
) -> bool {
    let is_kept = |name: &Name| {
        let files = paths.files(name);
        let is_over = files.read_record().is_ok_and(|record| record.is_some_and(|record| record.is_end()));
        let is_held = files.try_lock().map(|lock| lock.is_none());
        // One that cannot be looked at is not missing.
        is_over || is_held.unwrap_or_else(|error| error.kind() != io::ErrorKind::NotFound)
    };
    let mut up = memories.iter().filter(|(name, memory)| memory.state.is_alive() && !is_managed(name));
    !paths.state_dir.join("state.json").exists() || !up.all(|(name, _)| is_kept(name))
}

fn is_back(files: &Files, shim: Process) -> bool {
    let says = || files.read_record().is_ok_and(|record| record.is_some_and(|record| record.shim == shim));
    !shim.is_alive() || files.socket().exists() && says() && files.try_lock().is_ok_and(|lock| lock.is_none())
}

/// Every shim that lives and holds the lock of a service of this directory, which is not there any more.
fn find(services: &Path) -> BTreeMap<Name, Process> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let shims = pids.filter(|pid| is_shim(*pid));
    shims.filter_map(|pid| Some((lost_name(pid, services)?, Process::find(pid)?))).collect()
}

fn is_shim(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim_end() == SHIM)
}

/// The service of this directory that a shim keeps without files.
fn lost_name(shim: u32, services: &Path) -> Option<Name> {
    let resolved = services.canonicalize().unwrap_or_else(|_| services.to_path_buf());
    let lock = lock_of(shim)?;
    let directory = lost_directory(&lock).or_else(|| marked_directory(shim, services))?;
    let below = directory.parent().is_some_and(|parent| parent == resolved || parent == services);
    Name::new(directory.file_name()?.to_str()?).ok().filter(|_| below)
}

/// The file that a shim holds as its lock, as the kernel names it.
fn lock_of(pid: u32) -> Option<String> {
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten();
    let targets =
        open.filter_map(|entry| std::fs::read_link(entry.path()).ok()?.into_os_string().into_string().ok());
    let mut locks = targets.filter(|target| target.trim_end_matches(DELETED).ends_with("/run.lock"));
    locks.next()
}

/// The directory of a lock that is deleted.
fn lost_directory(lock: &str) -> Option<PathBuf> {
    Some(Path::new(lock.strip_suffix(DELETED)?).parent()?.to_path_buf())
}

/// The directory that the service of a shim was given, by its mark, where the lock is not there any more: it was moved away.
fn marked_directory(shim: u32, services: &Path) -> Option<PathBuf> {
    let directory = PathBuf::from(mark(shim)?.0);
    (directory.parent() == Some(services) && !directory.join("run.lock").exists()).then_some(directory)
}

/// What stands in the environment of what a shim keeps: directory and number of the run.
fn mark(shim: u32) -> Option<(String, u64)> {
    procfs::children(shim).into_iter().find_map(|pid| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
        let mut variables = environment.split(|byte| *byte == 0);
        let mark = variables.find_map(|variable| {
            std::str::from_utf8(variable).ok()?.strip_prefix(RUN_ID_VARIABLE)?.strip_prefix('=')
        })?;
        let (directory, run) = mark.rsplit_once('#')?;
        Some((directory.to_owned(), run.parse().ok()?))
    })
}

/// What can be told of a run from outside.
fn record(paths: &Paths, name: &Name, shim: Process) -> RunRecord {
    let known = paths.files(name).read_record().ok().flatten().filter(|record| record.shim == shim);
    let leader = procfs::children(shim.pid).into_iter().find_map(Process::find);
    let at = clock::now().as_nanos();
    known.unwrap_or_else(|| RunRecord {
        version: PROTOCOL_VERSION,
        service: name.to_string(),
        run: mark(shim.pid).map_or(1, |(_, run)| run),
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
