//! The words between the daemon and the keeper of one service, and the files they share.
//!
//! One shim keeps one run of one service. It is the parent of the service's process and the subreaper of everything
//! below it, it writes the log and it leaves the exit status on disk; it decides nothing. What it knows it says as one
//! [`Record`], to whoever is connected and in a file, so a daemon that comes back learns the same as one that never
//! left. The program is in `main.rs`; this library holds what both sides need.

mod begun;
pub mod cri;
pub mod desk;
mod fd_passing;
pub mod files;
pub mod follow;
pub mod heritage;
pub mod keyring;
pub mod log;
pub mod parcel;
pub mod process;
pub mod protocol;
pub mod pump;
pub mod seen;
pub mod strays;
pub mod tail;
pub mod watch;
pub mod words;

pub use cri::Line;
pub use files::Files;
pub use follow::Follower;
pub use heritage::Heritage;
pub use parcel::Parcel;
pub use process::Process;
pub use protocol::{Exit, Launch, LogLimits, Missing, Order, Phase, Record, Said, Stage};
pub use tail::Tail;
pub use watch::Watch;

/// Version of the words in [`protocol`]. A shim of an older daemon is told nothing that it does not know.
pub const PROTOCOL_VERSION: u32 = 3;
