//! [`Process`]: identifies a process. The kernel reuses pids, but not a pid together with its start time.

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use std::io;

/// A process, identified by its pid and its start time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Process {
    /// Process id.
    pub pid: u32,
    /// Clock ticks after boot (field 22 of `/proc/<pid>/stat`, see `proc_pid_stat(5)`).
    pub start_time: u64,
}

impl Process {
    /// The process that has this pid now; `None` if there is none or if it has exited.
    pub fn find(pid: u32) -> Option<Self> {
        Self::parse(pid, &std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// Like [`Process::find`], but an error if `/proc` cannot be read, for example without a free descriptor.
    ///
    /// # Errors
    /// Why `/proc` cannot be read.
    pub fn try_find(pid: u32) -> io::Result<Option<Self>> {
        match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
            Ok(stat) => Ok(Self::parse(pid, &stat)),
            Err(error) if is_gone(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn parse(pid: u32, stat: &str) -> Option<Self> {
        let fields = parse_stat(stat)?;
        (!fields.has_exited).then_some(Self { pid, start_time: fields.start_time })
    }

    /// The child with this pid, even if it has exited: a pid is not reused before the parent waits for it.
    pub fn find_child(pid: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        Some(Self { pid, start_time: parse_stat(&stat)?.start_time })
    }

    /// Whether this process still runs. If no descriptor is free to read `/proc`, any process with this pid counts, so
    /// that a running process is never reported as dead.
    pub fn is_alive(self) -> bool {
        match std::fs::read_to_string(format!("/proc/{}/stat", self.pid)) {
            Ok(stat) => Self::parse(self.pid, &stat) == Some(self),
            Err(error)
                if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM)) =>
            {
                i32::try_from(self.pid).is_ok_and(|pid| kill(Pid::from_raw(pid), None) != Err(Errno::ESRCH))
            }
            Err(_) => false,
        }
    }

    /// Whether this process may still run. A failed read of `/proc` does not prove that the process has exited.
    pub fn may_be_alive(self) -> bool {
        match std::fs::read_to_string(format!("/proc/{}/stat", self.pid)) {
            Ok(stat) => Self::parse(self.pid, &stat) == Some(self),
            Err(error) => !is_gone(&error),
        }
    }
}

/// Whether this is the kernel's error for a pid without a process.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}

/// The used fields of `/proc/<pid>/stat`.
#[derive(Debug, PartialEq)]
pub struct ProcessStat {
    /// Whether all of its threads have exited.
    pub has_exited: bool,
    /// Clock ticks after boot.
    pub start_time: u64,
}

/// Reads a line of `/proc/<pid>/stat`. The command name, field 2, is in parentheses and may contain any character.
///
/// The main thread may be a zombie while other threads are still exiting. Until these have exited, they hold the files
/// of the process, so the process has not exited.
pub fn parse_stat(stat: &str) -> Option<ProcessStat> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let is_zombie = matches!(fields.next()?, "Z" | "X");
    let threads: u32 = fields.nth(16)?.parse().ok()?;
    let start_time = fields.nth(1)?.parse().ok()?;
    Some(ProcessStat { has_exited: is_zombie && threads <= 1, start_time })
}

/// The kernel's id of this boot.
pub fn boot_id() -> io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim_end().to_owned())
}

/// Nanoseconds of `CLOCK_BOOTTIME`, the clock of every [`Phase`](crate::Phase). This clock includes the time in
/// suspend.
///
/// # Panics
/// Never on a Linux that Rust supports.
pub fn boot_time() -> u64 {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME)
        .expect("CLOCK_BOOTTIME has been there since Linux 2.6.39");
    std::time::Duration::from(now)
        .as_nanos()
        .try_into()
        .expect("five centuries of nanoseconds fit in 64 bits")
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    use std::process::Command;
    use std::time::{Duration, Instant};

    #[test]
    fn a_name_with_parentheses_does_not_confuse() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4711 9 9";
        assert_eq!(parse_stat(stat), Some(ProcessStat { has_exited: false, start_time: 4711 }));
    }

    #[test]
    fn a_process_whose_main_thread_has_exited_is_alive_while_another_thread_runs() {
        let script = "import ctypes, threading, time\n\
            threading.Thread(target=time.sleep, args=(600,)).start()\n\
            ctypes.CDLL(None).pthread_exit(None)";
        let mut python = Command::new("python3").args(["-c", script]).spawn().unwrap();
        let pid = python.id();
        let main_thread = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let deadline = Instant::now() + Duration::from_mins(1);
        while !main_thread().contains(") Z ") {
            assert!(Instant::now() < deadline, "{}", main_thread());
            std::thread::sleep(Duration::from_millis(5));
        }
        let process = Process::find(pid).expect("a thread runs");
        assert!(process.is_alive() && process.may_be_alive());
        python.kill().unwrap();
        python.wait().unwrap();
        assert!(!process.is_alive() && !process.may_be_alive() && Process::find(pid).is_none());
    }

    #[test]
    fn who_cannot_be_looked_up_for_want_of_descriptors_is_not_told_dead() {
        let me = Process::find(std::process::id()).unwrap();
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, 0, hard).unwrap();
        let (lives, dead) =
            (me.is_alive(), Process { pid: i32::MAX.cast_unsigned(), start_time: 1 }.is_alive());
        setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
        assert_eq!((lives, dead), (true, false));
    }

    #[test]
    fn this_process_is_alive_and_its_pid_with_another_start_time_is_not() {
        let me = Process::find(std::process::id()).unwrap();
        assert!(me.is_alive() && me.may_be_alive());
        for other in [Process { start_time: me.start_time + 1, ..me }, Process { pid: u32::MAX, ..me }] {
            assert!(!other.is_alive() && !other.may_be_alive());
        }
    }
}
