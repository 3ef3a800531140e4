//! The cost of processes, read from `/proc`.

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// The usage of one system's processes so far.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Use {
    /// Proportional set size in bytes: a shared page counts in part.
    pub(crate) memory: u64,
    /// CPU time.
    pub(crate) cpu: Duration,
    /// The number of wakeups.
    pub(crate) wakes: u64,
}

impl Use {
    /// Measures these processes together.
    pub(crate) fn measure(pids: &BTreeSet<u32>) -> Self {
        pids.iter().fold(Self::default(), |sum, pid| Self {
            memory: sum.memory + memory(*pid),
            cpu: sum.cpu + cpu(*pid),
            wakes: sum.wakes + wakes(*pid),
        })
    }
}

fn memory(pid: u32) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap_or("0 kB");
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) * 1024
}

/// The CPU time that a process has used.
pub(crate) fn cpu(pid: u32) -> Duration {
    // `schedstat` has the time of each thread in nanoseconds.
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let used = |task: fs::DirEntry| {
        let stat = fs::read_to_string(task.path().join("schedstat")).ok()?;
        stat.split(' ').next()?.parse::<u64>().ok()
    };
    Duration::from_nanos(tasks.filter_map(used).sum())
}

fn wakes(pid: u32) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let switches = |task: fs::DirEntry| {
        let status = fs::read_to_string(task.path().join("status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
        line.trim().parse::<u64>().ok()
    };
    tasks.filter_map(switches).sum()
}

/// All processes of the machine.
pub(crate) fn all() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The processes of one system: those started in its directory, without the services.
pub(crate) fn pids_in(directory: &std::path::Path) -> BTreeSet<u32> {
    service_tests::marked(directory)
        .into_iter()
        .filter(|pid| service_tests::name(*pid) != "payload")
        .collect()
}

/// Watches for the end of processes, with a pidfd for each.
pub(crate) struct Watch(BTreeMap<u32, OwnedFd>);

impl Watch {
    pub(crate) fn on(pids: &BTreeSet<u32>) -> Self {
        Self(pids.iter().filter_map(|pid| Some((*pid, open(*pid)?))).collect())
    }

    /// Waits until all processes have ended.
    pub(crate) fn all_gone(self) {
        for (pid, fd) in self.0 {
            let ended =
                poll(&mut [PollFd::new(fd.as_fd(), PollFlags::POLLIN)], PollTimeout::from(60_000_u16));
            assert!(matches!(ended, Ok(1) | Err(Errno::EINTR)), "process {pid} does not end");
        }
    }
}

/// A pidfd, which is readable once the process has ended; `None` if it has already ended.
pub(crate) fn open(pid: u32) -> Option<OwnedFd> {
    let pid = Pid::from_raw(i32::try_from(pid).ok()?)?;
    pidfd_open(pid, PidfdFlags::empty()).ok()
}
