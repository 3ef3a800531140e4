//! The configuration of a project: [`load`] reads and checks `services.toml`, [`init`] writes a first one.
//!
//! Nothing here starts a process or talks to a daemon.

#![warn(clippy::missing_errors_doc)]

pub mod init;
pub mod load;
