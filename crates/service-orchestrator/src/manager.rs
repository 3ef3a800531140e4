//! Managers: Nushell modules that start, stop and check what runs elsewhere. This is the daemon's side: it calls
//! them with a record and a deadline and reads a record back. The contract is in docs/managers.md.

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
mod request;
mod status;

pub(crate) use batch::decides;
pub(crate) use client::Managers;
pub(crate) use embedded::install;
pub(crate) use lifecycle::Fitness;
pub(crate) use list::list;
pub(crate) use log_cursor::LogCursor;
pub(crate) use log_file::LogFile;
pub(crate) use logs::{Ask, FollowStep, News, begin, logs};
