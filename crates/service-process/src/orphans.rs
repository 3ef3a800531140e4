//! Kills the remaining processes of a dead shim. The kernel kills the service's own process with its shim. The
//! descendants are found by their session, or by the mark in the environment of every process of a run.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use service_core::Name;
use service_host::descriptors::is_short;
use service_host::environment::RUN_ID_VARIABLE;
use service_host::paths::Paths;
use service_host::procfs;
use service_shim::Process;
use std::io;
use std::time::Duration;

/// The delay between searches for killed processes that still exist.
const RETRY_DELAY: Duration = Duration::from_millis(5);
/// The maximum number of searches. Processes that remain then cannot be killed, for example another user's.
const MAX_SEARCHES: u32 = 400;

/// The value of [`RUN_ID_VARIABLE`], unique across runs and projects.
pub(super) fn mark(paths: &Paths, name: &Name, run: u64) -> String {
    format!("{}#{run}", paths.files(name).directory().display())
}

/// Removes the socket of a dead shim and kills the processes of its run, until none remains or the rest cannot be
/// killed. The shim must be dead.
pub async fn end(paths: &Paths, name: &Name, run: u64, leader: Option<Process>) {
    // A dead shim has no listener.
    let _ = std::fs::remove_file(paths.files(name).socket());
    let mark = format!("{RUN_ID_VARIABLE}={}", mark(paths, name, run));
    for _ in 0..MAX_SEARCHES {
        match run_processes(leader, mark.as_bytes()) {
            Ok(left) if left.is_empty() => return,
            Ok(left) => {
                tracing::warn!(service = %name, run, ?left, "the shim died; killing its processes");
                for pid in left {
                    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
                }
            }
            // A process that cannot be inspected may remain.
            Err(error) => {
                tracing::warn!(service = %name, run, %error, "the shim died; cannot find its processes");
            }
        }
        tokio::time::sleep(RETRY_DELAY).await;
    }
    tracing::error!(service = %name, run, "cannot kill every process of the dead shim");
}

fn run_processes(leader: Option<Process>, mark: &[u8]) -> io::Result<Vec<i32>> {
    let mut kin = Vec::new();
    for pid in procfs::pids()? {
        if is_run_process(pid, leader, mark)? {
            kin.extend(i32::try_from(pid));
        }
    }
    Ok(kin)
}

/// Whether a process belongs to the run. The kernel reuses a session id only after the whole session has ended. A
/// process whose session id is the leader's pid therefore belongs to the run, unless that process is a newer session
/// leader.
fn is_run_process(pid: u32, leader: Option<Process>, mark: &[u8]) -> io::Result<bool> {
    let is_marked = match procfs::has_variable(pid, mark) {
        Err(error) if is_short(&error) => return Err(error),
        // The process has ended, or belongs to another user.
        found => found.unwrap_or(false),
    };
    let Some(process) = Process::try_find(pid)? else { return Ok(false) };
    let in_session = leader.is_some_and(|leader| {
        let taken = Process::find(leader.pid).is_some_and(|now| now != leader);
        !taken && procfs::session(pid) == Some(leader.pid) && process.start_time >= leader.start_time
    });
    Ok(in_session || is_marked)
}
