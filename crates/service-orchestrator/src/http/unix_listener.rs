//! The Unix socket: connections of this user and of root, nobody else's.

use super::peer::Peer;
use super::server::{Caller, Door};
use super::throttled_log::Complaint;
use nix::unistd::geteuid;
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};

/// After a failed accept, for example because no descriptor is left.
pub(super) const PAUSE: Duration = Duration::from_millis(50);

/// Accepts connections whose peer may command this daemon.
pub(super) struct Guarded {
    listener: UnixListener,
    refused: Complaint,
}

impl Guarded {
    pub(super) fn new(listener: UnixListener) -> Self {
        Self { listener, refused: Complaint::default() }
    }
}

impl Door for Guarded {
    type Raw = UnixStream;
    type Stream = UnixStream;

    async fn next(&self) -> UnixStream {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) if is_trusted(&stream) => return stream,
                Ok(_) => self.refused.say(|times| {
                    tracing::warn!(times, "refused a connection of another user");
                }),
                Err(error) => {
                    self.refused.say(|times| tracing::warn!(%error, times, "cannot accept a connection"));
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    fn greet(&self, stream: UnixStream) -> impl Future<Output = Option<Caller<UnixStream>>> + Send + 'static {
        let peer = Peer::from_stream(&stream);
        std::future::ready(Some(Caller { stream, at: None, peer }))
    }
}

fn is_trusted(stream: &UnixStream) -> bool {
    stream.peer_cred().is_ok_and(|peer| peer.uid() == 0 || peer.uid() == geteuid().as_raw())
}
