//! The configuration of a project: [`load`] reads and checks `services.toml`, [`init`] writes a first one.
//!
//! This crate starts no process and connects to no daemon.

#![warn(clippy::missing_errors_doc)]

pub mod init;
pub mod load;
