//! Managers: Nushell modules that start, stop and check services outside the daemon. A call has a record as input, a
//! deadline, and a record as reply. docs/managers.md specifies the contract.

mod accepted;
mod author;
mod batch;
mod call;
mod client;
mod concurrency;
mod container;
mod embedded;
mod error;
mod lifecycle;
mod line;
mod list;
mod log_cursor;
mod log_file;
mod logs;
mod module;
mod poll_group;
mod rate_limit;
mod reply;
mod request;
mod status;

pub use batch::decides;
pub use client::Managers;
pub use embedded::install;
pub use error::{CallError, LogError, ManagerError, ModuleError, RaisedError};
pub use lifecycle::Fitness;
pub use list::list;
pub use log_cursor::LogCursor;
pub use log_file::LogFile;
pub use logs::{Ask, FollowStep, News, NextStep, begin, logs};
pub use reply::ReplyError;
