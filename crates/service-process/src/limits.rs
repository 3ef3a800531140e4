//! Decides how the limits of a run are enforced: by a cgroup, by an rlimit or not at all.
//!
//! The decision is made at each launch and saved beside the record of the run. A later daemon can therefore explain why
//! a run was killed, and finds the cgroup to remove.

use super::cgroup::{Cgroup, CgroupError, Hierarchy, RunsParent};
use serde::{Deserialize, Serialize};
use service_core::Name;
use service_core::config::Limits;
use service_core::service::Exit;
use service_host::fs::write_private;
use service_host::paths::Paths;
use service_shim::protocol;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

/// The delay between attempts to remove a cgroup whose last process is being killed.
const RETRY_DELAY: Duration = Duration::from_millis(5);
/// The maximum number of attempts. Processes that remain then cannot be killed.
const MAX_TRIES: u32 = 400;

/// The saved limits of one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AppliedLimits {
    run: u64,
    cgroup: Option<PathBuf>,
    /// The limit of memory, in bytes.
    pub memory: Option<Limit<u64>>,
    /// The limit of CPU time, in cores.
    pub cpu: Option<Limit<f64>>,
    /// The error of reading the saved limits. With an error, only the cgroup is known.
    #[serde(skip)]
    unread: Option<String>,
}

/// One limit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Limit<T> {
    /// The limit, in the unit of its kind.
    pub most: T,
    by: Enforcement,
    /// Why no cgroup enforces the limit.
    why: Option<String>,
}

/// The mechanism of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Enforcement {
    Cgroup,
    Rlimit,
    None,
}

impl Enforcement {
    fn as_str(self) -> &'static str {
        match self {
            Self::Cgroup => "cgroup",
            Self::Rlimit => "rlimit",
            Self::None => "none",
        }
    }
}

impl AppliedLimits {
    /// Reads the limits of this run.
    pub fn read(paths: &Paths, name: &Name, run: u64) -> Option<Self> {
        match read_note(paths, name) {
            Ok(kept) => kept.filter(|kept| kept.run == run),
            Err(error) => Some(Self::unreadable(paths, name, run, &error)),
        }
    }

    fn unreadable(paths: &Paths, name: &Name, run: u64, error: &std::io::Error) -> Self {
        let note = note(paths, name);
        let why =
            format!("the enforcement of its limits is unknown: cannot read `{}`: {error}", note.display());
        let cgroup = cgroups(paths, name).into_iter().find_map(|(of, cgroup)| (of == run).then_some(cgroup));
        Self { run, cgroup, memory: None, cpu: None, unread: Some(why) }
    }

    /// Whether the saved limits could be read.
    pub fn is_read(&self) -> bool {
        self.unread.is_none()
    }

    /// The mechanism: `cgroup`, `rlimit` or `none`; one for each limit if they differ; `unknown` if the saved limits
    /// cannot be read.
    pub fn describe(&self) -> String {
        if !self.is_read() {
            return "unknown".to_owned();
        }
        match (self.memory.as_ref().map(|limit| limit.by), self.cpu.as_ref().map(|limit| limit.by)) {
            (Some(memory), Some(cpu)) if memory != cpu => {
                format!("memory: {}, cpu: {}", memory.as_str(), cpu.as_str())
            }
            (Some(by), _) | (None, Some(by)) => by.as_str().to_owned(),
            (None, None) => Enforcement::None.as_str().to_owned(),
        }
    }

    /// The limit of each process's address space, if that enforces the memory limit.
    pub fn address_space(&self) -> Option<u64> {
        self.memory.as_ref().filter(|limit| limit.by == Enforcement::Rlimit).map(|limit| limit.most)
    }

    /// A warning about limits that are weaker than requested.
    pub fn caveat(&self) -> Option<String> {
        if self.unread.is_some() {
            return self.unread.clone();
        }
        let why = |why: &Option<String>| why.clone().unwrap_or_default();
        let memory = self.memory.as_ref().and_then(|limit| match limit.by {
            Enforcement::Cgroup => None,
            Enforcement::Rlimit => {
                Some(format!("memory_limit applies to each process separately: {}", why(&limit.why)))
            }
            Enforcement::None => Some(format!("memory_limit is not enforced: {}", why(&limit.why))),
        });
        let cpu = self.cpu.as_ref().filter(|limit| limit.by != Enforcement::Cgroup);
        let cpu = cpu.map(|limit| format!("cpu_limit is not enforced: {}", why(&limit.why)));
        match (memory, cpu) {
            (Some(memory), Some(cpu)) => Some(format!("{memory}; {cpu}")),
            (memory, cpu) => memory.or(cpu),
        }
    }
}

/// Decides how the limits of a run are enforced, and prepares the cgroup. A limit that cannot be enforced does not
/// prevent the start; a warning names it.
pub(super) fn prepare(paths: &Paths, name: &Name, limits: &Limits, run: u64) -> protocol::RunLimits {
    for old in last(paths, name).into_iter().filter_map(|kept| kept.cgroup).map(Cgroup) {
        if let Err(error) = old.remove() {
            tracing::warn!(service = %name, cgroup = %old.0.display(), %error, "cannot remove the cgroup of its last run");
        }
    }
    if limits.is_none() {
        let _ = std::fs::remove_file(note(paths, name));
        return protocol::RunLimits::default();
    }
    let cgroup = format!("{}{run}", prefix(paths, name));
    let mut kept = plan(RunsParent::find(&Hierarchy::own()), limits, &cgroup, run);
    let wanted = kept.cgroup.clone();
    // The limits are saved before the cgroup exists, so that a later daemon finds the cgroup.
    let made = write_down(paths, name, &kept)
        .map_err(|error| CgroupError::Write { file: note(paths, name), error })
        .and_then(|()| wanted.map_or(Ok(()), |cgroup| make(&Cgroup(cgroup), &kept)));
    if let Err(why) = made {
        kept.drop_cgroup(&why.to_string());
        if let Err(error) = write_down(paths, name, &kept) {
            tracing::warn!(service = %name, %error, "cannot save how its limits are enforced");
        }
    }
    if let Some(caveat) = kept.caveat() {
        tracing::warn!(service = %name, run, "{caveat}");
    }
    kept.launch()
}

/// The possible mechanisms: the cgroup for each limit whose controller is available.
fn plan(parent: Result<RunsParent, CgroupError>, limits: &Limits, name: &str, run: u64) -> AppliedLimits {
    // The reason is shown, and written beside the record of the run.
    let by_cgroup = |controller| match &parent {
        Ok(parent) => parent.enable(controller).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    let memory = limits.memory.map(|most| match by_cgroup("memory") {
        Ok(()) => Limit { most, by: Enforcement::Cgroup, why: None },
        Err(why) => Limit { most, by: Enforcement::Rlimit, why: Some(why) },
    });
    // No rlimit fits: RLIMIT_CPU limits the total CPU time of a process, not its rate.
    let cpu = limits.cpu.map(|most| match by_cgroup("cpu") {
        Ok(()) => Limit { most, by: Enforcement::Cgroup, why: None },
        Err(why) => Limit { most, by: Enforcement::None, why: Some(why) },
    });
    let needed = [memory.as_ref().map(|limit| limit.by), cpu.as_ref().map(|limit| limit.by)];
    let parent = parent.ok().filter(|_| needed.contains(&Some(Enforcement::Cgroup)));
    AppliedLimits { run, cgroup: parent.map(|parent| parent.run_directory(name)), memory, cpu, unread: None }
}

fn make(cgroup: &Cgroup, kept: &AppliedLimits) -> Result<(), CgroupError> {
    let limits = || {
        cgroup.make()?;
        if let Some(limit) = kept.memory.as_ref().filter(|limit| limit.by == Enforcement::Cgroup) {
            cgroup.limit_memory(limit.most)?;
        }
        match kept.cpu.as_ref().filter(|limit| limit.by == Enforcement::Cgroup) {
            Some(limit) => cgroup.limit_cpu(limit.most),
            None => Ok(()),
        }
    };
    limits().map_err(|error: std::io::Error| {
        let _ = cgroup.remove();
        CgroupError::Create { directory: cgroup.0.clone(), error }
    })
}

impl AppliedLimits {
    /// Enforces the limits without a cgroup.
    fn drop_cgroup(&mut self, why: &str) {
        self.cgroup = None;
        if let Some(limit) = self.memory.as_mut().filter(|limit| limit.by == Enforcement::Cgroup) {
            (limit.by, limit.why) = (Enforcement::Rlimit, Some(why.to_owned()));
        }
        if let Some(limit) = self.cpu.as_mut().filter(|limit| limit.by == Enforcement::Cgroup) {
            (limit.by, limit.why) = (Enforcement::None, Some(why.to_owned()));
        }
    }

    /// The limits that the shim applies.
    fn launch(&self) -> protocol::RunLimits {
        let by_rlimit = self.memory.as_ref().filter(|limit| limit.by == Enforcement::Rlimit);
        protocol::RunLimits { cgroup: self.cgroup.clone(), address_space: by_rlimit.map(|limit| limit.most) }
    }
}

/// The exit status of a process, as the core represents it. The cgroup must still exist.
pub fn exit(paths: &Paths, name: &Name, run: u64, exit: service_shim::Exit) -> Exit {
    let signal = match exit {
        service_shim::Exit::Code(code) => return Exit::Code(code),
        service_shim::Exit::Signal(signal) => signal,
    };
    let kept = || AppliedLimits::read(paths, name, run);
    match kept().filter(|_| signal == nix::libc::SIGKILL) {
        Some(AppliedLimits { cgroup: Some(cgroup), memory: Some(limit), .. })
            if Cgroup(cgroup.clone()).was_out_of_memory() =>
        {
            Exit::OutOfMemory(limit.most)
        }
        _ => Exit::Signal(signal),
    }
}

/// Kills the remaining processes in the cgroup of a run whose shim has ended.
pub(super) fn kill(paths: &Paths, name: &Name, run: u64) {
    if let Some(cgroup) = AppliedLimits::read(paths, name, run).and_then(|kept| kept.cgroup) {
        Cgroup(cgroup).kill();
    }
}

/// Removes the cgroup of an ended run.
pub(super) async fn cleanup(paths: &Paths, name: &Name, run: u64) {
    if let Some(kept) = AppliedLimits::read(paths, name, run) {
        clear(paths, name, &kept).await;
    }
}

/// Removes the cgroup that a former daemon left for an inactive service, with its processes.
pub async fn remove_leftover_cgroup(paths: &Paths, name: &Name) {
    for kept in last(paths, name) {
        kill(paths, name, kept.run);
        clear(paths, name, &kept).await;
    }
}

async fn clear(paths: &Paths, name: &Name, kept: &AppliedLimits) {
    if let Some(cgroup) = kept.cgroup.clone().map(Cgroup) {
        let mut tries = 0;
        while let Err(error) = cgroup.remove() {
            tries += 1;
            if tries == MAX_TRIES {
                tracing::error!(service = %name, cgroup = %cgroup.0.display(), %error, "cannot remove its cgroup");
                return;
            }
            tokio::time::sleep(RETRY_DELAY).await;
        }
    }
    // The saved limits are kept, because a later `service why` may name the address space limit as the cause.
    if kept.address_space().is_some() {
        return;
    }
    // If the next run has begun meanwhile, the file describes that run.
    if matches!(read_note(paths, name), Ok(Some(now)) if now == *kept) {
        let _ = std::fs::remove_file(note(paths, name));
    }
}

fn note(paths: &Paths, name: &Name) -> PathBuf {
    paths.files(name).run_directory().join("limits.json")
}

/// The saved limits of the last run.
///
/// # Errors
/// The file cannot be read.
fn read_note(paths: &Paths, name: &Name) -> std::io::Result<Option<AppliedLimits>> {
    match std::fs::read(note(paths, name)) {
        Ok(json) => Ok(Some(serde_json::from_slice(&json)?)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The saved limits of the last run. If the file cannot be read, one entry for each existing cgroup.
fn last(paths: &Paths, name: &Name) -> Vec<AppliedLimits> {
    read_note(paths, name).map_or_else(
        |error| {
            let runs = cgroups(paths, name).into_iter();
            runs.map(|(run, _)| AppliedLimits::unreadable(paths, name, run, &error)).collect()
        },
        Vec::from_iter,
    )
}

/// The prefix of the names of a service's cgroups, before the number of the run.
fn prefix(paths: &Paths, name: &Name) -> String {
    format!("run.{}.{name}.", paths.fingerprint())
}

/// The existing cgroups of this service, with the numbers of their runs.
fn cgroups(paths: &Paths, name: &Name) -> Vec<(u64, PathBuf)> {
    let Ok(parent) = RunsParent::find(&Hierarchy::own()) else { return Vec::new() };
    let entries = std::fs::read_dir(parent.run_directory("")).into_iter().flatten().flatten();
    let prefix = prefix(paths, name);
    let run = |entry: &std::fs::DirEntry| entry.file_name().to_str()?.strip_prefix(&*prefix)?.parse().ok();
    entries.filter_map(|entry| Some((run(&entry)?, entry.path()))).collect()
}

fn write_down(paths: &Paths, name: &Name, kept: &AppliedLimits) -> std::io::Result<()> {
    write_private(&note(paths, name), &serde_json::to_vec(kept)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_that_cannot_be_read_are_not_told_as_none() {
        let directory = tempfile::tempdir().unwrap();
        let paths = Paths::new(directory.path());
        let name = Name::new("web").unwrap();
        assert_eq!(AppliedLimits::read(&paths, &name, 3), None, "nothing was saved");
        let note = note(&paths, &name);
        std::fs::create_dir_all(note.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(&note, &note).unwrap();
        let unread = || AppliedLimits::read(&paths, &name, 3).unwrap();
        assert_eq!(unread().describe(), "unknown");
        assert!(unread().caveat().is_some_and(|why| why.contains(note.to_str().unwrap())), "{:?}", unread());
        std::fs::remove_file(&note).unwrap();
        std::fs::write(&note, "").unwrap();
        assert_eq!(unread().describe(), "unknown", "the file is damaged");
        let kept = AppliedLimits { run: 3, cgroup: None, memory: None, cpu: None, unread: None };
        write_down(&paths, &name, &kept).unwrap();
        assert_eq!(AppliedLimits::read(&paths, &name, 3), Some(kept));
        assert_eq!(AppliedLimits::read(&paths, &name, 4), None, "the file describes another run");
    }
}
