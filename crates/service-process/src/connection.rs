//! [`ShimConnection`]: a connection to a shim, with its received, unread bytes.

use service_shim::{Files, OrphanedOutput, RunRecord, ShimRequest};
use std::io::{self, Cursor};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Interest, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

/// The time limit for a shim to send its record after a connect, and to share its output.
const RECORD_TIMEOUT: Duration = Duration::from_millis(500);
/// The buffer of one connection. A record has about 350 bytes.
const BUFFER_BYTES: usize = 1024;

/// The messages of a shim, one a line.
pub(super) type Frames = Lines<BufReader<tokio::io::Chain<Cursor<Vec<u8>>, OwnedReadHalf>>>;

/// A connection to a shim.
#[derive(Debug)]
pub struct ShimConnection {
    stream: UnixStream,
    unread: Vec<u8>,
}

impl ShimConnection {
    /// Connects to the shim that listens among these files.
    pub(super) fn connect(files: &Files) -> io::Result<Self> {
        let stream = files.with_socket_path(|path| StdUnixStream::connect(path))?;
        stream.set_nonblocking(true)?;
        Ok(Self::from_stream(UnixStream::from_std(stream)?))
    }

    pub(super) fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// Uses an existing connection.
    pub(super) fn from_stream(stream: UnixStream) -> Self {
        Self { stream, unread: Vec::new() }
    }

    /// The first record, which the shim sends after each connect. The record remains in the buffer.
    pub(super) async fn record(&mut self) -> io::Result<RunRecord> {
        let line = async {
            loop {
                if let Some(line) = self.unread.split_inclusive(|&byte| byte == b'\n').next()
                    && line.ends_with(b"\n")
                {
                    return Ok(serde_json::from_slice(line)?);
                }
                if self.stream.read_buf(&mut self.unread).await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
        };
        tokio::time::timeout(RECORD_TIMEOUT, line).await?
    }

    /// The output of the shim, for the case that the shim dies. Only versions from
    /// [`MIN_VERSION_SHARED_OUTPUT`](super::shim_client::MIN_VERSION_SHARED_OUTPUT) on share it.
    pub(super) async fn borrow(&mut self) -> io::Result<OrphanedOutput> {
        let Self { stream, unread } = self;
        try_send(stream, ShimRequest::ShareOutput)?;
        let lent = async {
            loop {
                let received =
                    stream.async_io(Interest::READABLE, || OrphanedOutput::receive(stream, unread)).await?;
                if let Some(orphaned_output) = received {
                    return Ok(orphaned_output);
                }
            }
        };
        tokio::time::timeout(RECORD_TIMEOUT, lent).await?
    }

    /// Splits the connection into the further messages and the sender of requests.
    pub(super) fn split(self) -> (Frames, OwnedWriteHalf) {
        let (reader, writer) = self.stream.into_split();
        (BufReader::with_capacity(BUFFER_BYTES, Cursor::new(self.unread).chain(reader)).lines(), writer)
    }
}

/// Sends a request. Errors are ignored, because the reader of the messages notices the end of the shim.
pub(super) async fn send(writer: &OwnedWriteHalf, order: ShimRequest) {
    while try_send(writer.as_ref(), order).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
        if writer.writable().await.is_err() {
            return;
        }
    }
}

/// Sends a request without waiting. A request is short enough to be sent as a whole or not at all.
pub(super) fn try_send(shim: &UnixStream, order: ShimRequest) -> io::Result<()> {
    let mut line = serde_json::to_vec(&order)?;
    line.push(b'\n');
    shim.try_write(&line).map(drop)
}
