//! A client of a project's daemon: it connects, starts the daemon if needed, sends requests and reads streams of rows.
//!
//! This crate does not depend on Nushell. A front passes the environment of its caller ([`Caller`]).

#![warn(clippy::missing_errors_doc)]

pub mod client;
pub mod connection;
pub mod daemon_address;
pub mod launch;
#[cfg(any(test, feature = "mock"))]
pub mod mock_daemon;
pub mod ndjson_stream;
pub mod orchestratord;

use std::collections::HashMap;
use std::path::PathBuf;

/// The shell or program that uses the client. Programs that the client runs get its environment.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The environment of the programs.
    pub environment: HashMap<String, String>,
    /// The Nushell that runs manager modules.
    pub nu: Option<PathBuf>,
}
