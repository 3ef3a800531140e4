//! The processes of the service: all that descend from this one. Signals for them, and their ends.
//!
//! The subreaper's promise makes this complete: a process whose parent ends becomes our child, wherever it came from.

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use service_shim::Exit;
use service_shim::protocol::Left;
use std::collections::HashSet;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

/// Processes can fork while we walk. The walk is repeated until it finds nobody new, or this often.
const ROUNDS: usize = 64;

/// So many of what is left are named.
const MOST_NAMED: usize = 3;
/// How long a process may take from its fork to its program.
const NAMED_WITHIN: Duration = Duration::from_millis(100);
/// `PF_FORKNOEXEC` of the kernel: it has not executed anything yet.
const FORKED: u32 = 0x40;

/// As the kernel lists them (`CONFIG_PROC_CHILDREN`).
const OURS: &str = "/proc/thread-self/children";

/// What there was to wait for.
pub(crate) enum Reaped {
    /// This process, and how it ended.
    Ended(u32, Exit),
    /// None that has ended.
    NoneYet,
    /// The tree is empty.
    NoneLeft,
}

/// Waits for one process of the tree that has ended already.
#[expect(unsafe_code, reason = "nix has no words for a death by a real-time signal and would lose it")]
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

/// Sends the signal to our own children, and says which they were. Most services have no other process.
pub(crate) fn signal_children(signal: Signal) -> HashSet<u32> {
    let children = children();
    for child in &children {
        send(*child, signal);
    }
    children.into_iter().collect()
}

/// Sends the signal once to each process of the tree but these.
pub(crate) fn signal_all(signal: Signal, mut signalled: HashSet<u32>) {
    for _ in 0..ROUNDS {
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

/// A process that has ended meanwhile, or that has become another user's, is not an error: it is found again or not.
pub(crate) fn send(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid.cast_signed());
    let _ = kill(pid, signal);
    if matches!(signal, Signal::SIGTERM | Signal::SIGINT | Signal::SIGHUP | Signal::SIGQUIT) {
        // One that is stopped acts on a request to end only when it goes on.
        let _ = kill(pid, Signal::SIGCONT);
    }
}

/// What is there of the tree, with the names of the first few; nothing, if there is nothing that still runs.
pub(crate) fn left() -> Option<Left> {
    let name = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/comm")).ok();
    // What was forked just before this has the name of its own program a moment later.
    let deadline = Instant::now() + NAMED_WITHIN;
    let mut pids = running();
    while pids.iter().any(|(_, executed)| !executed) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
        pids = running();
    }
    let names = pids.iter().filter_map(|(pid, _)| name(pid)).take(MOST_NAMED);
    let names = names.map(|name| name.trim_end().chars().filter(|c| !c.is_control()).collect()).collect();
    (!pids.is_empty()).then(|| Left { count: pids.len().try_into().unwrap_or(u32::MAX), names })
}

/// The processes of the tree that have not ended, each with whether it has executed a program since it was forked.
fn running() -> Vec<(u32, bool)> {
    let state = |pid: u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let mut fields = stat.rsplit_once(") ")?.1.split(' ');
        let runs = !matches!(fields.next()?, "Z" | "X");
        let flags: u32 = fields.nth(5)?.parse().ok()?;
        runs.then_some((pid, flags & FORKED == 0))
    };
    descendants(std::process::id()).into_iter().filter_map(state).collect()
}

/// The children of this process, which has one thread.
pub(crate) fn children() -> Vec<u32> {
    if let Ok(list) = fs::read_to_string(OURS) {
        return pids(&list).collect();
    }
    let me = std::process::id();
    parents().into_iter().filter(|(_, parent)| *parent == me).map(|(child, _)| child).collect()
}

fn descendants(root: u32) -> Vec<u32> {
    if Path::new(OURS).exists() {
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

/// Every process with its parent, for kernels without those lists.
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
    fn both_ways_of_looking_find_the_same_family() {
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
