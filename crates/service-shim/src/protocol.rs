//! What is said on the control socket: JSON, one object a line.
//!
//! The daemon starts one `service-shim` with one end of a socket pair as standard input. This is the template: it says
//! [`Hello`], and then turns each [`Parcel`](crate::Parcel) it is sent into a shim, by a fork. On the connection in the
//! parcel the daemon writes a [`Launch`] as the first line. From then on the shim sends its [`Record`] whenever it changes,
//! and the daemon sends an [`Order`] when it wants something. A daemon that comes later connects to
//! [`Files::socket`](crate::Files::socket) and is sent the record at once; any number may be connected. When the tree is
//! gone the shim writes the record, sends it, ends.
//!
//! # Versions
//!
//! A daemon starts only templates of its own version, but takes over shims of any: a record is read with every field that
//! came later absent, and a shim is given no order that its version does not have.
//!
//! | version | since then |
//! |---|---|
//! | 1 | launches on standard input, [`Order::Signal`] |
//! | 2 | template and parcels, [`Order::Lend`] |
//! | 3 | [`Launch::ready_log`], [`Launch::env_clear`], [`Launch::no_new_privileges`], [`Order::SignalFirst`], [`Record::said`]; a launch is [claimed](crate::desk::Desk::claim) before it begins, and not begun when the daemon has gone; [`Phase::Launching`] |

use crate::process::Process;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The first line of a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`PROTOCOL_VERSION`](crate::PROTOCOL_VERSION) of the program.
    pub version: u32,
}

/// What to run, once, and where to keep what comes of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// [`PROTOCOL_VERSION`](crate::PROTOCOL_VERSION) of the daemon.
    pub version: u32,
    /// Name of the service.
    pub service: String,
    /// Number of this run; a record of another run is of no interest to the daemon.
    pub run: u64,
    /// The service's own directory ([`Files`](crate::Files)); it exists.
    pub directory: PathBuf,
    /// Program and arguments. The program is looked up in the service's `PATH` unless it contains a `/`.
    pub argv: Vec<String>,
    /// Where the service runs.
    pub working_dir: PathBuf,
    /// Variables set on top of the daemon's own environment.
    pub env: Vec<(String, String)>,
    /// Who the service runs as; absent: whoever runs the daemon.
    pub identity: Option<Identity>,
    /// How much log is kept.
    pub log: LogLimits,
    /// Whether to give the service a `NOTIFY_SOCKET` and to wait for `READY=1` on it (the `sd_notify` protocol).
    pub notify: bool,
    /// The regular expression of a line that is as good as `READY=1`; looked for in what a person sees of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_log: Option<String>,
    /// Whether `env` is all of its environment, and nothing of the daemon's is passed on.
    #[serde(default)]
    pub env_clear: bool,
    /// Whether it and what it starts can never gain rights by executing a program (`PR_SET_NO_NEW_PRIVS`).
    #[serde(default)]
    pub no_new_privileges: bool,
    /// Lines of former runs that are missing in the log.
    #[serde(default)]
    pub missing: Missing,
    /// What keeps the service within its limits.
    #[serde(default, skip_serializing_if = "Limits::is_none")]
    pub limits: Limits,
}

/// What the service enters before it runs. The cgroup is the daemon's to make and to remove.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Limits {
    /// Directory of the cgroup; its limits are set.
    pub cgroup: Option<PathBuf>,
    /// `RLIMIT_AS` of each process, in bytes.
    pub address_space: Option<u64>,
}

impl Limits {
    fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// A user to become, already looked up.
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

/// A log file is rotated when it has reached `max_size` bytes; `max_files` rotated ones are kept beside the current.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLimits {
    /// Bytes in one file.
    pub max_size: u64,
    /// Rotated files kept.
    pub max_files: u32,
}

/// All that the shim knows of its run. The same in the file and on the socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// [`PROTOCOL_VERSION`](crate::PROTOCOL_VERSION) of the shim.
    pub version: u32,
    /// Name of the service.
    pub service: String,
    /// Number of the run.
    pub run: u64,
    /// Kernel's id of this boot (`/proc/sys/kernel/random/boot_id`).
    pub boot_id: String,
    /// The shim itself.
    pub shim: Process,
    /// What the run has come to.
    pub phase: Phase,
    /// Whether the service has said `READY=1`, or the line of [`Launch::ready_log`].
    pub notified: bool,
    /// What else it has said on its notify socket.
    #[serde(default, skip_serializing_if = "Said::is_nothing")]
    pub said: Said,
    /// Lines that could not be written to the log, those of former runs included.
    pub dropped: u64,
    /// How many of them the log does not tell of yet.
    #[serde(default)]
    pub untold: u64,
    /// What was left of the tree when the service's process ended by itself; it is ended then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<Left>,
}

/// Processes that a service's own one left behind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// How many.
    pub count: u32,
    /// The names of the first of them.
    pub names: Vec<String>,
}

/// What a service has said on its notify socket about itself (`sd_notify(3)`).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Said {
    /// The last `STATUS=`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// The last moment to which `EXTEND_TIMEOUT_USEC=` has asked for time, in nanoseconds of `CLOCK_BOOTTIME`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extended_to: Option<u64>,
}

impl Said {
    fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// Lines that could not be written to a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Missing {
    /// All of them.
    pub lines: u64,
    /// Those that the log does not tell of yet.
    pub untold: u64,
}

impl Record {
    /// Whether it says how the run ended. Nothing that is true of the run comes after that.
    pub fn is_end(&self) -> bool {
        matches!(self.phase, Phase::Gone { .. } | Phase::Refused { .. })
    }

    /// The lines that are missing in the log.
    pub fn missing(&self) -> Missing {
        Missing { lines: self.dropped, untold: self.untold }
    }
}

/// The life of a run. Every `at` is nanoseconds of `CLOCK_BOOTTIME`, comparable within one boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The service's process is about to be made. Only in the file: a shim that is killed then leaves word that this run
    /// may have begun.
    Launching {
        /// When.
        at: u64,
    },
    /// The service's process runs.
    Running {
        /// The process started.
        leader: Process,
        /// When it was started.
        at: u64,
    },
    /// The process has ended, but something it left behind still runs.
    Exited {
        /// The process that was started.
        leader: Process,
        /// How it ended.
        exit: Exit,
        /// When it ended.
        at: u64,
    },
    /// Nothing of it is left. The shim ends after saying so.
    Gone {
        /// How the service's process ended.
        exit: Exit,
        /// When the service's process ended.
        at: u64,
    },
    /// It never ran.
    Refused {
        /// The step that failed.
        stage: Stage,
        /// Why, in words that continue "cannot start `web`: ".
        message: String,
        /// When.
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
    /// Becoming the user.
    User,
    /// `fork` and `exec`.
    Exec,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// It called `exit` with this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
}

/// What the daemon may ask of a shim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Send this signal to every process of the tree. `SIGKILL` is repeated until the tree is empty.
    Signal(i32),
    /// Send this signal to the process that was started, and to no other. Since version 3.
    SignalFirst(i32),
    /// Send the descriptors of a [`Heritage`](crate::Heritage): first its desk, then the outputs that have not ended. They
    /// come with one byte, [`Heritage::label`](crate::Heritage::label), in place of a line. Since version 2.
    Lend,
}
