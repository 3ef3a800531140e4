//! Memory and CPU of process trees, read from `/proc` on request, at most once every half second.

use crate::clock;
use nix::sys::resource::{Resource, getrlimit};
use service_core::Moment;
use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

/// The maximum age of a reused sample.
const SAMPLE_MAX_AGE: Duration = Duration::from_millis(500);
/// The maximum age of the sample that the next one is compared with.
const SAMPLE_RETENTION: Duration = Duration::from_mins(5);

/// The usage of a process tree.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Usage {
    /// Resident bytes.
    pub memory: u64,
    /// Share of one core since the previous sample, in percent.
    pub cpu: Option<f64>,
    ticks: u64,
}

/// The process at the top of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProcessTree {
    /// A shim, which is not counted.
    Shim(u32),
    /// The service's own process, which is counted.
    Own(u32),
}

/// The last sample of each tree.
#[derive(Debug, Default)]
pub struct CpuMeter {
    trees: BTreeMap<ProcessTree, (Moment, Usage)>,
}

impl CpuMeter {
    /// Returns the usage of each of these trees.
    pub fn read(&mut self, roots: &[ProcessTree]) -> BTreeMap<ProcessTree, Usage> {
        let now = clock::now();
        self.trees.retain(|_, (taken, _)| now.since(*taken) < SAMPLE_RETENTION);
        for root in roots {
            let last = self.trees.get(root).copied();
            if last.is_none_or(|(taken, _)| now.since(taken) >= SAMPLE_MAX_AGE) {
                self.trees.insert(*root, (now, tree(*root, last, now)));
            }
        }
        roots.iter().filter_map(|root| Some((*root, self.trees.get(root)?.1))).collect()
    }
}

/// Samples one tree.
fn tree(root: ProcessTree, last: Option<(Moment, Usage)>, now: Moment) -> Usage {
    let mut usage = Usage::default();
    let processes = match root {
        ProcessTree::Shim(pid) => descendants(pid),
        ProcessTree::Own(pid) => std::iter::once(pid).chain(descendants(pid)).collect(),
    };
    for (ticks, pages) in processes.into_iter().filter_map(stat) {
        usage.ticks += ticks;
        usage.memory += pages * page_size();
    }
    usage.cpu = last.map(|(taken, before)| {
        let seconds = usage.ticks.saturating_sub(before.ticks) as f64 / ticks_per_second();
        100.0 * seconds / now.since(taken).as_secs_f64().max(f64::EPSILON)
    });
    usage
}

/// The number of this process's open descriptors, without the one used for counting.
pub fn count_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, |open| open.count().saturating_sub(1))
}

/// The limit of this process's open descriptors.
pub fn max_descriptors() -> u64 {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(soft, _)| soft)
}

/// The usage of this process.
#[derive(Debug, Clone, Copy, Default)]
pub struct SelfUsage {
    /// Resident bytes.
    pub memory: u64,
    /// User and system time since its start.
    pub cpu_seconds: f64,
}

/// Reads the usage of this process.
pub fn read_self_usage() -> SelfUsage {
    let (ticks, pages) = stat(std::process::id()).unwrap_or_default();
    SelfUsage { memory: pages * page_size(), cpu_seconds: ticks as f64 / ticks_per_second() }
}

/// Whether a signal has stopped a process: field 3 of `/proc/<pid>/stat`.
pub fn is_frozen(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, fields)| fields.starts_with('T'))
}

/// Whether a process has ended. Its parent may not have read the exit status yet.
pub fn has_ended(pid: u32) -> bool {
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat.rsplit_once(") ").is_some_and(|(_, fields)| fields.starts_with(['Z', 'X'])),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

/// The CPU ticks that a process has used; `None` unless the process sleeps.
pub fn ticks_asleep(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(") ")?;
    fields.starts_with('S').then(|| stat(pid).map(|(ticks, _)| ticks)).flatten()
}

/// The name of a process. It may contain anything.
pub fn process_name(pid: u32) -> Option<String> {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(name.trim_end().to_owned())
}

/// A process in a message: its pid and its name.
pub fn describe(pid: u32) -> String {
    format!("pid {pid} ({})", process_name(pid).unwrap_or_default())
}

/// The parent of a process: field 4 of `/proc/<pid>/stat`.
pub fn parent(pid: u32) -> Option<u32> {
    stat_field(pid, 4)?.try_into().ok()
}

/// The session of a process: field 6 of `/proc/<pid>/stat`.
pub fn session(pid: u32) -> Option<u32> {
    stat_field(pid, 6)?.try_into().ok()
}

/// A number in `/proc/<pid>/stat`, counted from 1. The second field is the name, which may contain anything.
fn stat_field(pid: u32, field: usize) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(field - 3)?.parse().ok()
}

/// The pids of all processes.
///
/// # Errors
/// `/proc` cannot be read.
pub fn pids() -> io::Result<Vec<u32>> {
    let processes = std::fs::read_dir("/proc")?.collect::<io::Result<Vec<_>>>()?;
    Ok(processes.iter().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
}

/// Whether a process was started with this variable, as `NAME=value`.
///
/// # Errors
/// The process has ended, or belongs to another user; or descriptors are short.
pub fn has_variable(pid: u32, variable: &[u8]) -> io::Result<bool> {
    let environment = std::fs::read(format!("/proc/{pid}/environ"))?;
    Ok(environment.split(|byte| *byte == 0).any(|entry| entry == variable))
}

/// Every process below this one.
pub fn descendants(pid: u32) -> Vec<u32> {
    let mut found = children(pid);
    let mut next = 0;
    while let Some(pid) = found.get(next).copied() {
        found.extend(children(pid));
        next += 1;
    }
    found
}

/// The children of every thread, see `proc_pid_task_children(5)`; none without kernel support.
pub fn children(pid: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}

/// CPU ticks (user and system) and resident pages: fields 14, 15 and 24 of `/proc/<pid>/stat`.
fn stat(pid: u32) -> Option<(u64, u64)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    Some((number(14)? + number(15)?, number(24)?))
}

fn page_size() -> u64 {
    sysconf(nix::unistd::SysconfVar::PAGE_SIZE, 4096)
}

fn ticks_per_second() -> f64 {
    sysconf(nix::unistd::SysconfVar::CLK_TCK, 100) as f64
}

fn sysconf(variable: nix::unistd::SysconfVar, usual: u64) -> u64 {
    nix::unistd::sysconf(variable).ok().flatten().and_then(|value| u64::try_from(value).ok()).unwrap_or(usual)
}
