//! [`PeerCheckedListener`]: accepts connections of this user and of root on the Unix socket. The kernel identifies the
//! peer.

use super::peer::Peer;
use super::server::{ConnectionSource, ReadyConnection};
use super::throttled_log::ThrottledLog;
use nix::unistd::geteuid;
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};

/// The delay after a failed accept, for example without a free descriptor.
pub(super) const RETRY_DELAY: Duration = Duration::from_millis(50);

/// Accepts connections of peers that may control this daemon.
pub(super) struct PeerCheckedListener {
    listener: UnixListener,
    refused: ThrottledLog,
}

impl PeerCheckedListener {
    pub(super) fn new(listener: UnixListener) -> Self {
        Self { listener, refused: ThrottledLog::default() }
    }
}

impl ConnectionSource for PeerCheckedListener {
    type Raw = UnixStream;
    type Stream = UnixStream;

    async fn accept(&self) -> UnixStream {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) if is_trusted(&stream) => return stream,
                Ok(_) => self.refused.log(|times| {
                    tracing::warn!(times, "refused a connection of another user");
                }),
                Err(error) => {
                    self.refused.log(|times| tracing::warn!(%error, times, "cannot accept a connection"));
                    tokio::time::sleep(RETRY_DELAY).await;
                }
            }
        }
    }

    fn handshake(
        &self,
        stream: UnixStream,
    ) -> impl Future<Output = Option<ReadyConnection<UnixStream>>> + Send + 'static {
        let peer = Peer::from_stream(&stream);
        std::future::ready(Some(ReadyConnection { stream, at: None, peer }))
    }
}

fn is_trusted(stream: &UnixStream) -> bool {
    stream.peer_cred().is_ok_and(|peer| peer.uid() == 0 || peer.uid() == geteuid().as_raw())
}
