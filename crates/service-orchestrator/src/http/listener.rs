//! The Unix socket: connections of this user and of root, nobody else's.

use nix::unistd::geteuid;
use std::io;
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream, unix::SocketAddr};

/// After a failed accept, for example because no descriptor is left.
const PAUSE: Duration = Duration::from_millis(50);

/// Accepts connections whose peer may command this daemon.
pub(crate) struct Guarded(pub(crate) UnixListener);

impl axum::serve::Listener for Guarded {
    type Io = UnixStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (UnixStream, SocketAddr) {
        loop {
            match self.0.accept().await {
                Ok((stream, address)) if is_trusted(&stream) => return (stream, address),
                Ok(_) => tracing::warn!("refused a connection of another user"),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

fn is_trusted(stream: &UnixStream) -> bool {
    stream.peer_cred().is_ok_and(|peer| peer.uid() == 0 || peer.uid() == geteuid().as_raw())
}
