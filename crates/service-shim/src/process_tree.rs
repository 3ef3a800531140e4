//! Lists, signals and reaps the process tree of the service: the descendants of this process.
//!
//! The tree is complete because this process is a subreaper: an orphaned descendant becomes its child.

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use service_shim::Exit;
use service_shim::process::parse_stat;
use service_shim::protocol::LeftoverProcesses;
use std::collections::HashSet;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

/// The maximum number of walks. Processes can fork during a walk, so walks are repeated until one finds no new process.
const MAX_WALKS: usize = 64;

/// The maximum number of leftover processes that are named.
const MAX_NAMED: usize = 3;
/// The time limit for a forked process to call `exec`.
const EXEC_TIMEOUT: Duration = Duration::from_millis(100);
/// A flag of the kernel: the process has not executed a program since its fork.
const PF_FORKNOEXEC: u32 = 0x40;

/// The kernel's list of children (`CONFIG_PROC_CHILDREN`).
const OWN_CHILDREN: &str = "/proc/thread-self/children";

/// The result of one `waitpid`.
pub(crate) enum Reaped {
    /// This process exited, with this status.
    Ended(u32, Exit),
    /// No child has exited.
    NoneYet,
    /// The tree is empty.
    NoneLeft,
}

/// Reaps one child that has exited.
#[expect(unsafe_code, reason = "nix cannot express a death by a real-time signal")]
pub(crate) fn reap() -> Reaped {
    let mut status = 0;
    // SAFETY: `status` is valid to write to for the whole call.
    let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
    if pid <= 0 {
        return if pid < 0 && Errno::last() == Errno::ECHILD { Reaped::NoneLeft } else { Reaped::NoneYet };
    }
    let status = ExitStatus::from_raw(status);
    let exit = status.signal().map_or_else(|| Exit::Code(status.code().unwrap_or_default()), Exit::Signal);
    Reaped::Ended(pid.cast_unsigned(), exit)
}

/// Signals the children of this process and returns them. Most services have no other process.
pub(crate) fn signal_children(signal: Signal) -> HashSet<u32> {
    let children = children();
    for child in &children {
        send(*child, signal);
    }
    children.into_iter().collect()
}

/// Sends the signal once to each process of the tree except `signalled`.
pub(crate) fn signal_all(signal: Signal, mut signalled: HashSet<u32>) {
    for _ in 0..MAX_WALKS {
        let before = signalled.len();
        for pid in descendants(std::process::id()) {
            if signalled.insert(pid) {
                send(pid, signal);
            }
        }
        if signalled.len() == before {
            break;
        }
    }
}

/// Signals one process. It is not an error if the process has exited or belongs to another user now.
pub(crate) fn send(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid.cast_signed());
    let _ = kill(pid, signal);
    if matches!(signal, Signal::SIGTERM | Signal::SIGINT | Signal::SIGHUP | Signal::SIGQUIT) {
        // A stopped process handles a termination signal only when it continues.
        let _ = kill(pid, Signal::SIGCONT);
    }
}

/// The running processes of the tree, with the names of the first few; `None` if none runs.
pub(crate) fn leftover() -> Option<LeftoverProcesses> {
    let name = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/comm")).ok();
    // A process that was just forked has its parent's name until it calls `exec`.
    let deadline = Instant::now() + EXEC_TIMEOUT;
    let mut pids = running();
    while pids.iter().any(|(_, executed)| !executed) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
        pids = running();
    }
    let names = pids.iter().filter_map(|(pid, _)| name(pid)).take(MAX_NAMED);
    let names = names.map(|name| name.trim_end().chars().filter(|c| !c.is_control()).collect()).collect();
    (!pids.is_empty()).then(|| LeftoverProcesses { count: pids.len().try_into().unwrap_or(u32::MAX), names })
}

/// The running processes of the tree, each with whether it has executed a program since its fork.
fn running() -> Vec<(u32, bool)> {
    let state = |pid: u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let flags: u32 = stat.rsplit_once(") ")?.1.split(' ').nth(6)?.parse().ok()?;
        (!parse_stat(&stat)?.has_exited).then_some((pid, flags & PF_FORKNOEXEC == 0))
    };
    descendants(std::process::id()).into_iter().filter_map(state).collect()
}

/// The children of this process, which has one thread.
pub(crate) fn children() -> Vec<u32> {
    if let Ok(list) = fs::read_to_string(OWN_CHILDREN) {
        return pids(&list).collect();
    }
    let own_pid = std::process::id();
    parents().into_iter().filter(|(_, parent)| *parent == own_pid).map(|(child, _)| child).collect()
}

fn descendants(root: u32) -> Vec<u32> {
    if Path::new(OWN_CHILDREN).exists() {
        walk(root, listed_children)
    } else {
        let parents = parents();
        walk(root, |pid| {
            parents.iter().filter(|(_, parent)| *parent == pid).map(|(child, _)| *child).collect()
        })
    }
}

fn walk(root: u32, children: impl Fn(u32) -> Vec<u32>) -> Vec<u32> {
    let mut found = children(root);
    let mut next = 0;
    while next < found.len() {
        let of_this = children(found[next]);
        found.extend(of_this);
        next += 1;
    }
    found
}

/// The children of all threads of a process, as the kernel lists them.
fn listed_children(pid: u32) -> Vec<u32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let lists =
        threads.flatten().filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists.flat_map(|list| pids(&list).collect::<Vec<_>>()).collect()
}

fn pids(list: &str) -> impl Iterator<Item = u32> {
    list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok())
}

/// Every process with its parent, for kernels without lists of children.
fn parents() -> Vec<(u32, u32)> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid: u32| Some((pid, parent(pid)?))).collect()
}

fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::process::{Command, Stdio};

    #[test]
    fn both_ways_of_listing_children_agree() {
        let mut shell =
            Command::new("sh").args(["-c", "sleep 60 & echo; wait"]).stdout(Stdio::piped()).spawn().unwrap();
        shell.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        let parents = parents();
        let scanned = walk(shell.id(), |pid| parents.iter().filter(|p| p.1 == pid).map(|p| p.0).collect());
        assert_eq!(scanned.len(), 1);
        assert_eq!(walk(shell.id(), listed_children), scanned);
        send(scanned[0], Signal::SIGKILL);
        shell.wait().unwrap();
    }
}
