//! [`Pump`]: one output stream of the service, from its pipe into the log.

use crate::log::Log;
use jiff::Timestamp;
use memchr::memchr_iter;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use service_shim::cri::{LONGEST_PART, Pen, Stream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// A pipe's usual capacity: the most that one read can bring.
pub(crate) const READ: usize = 64 * 1024;
/// A program that writes line by line would wake us for each. When reads come this close together, the pipe is left
/// to fill for as long; a stream that says something now and then is read at once.
const REST: Duration = Duration::from_millis(1);
/// A read of this much was no single line, and the pipe may be full: the writer must not wait for us.
const PLENTY: usize = READ / 4;

/// A pipe and the line that has begun to come out of it.
pub(crate) struct Pump {
    pipe: OwnedFd,
    stream: Stream,
    /// A line without its end yet, at most one part long.
    begun: Vec<u8>,
    last_read: Option<Instant>,
    rests_until: Option<Instant>,
}

/// What a pipe had to give.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Yield {
    /// Some bytes; there may be more.
    Bytes,
    /// Nothing now.
    Empty,
    /// Nothing ever again.
    Ended,
}

impl Pump {
    pub(crate) fn new(pipe: OwnedFd, stream: Stream) -> nix::Result<Self> {
        fcntl(&pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok(Self { pipe, stream, begun: Vec::new(), last_read: None, rests_until: None })
    }

    /// Until when it is not to be read, if that is later than `now`.
    pub(crate) fn rests_until(&self, now: Instant) -> Option<Instant> {
        self.rests_until.filter(|&until| now < until)
    }

    /// Reads once.
    pub(crate) fn pump(&mut self, buffer: &mut [u8], log: &mut Log) -> Yield {
        match nix::unistd::read(&self.pipe, buffer) {
            Ok(0) => Yield::Ended,
            Ok(length) => {
                self.take(&buffer[..length], log);
                self.rest_after(length);
                Yield::Bytes
            }
            Err(Errno::EAGAIN | Errno::EINTR) => Yield::Empty,
            Err(_) => Yield::Ended,
        }
    }

    /// The stream is over: what has begun is a line, although nothing ends it.
    pub(crate) fn finish(&mut self, log: &mut Log) {
        if !self.begun.is_empty() {
            log.line(&Pen::new(Timestamp::now(), self.stream), &std::mem::take(&mut self.begun));
        }
    }

    fn take(&mut self, bytes: &[u8], log: &mut Log) {
        let pen = Pen::new(Timestamp::now(), self.stream);
        let mut start = 0;
        for newline in memchr_iter(b'\n', bytes) {
            let line = &bytes[start..newline];
            if self.begun.is_empty() {
                log.line(&pen, line);
            } else {
                self.begun.extend_from_slice(line);
                log.line(&pen, &self.begun);
                self.begun.clear();
            }
            start = newline + 1;
        }
        self.begun.extend_from_slice(&bytes[start..]);
        // The last part is kept back even if it is full: only when more comes is it known not to be the line's end.
        let whole = self.begun.len().saturating_sub(1) / LONGEST_PART * LONGEST_PART;
        for part in self.begun.drain(..whole).as_slice().chunks(LONGEST_PART) {
            log.part(&pen, part);
        }
    }

    fn rest_after(&mut self, length: usize) {
        let now = Instant::now();
        let busy = self.last_read.is_some_and(|last| now.duration_since(last) < REST);
        self.rests_until = (busy && length < PLENTY).then(|| now + REST);
        self.last_read = Some(now);
    }
}

impl AsFd for Pump {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}
