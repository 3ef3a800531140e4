//! The protocol between the daemon and the shim of one service, and the files that both use.
//!
//! A shim supervises one run of one service. The shim is the parent of the service's process and the subreaper of the
//! process tree below it. It writes the log and the exit status to disk, and makes no decisions. A shim reports the
//! state of its run as one [`RunRecord`], over each connection and in a file. A restarted daemon therefore receives the
//! same information as one that never stopped. The program is in `main.rs`; this library holds the code of both sides.

pub mod access;
pub mod close_fds;
pub mod cri;
pub mod error_text;
mod fd_passing;
pub mod files;
pub mod follow;
pub mod keyring;
pub mod launch_fds;
mod line_assembler;
pub mod log;
pub mod orphaned_output;
pub mod process;
pub mod protocol;
pub mod pump;
pub mod ready_pattern;
pub mod shared_buffer;
pub mod tail;
pub mod terminal_text;

pub use cri::Line;
pub use files::{Files, RecordStamp};
pub use follow::Follower;
pub use launch_fds::LaunchFds;
pub use orphaned_output::OrphanedOutput;
pub use process::Process;
pub use protocol::{
    DroppedLines, Exit, Launch, LogLimits, NotifyStatus, Phase, RunRecord, ShimRequest, Stage,
};
pub use ready_pattern::Watch;
pub use tail::Tail;

/// Version of [`protocol`]. A daemon sends an older shim only the requests that its version knows.
pub const PROTOCOL_VERSION: u32 = 4;
