//! [`WriteTimeout`]: a connection that fails if its client reads nothing for too long.
//!
//! hyper answers malformed requests with an empty 400 or 431. This wrapper retains that response, so that an envelope can be
//! sent with the error that hyper returns afterwards (see [`super::protocol_error`]).

use super::idle::IdleTimer;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::Sleep;

/// The maximum length of a response that hyper generates.
const MAX_REFUSAL_BYTES: usize = 256;

/// A stream whose writes fail once the client has read nothing for `limit`.
pub(super) struct WriteTimeout<S> {
    stream: S,
    limit: Duration,
    /// The timer, which is armed while a write waits.
    timer: Pin<Box<Sleep>>,
    armed: bool,
    idle: Arc<IdleTimer>,
    head: RequestHead,
    /// The retained response of hyper.
    refusal: Option<Vec<u8>>,
}

/// The input since the last request.
#[derive(Clone, Copy, Default)]
struct RequestHead {
    after: u64,
    bytes: usize,
    lines: usize,
}

/// A response that hyper generated, and the size of the malformed head.
pub(super) struct RejectedRequest {
    /// The head of the response; it has no body.
    pub(super) head: Vec<u8>,
    /// The size of the input.
    pub(super) bytes: usize,
    pub(super) lines: usize,
}

impl<S> WriteTimeout<S> {
    pub(super) fn new(stream: S, limit: Duration, idle: Arc<IdleTimer>) -> Self {
        let timer = Box::pin(tokio::time::sleep(limit));
        Self { stream, limit, timer, armed: false, idle, head: RequestHead::default(), refusal: None }
    }

    /// The retained response, if there is one.
    pub(super) fn refusal(&mut self) -> Option<RejectedRequest> {
        let RequestHead { bytes, lines, .. } = self.head;
        self.refusal.take().map(|head| RejectedRequest { head, bytes, lines })
    }

    /// Disarms the timer after a successful write. A waiting write fails when the timer expires.
    fn check_timeout<T>(
        &mut self,
        context: &mut Context<'_>,
        done: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if done.is_ready() {
            if self.armed {
                self.idle.write_resumed();
            }
            self.armed = false;
            return done;
        }
        if !self.armed {
            self.armed = true;
            self.idle.write_blocked();
            let limit = self.limit;
            self.timer.set(tokio::time::sleep(limit));
        }
        ready!(self.timer.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// The number of bytes before a response that hyper generated; without such a response, the number of all bytes.
    fn own_length(&self, bytes: &[u8]) -> usize {
        // While a request is served, the bytes belong to the response of a handler. The response that hyper generated
        // has no body, so it ends with an empty line.
        if !bytes.ends_with(b"\r\n\r\n") || self.idle.requests().1 {
            return bytes.len();
        }
        let from = bytes.len().saturating_sub(MAX_REFUSAL_BYTES);
        let tail = &bytes[from..];
        let begins = tail.windows(10).rposition(|window| window == b"HTTP/1.1 4" || window == b"HTTP/1.0 4");
        let empty =
            |head: &[u8]| head.windows(EMPTY_BODY_HEADER.len()).any(|window| window == EMPTY_BODY_HEADER);
        begins.filter(|at| empty(&tail[*at..])).map_or(bytes.len(), |at| from + at)
    }

    /// Counts the bytes and lines of a head.
    fn count_head(&mut self, received: &[u8]) {
        let (requests, is_serving) = self.idle.requests();
        if self.head.after != requests || is_serving {
            self.head = RequestHead { after: requests, ..RequestHead::default() };
        }
        if !is_serving {
            self.head.bytes += received.len();
            self.head.lines += received.split(|byte| *byte == b'\n').count() - 1;
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> WriteTimeout<S> {
    /// Sends a last response. Further input is read meanwhile, because the kernel would otherwise reset the connection
    /// and discard the response.
    pub(super) async fn send_refusal(&mut self, answer: &[u8]) -> io::Result<()> {
        self.stream.write_all(answer).await?;
        self.stream.shutdown().await?;
        let mut discarded = [0; 1024];
        while self.stream.read(&mut discarded).await? > 0 {}
        Ok(())
    }
}

/// The header of a response without a body, as hyper writes it.
pub(super) const EMPTY_BODY_HEADER: &[u8] = b"content-length: 0\r\n";

impl<S: AsyncRead + Unpin> AsyncRead for WriteTimeout<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let done = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.count_head(&buffer.filled()[before..]);
        done
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WriteTimeout<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let own = self.own_length(bytes);
        if own == 0 && !bytes.is_empty() {
            self.refusal = Some(bytes.to_vec());
            return Poll::Ready(Ok(bytes.len()));
        }
        let done = Pin::new(&mut self.stream).poll_write(context, &bytes[..own]);
        self.check_timeout(context, done)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = Pin::new(&mut self.stream).poll_flush(context);
        self.check_timeout(context, done)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The caller still has to send the retained response.
        if self.refusal.is_some() {
            return Poll::Ready(Ok(()));
        }
        let done = Pin::new(&mut self.stream).poll_shutdown(context);
        self.check_timeout(context, done)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // The head is in the first buffer, before the body.
        let first = buffers.iter().find(|buffer| !buffer.is_empty()).map_or(&[][..], |buffer| &**buffer);
        if self.own_length(first) < first.len() {
            return self.poll_write(context, first);
        }
        let done = Pin::new(&mut self.stream).poll_write_vectored(context, buffers);
        self.check_timeout(context, done)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_nothing_times_out_and_a_slow_one_does_not() {
        let (limit, almost) = (Duration::from_mins(1), Duration::from_secs(59));
        let (ours, mut theirs) = duplex(8);
        let mut ours = WriteTimeout::new(ours, limit, Arc::new(IdleTimer::new()));
        let slow = tokio::spawn(async move {
            let mut taken = [0; 8];
            for _ in 0..4 {
                tokio::time::sleep(almost).await;
                theirs.read_exact(&mut taken).await.unwrap();
            }
            theirs
        });
        ours.write_all(&[1; 32]).await.unwrap();
        let _theirs = slow.await.unwrap();
        let error = ours.write_all(&[1; 9]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
