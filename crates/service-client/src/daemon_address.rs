//! [`DaemonAddress`]: where a daemon listens, and how a client authenticates.

use service_api::endpoint::DaemonEndpoint;
use std::path::{Path, PathBuf};

/// Where a daemon listens, and how a client authenticates.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DaemonAddress {
    /// The socket or the URL.
    pub endpoint: DaemonEndpoint,
    /// The bearer token for a daemon over TCP.
    pub token: Option<String>,
    /// The certificate authority to trust instead of the machine's.
    pub ca_file: Option<PathBuf>,
}

impl DaemonAddress {
    /// A Unix socket of this machine.
    pub fn local(socket: &Path) -> Self {
        Self { endpoint: DaemonEndpoint::Unix(socket.to_path_buf()), token: None, ca_file: None }
    }
}
