//! [`Pump`]: one output stream of the service, from its pipe over the [`Desk`] into the log.

use crate::cri::{LONGEST_PART, Pen, Stream};
use crate::desk::{Desk, READ};
use crate::log::Log;
use jiff::Timestamp;
use memchr::memchr_iter;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use std::borrow::Cow;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// A program that writes line by line would wake us for each. When reads come this close together, the pipe is left
/// to fill for as long; a stream that says something now and then is read at once. A fast writer takes more than twice as
/// long to fill a pipe, and is not held up.
const REST: Duration = Duration::from_micros(200);
/// A read of this much was no single line, and the pipe may be full: the writer must not wait for us.
const PLENTY: usize = READ / 4;

/// A pipe, and when it is read next.
#[derive(Debug)]
pub struct Pump {
    pipe: OwnedFd,
    stream: Stream,
    last_read: Option<Instant>,
    rests_until: Option<Instant>,
}

/// What a pipe had to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Yield {
    /// So many bytes; there may be more.
    Bytes(usize),
    /// Nothing now.
    Empty,
    /// Nothing ever again.
    Ended,
}

impl Pump {
    /// A pump for this pipe.
    pub fn new(pipe: OwnedFd, stream: Stream) -> nix::Result<Self> {
        fcntl(&pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok(Self { pipe, stream, last_read: None, rests_until: None })
    }

    /// Until when it is not to be read, if that is later than `now`.
    pub fn rests_until(&self, now: Instant) -> Option<Instant> {
        self.rests_until.filter(|&until| now < until)
    }

    /// Reads once.
    pub fn pump(&mut self, desk: &Desk, log: &mut Log) -> Yield {
        match desk.read(&self.pipe, self.stream) {
            Ok(0) => Yield::Ended,
            Ok(length) => {
                desk.take(self.stream, length, false, Timestamp::now());
                record(desk, log);
                self.rest_after(length);
                Yield::Bytes(length)
            }
            Err(Errno::EAGAIN | Errno::EINTR) => Yield::Empty,
            Err(_) => Yield::Ended,
        }
    }

    /// The stream is over: what has begun is a line, although nothing ends it.
    pub fn finish(&mut self, desk: &Desk, log: &mut Log) {
        desk.take(self.stream, 0, true, Timestamp::now());
        record(desk, log);
    }

    fn rest_after(&mut self, length: usize) {
        let now = Instant::now();
        let busy = self.last_read.is_some_and(|last| now.duration_since(last) < REST);
        self.rests_until = (busy && length < PLENTY).then(|| now + REST);
        self.last_read = Some(now);
    }
}

/// Writes what lies on the desk into the log. The same desk gives the same records, whoever does it and however often.
pub fn record(desk: &Desk, log: &mut Log) {
    let (stream, bytes) = (desk.stream(), desk.data());
    let (pen, begun) = (Pen::new(desk.time(), stream), desk.begun(stream));
    let mut start = 0;
    for newline in memchr_iter(b'\n', bytes) {
        let line = &bytes[start..newline];
        let line = if start == 0 { joined(begun, line) } else { Cow::Borrowed(line) };
        log.line(desk, &pen, &line);
        start = newline + 1;
    }
    let rest = if start == 0 { joined(begun, bytes) } else { Cow::Borrowed(&bytes[start..]) };
    if desk.ends() {
        if !rest.is_empty() {
            log.line(desk, &pen, &rest);
        }
        log.flush(desk);
        desk.finish(stream, &[]);
        return;
    }
    // The last part is kept back even if it is full: only when more comes is it known not to be the line's end.
    let whole = rest.len().saturating_sub(1) / LONGEST_PART * LONGEST_PART;
    for part in rest[..whole].chunks(LONGEST_PART) {
        log.part(desk, &pen, part);
    }
    log.flush(desk);
    desk.finish(stream, &rest[whole..]);
}

fn joined<'a>(begun: &'a [u8], rest: &'a [u8]) -> Cow<'a, [u8]> {
    if begun.is_empty() { Cow::Borrowed(rest) } else { Cow::Owned([begun, rest].concat()) }
}

impl AsFd for Pump {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}
