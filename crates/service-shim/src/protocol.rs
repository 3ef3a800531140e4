//! The messages on the control socket: one JSON object per line.
//!
//! The daemon starts one `service-shim` as the zygote, with one end of a socket pair as standard input. The zygote
//! sends [`Hello`] and then forks a shim for each [`LaunchFds`](crate::LaunchFds) that it receives. The daemon sends a
//! [`Launch`] as the first line on the connection in the launch descriptors. From then on the shim sends its
//! [`RunRecord`] on each change, and the daemon sends [`ShimRequest`]s. A restarted daemon connects to
//! [`Files::socket`](crate::Files::socket) and receives the record at once; any number of peers may be connected. When
//! the process tree is empty, the shim writes the record, sends it and exits.
//!
//! # Versions
//!
//! A daemon starts only zygotes of its own version, but adopts shims of any version. Fields that an older record lacks
//! are read as absent, and a shim receives only requests that its version knows.
//!
//! | version | since then |
//! |---|---|
//! | 1 | launches on standard input, [`ShimRequest::Signal`] |
//! | 2 | zygote and launch descriptors, [`ShimRequest::ShareOutput`] |
//! | 3 | [`Launch::ready_log`], [`Launch::env_clear`], [`Launch::no_new_privileges`], [`ShimRequest::SignalFirst`], [`RunRecord::notify_status`]; a launch is [claimed](crate::shared_buffer::SharedBuffer::claim) before it begins, and not begun if the daemon has exited; [`Phase::Launching`] |
//! | 4 | [`Launch::run_directory`]: lock, record and socket are in memory; the log is created with its first line |

use crate::process::Process;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The first line that a zygote sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`PROTOCOL_VERSION`](crate::PROTOCOL_VERSION) of the program.
    pub version: u32,
}

/// The command of one run, and where to store its output and its record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// [`PROTOCOL_VERSION`](crate::PROTOCOL_VERSION) of the daemon.
    pub version: u32,
    /// Name of the service.
    pub service: String,
    /// Number of this run. The daemon ignores records of other runs.
    pub run: u64,
    /// The service's state directory ([`Files`](crate::Files)). Its parent exists.
    pub directory: PathBuf,
    /// The service's run directory; it exists.
    pub run_directory: PathBuf,
    /// Program and arguments. The program is looked up in the service's `PATH` unless it contains a `/`.
    pub argv: Vec<String>,
    /// The working directory of the service.
    pub working_dir: PathBuf,
    /// Variables that are added to the daemon's environment.
    pub env: Vec<(String, String)>,
    /// The user of the service; if absent, the user of the daemon.
    pub identity: Option<Identity>,
    /// The limits of the log.
    pub log: LogLimits,
    /// Whether the service gets a `NOTIFY_SOCKET` and is ready with `READY=1` (the `sd_notify` protocol).
    pub notify: bool,
    /// The regular expression of a line that counts as `READY=1`, matched against the visible text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_log: Option<String>,
    /// Whether `env` is the whole environment, without the daemon's variables.
    #[serde(default)]
    pub env_clear: bool,
    /// Whether the service and its children can never gain privileges by executing a program (`PR_SET_NO_NEW_PRIVS`).
    #[serde(default)]
    pub no_new_privileges: bool,
    /// The lines of former runs that were dropped.
    #[serde(rename = "missing", default)]
    pub dropped_lines: DroppedLines,
    /// The resource limits of the service.
    #[serde(default, skip_serializing_if = "RunLimits::is_none")]
    pub limits: RunLimits,
}

/// The limits that apply to the service before it runs. The daemon creates and removes the cgroup.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RunLimits {
    /// Directory of the cgroup; its limits are set.
    pub cgroup: Option<PathBuf>,
    /// `RLIMIT_AS` of each process, in bytes.
    pub address_space: Option<u64>,
}

impl RunLimits {
    fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// The user to switch to. The daemon has looked it up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Name, for messages, `USER`, `LOGNAME`.
    pub name: String,
    /// Home directory, for `HOME`.
    pub home: PathBuf,
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Supplementary group ids.
    pub groups: Vec<u32>,
}

/// A log file is rotated when it has reached `max_size` bytes. `max_files` rotated files are kept beside the current
/// one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLimits {
    /// Bytes in one file.
    pub max_size: u64,
    /// Number of rotated files.
    pub max_files: u32,
}

/// The state of a run, as written to the record file and sent on the socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    /// [`PROTOCOL_VERSION`](crate::PROTOCOL_VERSION) of the shim.
    pub version: u32,
    /// Name of the service.
    pub service: String,
    /// Number of the run.
    pub run: u64,
    /// Kernel's id of this boot (`/proc/sys/kernel/random/boot_id`).
    pub boot_id: String,
    /// The process of the shim.
    pub shim: Process,
    /// The phase of the run.
    pub phase: Phase,
    /// Whether the service has sent `READY=1` or has written the line of [`Launch::ready_log`].
    pub notified: bool,
    /// The status that the service has sent on its notify socket.
    #[serde(rename = "said", default, skip_serializing_if = "NotifyStatus::is_empty")]
    pub notify_status: NotifyStatus,
    /// Lines that could not be written to the log, including those of former runs.
    pub dropped: u64,
    /// How many of the dropped lines the log does not report yet.
    #[serde(rename = "untold", default)]
    pub unreported: u64,
    /// The processes that remained when the service's own process exited by itself. The shim ends them.
    #[serde(rename = "left", default, skip_serializing_if = "Option::is_none")]
    pub leftover: Option<LeftoverProcesses>,
}

/// The leftover processes of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftoverProcesses {
    /// Number of processes.
    pub count: u32,
    /// The names of the first processes.
    pub names: Vec<String>,
}

/// The last messages of a service on its notify socket (`sd_notify(3)`).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NotifyStatus {
    /// The last `STATUS=` message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// The last moment to which `EXTEND_TIMEOUT_USEC=` extends the timeout, in nanoseconds of `CLOCK_BOOTTIME`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extended_to: Option<u64>,
}

impl NotifyStatus {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Lines that could not be written to a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DroppedLines {
    /// All dropped lines.
    #[serde(rename = "lines")]
    pub total: u64,
    /// The dropped lines that the log does not report yet.
    #[serde(rename = "untold")]
    pub unreported: u64,
}

impl RunRecord {
    /// Whether the run has ended. The record of an ended run does not change.
    pub fn is_end(&self) -> bool {
        matches!(self.phase, Phase::Finished { .. } | Phase::LaunchFailed { .. })
    }

    /// The lines that were dropped.
    pub fn dropped_lines(&self) -> DroppedLines {
        DroppedLines { total: self.dropped, unreported: self.unreported }
    }
}

/// The phases of a run. Every `at` is nanoseconds of `CLOCK_BOOTTIME`, comparable within one boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The service's process is about to be created. This phase is written to the file only. If the shim is killed now,
    /// this phase shows that the run may have begun.
    Launching {
        /// When the launch was claimed.
        at: u64,
    },
    /// The service's process runs.
    Running {
        /// The process that was started.
        leader: Process,
        /// When the process was started.
        at: u64,
    },
    /// The process has exited, but its descendants still run.
    Exited {
        /// The process that was started.
        leader: Process,
        /// How it ended.
        exit: Exit,
        /// When it ended.
        at: u64,
    },
    /// No process is left. The shim exits after it reports this.
    #[serde(rename = "gone")]
    Finished {
        /// How the service's process ended.
        exit: Exit,
        /// When the service's process ended.
        at: u64,
    },
    /// The service's process never ran.
    #[serde(rename = "refused")]
    LaunchFailed {
        /// The step that failed.
        stage: Stage,
        /// The reason, which continues "cannot start `web`: ".
        message: String,
        /// When it failed.
        at: u64,
    },
}

/// The steps of a launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Opening log, control socket or notify socket.
    Prepare,
    /// Entering the working directory.
    WorkingDirectory,
    /// Finding the program.
    Program,
    /// Switching to the user.
    User,
    /// `fork` and `exec`.
    Exec,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// The process called `exit` with this code.
    Code(i32),
    /// This signal ended the process.
    Signal(i32),
}

/// A request of the daemon to a shim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShimRequest {
    /// Send this signal to every process of the tree. `SIGKILL` is repeated until the tree is empty.
    Signal(i32),
    /// Send this signal to the service's own process only. Since version 3.
    SignalFirst(i32),
    /// Send the descriptors of an [`OrphanedOutput`](crate::OrphanedOutput): first its shared buffer, then the outputs
    /// that have not ended. The reply is one byte, [`OrphanedOutput::stream_mask`](crate::OrphanedOutput::stream_mask),
    /// in place of a line. Since version 2.
    #[serde(rename = "lend")]
    ShareOutput,
}
