//! [`ShimConnection`]: a connection to a shim, with what was received and not read yet.

use service_shim::{Files, OrphanedOutput, RunRecord, ShimRequest};
use std::io::{self, Cursor};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Interest, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

/// How long a shim may take to say its record to somebody who connects, and to lend what it is asked for.
const ANSWER: Duration = Duration::from_millis(500);
/// A record takes some 350 bytes.
const BUFFER: usize = 1024;

/// What a shim says, line by line.
pub(super) type Frames = Lines<BufReader<tokio::io::Chain<Cursor<Vec<u8>>, OwnedReadHalf>>>;

/// A connection to a shim.
#[derive(Debug)]
pub struct ShimConnection {
    stream: UnixStream,
    said: Vec<u8>,
}

impl ShimConnection {
    /// Connects to the shim that listens among these files.
    pub(super) fn with(files: &Files) -> io::Result<Self> {
        let stream = files.with_socket_path(|path| StdUnixStream::connect(path))?;
        stream.set_nonblocking(true)?;
        Ok(Self::over(UnixStream::from_std(stream)?))
    }

    pub(super) fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// Over this connection.
    pub(super) fn over(stream: UnixStream) -> Self {
        Self { stream, said: Vec::new() }
    }

    /// The first record, which is told to whoever connects. It is still there to be heard.
    pub(super) async fn record(&mut self) -> io::Result<RunRecord> {
        let line = async {
            loop {
                if let Some(line) = self.said.split_inclusive(|&byte| byte == b'\n').next()
                    && line.ends_with(b"\n")
                {
                    return Ok(serde_json::from_slice(line)?);
                }
                if self.stream.read_buf(&mut self.said).await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
        };
        tokio::time::timeout(ANSWER, line).await?
    }

    /// What the shim leaves if it dies; only of one that [lends](super::shim_client::SHARES_OUTPUT).
    pub(super) async fn borrow(&mut self) -> io::Result<OrphanedOutput> {
        let Self { stream, said } = self;
        try_send(stream, ShimRequest::ShareOutput)?;
        let lent = async {
            loop {
                let received =
                    stream.async_io(Interest::READABLE, || OrphanedOutput::receive(stream, said)).await?;
                if let Some(orphaned_output) = received {
                    return Ok(orphaned_output);
                }
            }
        };
        tokio::time::timeout(ANSWER, lent).await?
    }

    /// All that it has said and will say, and where orders go.
    pub(super) fn split(self) -> (Frames, OwnedWriteHalf) {
        let (reader, writer) = self.stream.into_split();
        (BufReader::with_capacity(BUFFER, Cursor::new(self.said).chain(reader)).lines(), writer)
    }
}

/// A shim that is gone shows at the other half of the stream.
pub(super) async fn send(writer: &OwnedWriteHalf, order: ShimRequest) {
    while try_send(writer.as_ref(), order).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
        if writer.writable().await.is_err() {
            return;
        }
    }
}

/// An order is so short that it is sent whole or not at all.
pub(super) fn try_send(shim: &UnixStream, order: ShimRequest) -> io::Result<()> {
    let mut line = serde_json::to_vec(&order)?;
    line.push(b'\n');
    shim.try_write(&line).map(drop)
}
