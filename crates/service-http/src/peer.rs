//! [`Peer`]: the process or address at the other end of a connection.

use std::net::SocketAddr;
use tokio::net::UnixStream;

/// The other end of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) enum Peer {
    /// A process of this machine, as the kernel recorded it when it connected.
    Local { uid: u32, pid: Option<u32> },
    /// A client over TCP.
    Remote(SocketAddr),
    /// A process that the kernel does not identify.
    Unknown,
}

impl Peer {
    pub(super) fn from_stream(stream: &UnixStream) -> Self {
        stream.peer_cred().map_or(Self::Unknown, |peer| Self::Local {
            uid: peer.uid(),
            pid: peer.pid().and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid > 0),
        })
    }
}
