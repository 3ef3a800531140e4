//! [`Patient`]: a connection whose client may take its time, but not for ever.
//!
//! It also keeps back what hyper answers by itself to what is no request, an empty 400 or 431: as every answer, it is to have an
//! envelope, and only the error that comes after it says why (see [`super::protocol_error`]).

use super::idle::Turn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::Sleep;

/// How long hyper's own answers are at most.
const OWN: usize = 256;

/// A stream that fails once nothing of what was written has been taken for so long.
pub(super) struct Patient<S> {
    stream: S,
    limit: Duration,
    /// Armed while a write waits.
    waits: Pin<Box<Sleep>>,
    armed: bool,
    turn: Arc<Turn>,
    head: Head,
    /// What was kept back.
    refusal: Option<Vec<u8>>,
}

/// What has been said since the last request was heard.
#[derive(Clone, Copy, Default)]
struct Head {
    after: u64,
    bytes: usize,
    lines: usize,
}

/// An answer of hyper's own, and what it is to.
pub(super) struct Refusal {
    /// As hyper has written it, without a body.
    pub(super) head: Vec<u8>,
    /// How much was said.
    pub(super) bytes: usize,
    pub(super) lines: usize,
}

impl<S> Patient<S> {
    pub(super) fn new(stream: S, limit: Duration, turn: Arc<Turn>) -> Self {
        let waits = Box::pin(tokio::time::sleep(limit));
        Self { stream, limit, waits, armed: false, turn, head: Head::default(), refusal: None }
    }

    /// What hyper wanted to answer, if it was not to a request.
    pub(super) fn refusal(&mut self) -> Option<Refusal> {
        let Head { bytes, lines, .. } = self.head;
        self.refusal.take().map(|head| Refusal { head, bytes, lines })
    }

    /// A write that goes on disarms the clock; one that waits is over when the clock is.
    fn judge<T>(&mut self, context: &mut Context<'_>, done: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if done.is_ready() {
            if self.armed {
                self.turn.goes_on();
            }
            self.armed = false;
            return done;
        }
        if !self.armed {
            self.armed = true;
            self.turn.sticks();
            let limit = self.limit;
            self.waits.set(tokio::time::sleep(limit));
        }
        ready!(self.waits.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// How much of this is to be written before what hyper answers by itself; all, if it does not.
    fn ours(&self, bytes: &[u8]) -> usize {
        // Our answers are in envelopes, in which no line ends as a head's does; and it has a request to answer then.
        if !bytes.ends_with(b"\r\n\r\n") || self.turn.heard().1 {
            return bytes.len();
        }
        let from = bytes.len().saturating_sub(OWN);
        let tail = &bytes[from..];
        let begins = tail.windows(10).rposition(|window| window == b"HTTP/1.1 4" || window == b"HTTP/1.0 4");
        let empty = |head: &[u8]| head.windows(EMPTY.len()).any(|window| window == EMPTY);
        begins.filter(|at| empty(&tail[*at..])).map_or(bytes.len(), |at| from + at)
    }

    /// Counts what is heard of a head.
    fn count(&mut self, heard: &[u8]) {
        let (requests, ours) = self.turn.heard();
        if self.head.after != requests || ours {
            self.head = Head { after: requests, ..Head::default() };
        }
        if !ours {
            self.head.bytes += heard.len();
            self.head.lines += heard.split(|byte| *byte == b'\n').count() - 1;
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Patient<S> {
    /// Says this, and nothing more. What is still coming is let come for a while, or the kernel would take the answer back.
    pub(super) async fn refuse(&mut self, answer: &[u8]) -> io::Result<()> {
        self.stream.write_all(answer).await?;
        self.stream.shutdown().await?;
        let mut heard = [0; 1024];
        while self.stream.read(&mut heard).await? > 0 {}
        Ok(())
    }
}

/// The line by which an answer without a body is known, as hyper writes it.
pub(super) const EMPTY: &[u8] = b"content-length: 0\r\n";

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let done = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.count(&buffer.filled()[before..]);
        done
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let ours = self.ours(bytes);
        if ours == 0 && !bytes.is_empty() {
            self.refusal = Some(bytes.to_vec());
            return Poll::Ready(Ok(bytes.len()));
        }
        let done = Pin::new(&mut self.stream).poll_write(context, &bytes[..ours]);
        self.judge(context, done)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = Pin::new(&mut self.stream).poll_flush(context);
        self.judge(context, done)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // There is something to say yet.
        if self.refusal.is_some() {
            return Poll::Ready(Ok(()));
        }
        let done = Pin::new(&mut self.stream).poll_shutdown(context);
        self.judge(context, done)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // Heads come first, bodies behind them.
        let first = buffers.iter().find(|buffer| !buffer.is_empty()).map_or(&[][..], |buffer| &**buffer);
        if self.ours(first) < first.len() {
            return self.poll_write(context, first);
        }
        let done = Pin::new(&mut self.stream).poll_write_vectored(context, buffers);
        self.judge(context, done)
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
    async fn a_client_that_takes_nothing_is_given_up_and_one_that_is_slow_is_not() {
        let (limit, almost) = (Duration::from_mins(1), Duration::from_secs(59));
        let (ours, mut theirs) = duplex(8);
        let mut ours = Patient::new(ours, limit, Arc::new(Turn::theirs()));
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
