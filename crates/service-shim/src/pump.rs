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

/// A program that writes line by line would wake us for each, and wait for us as often. When reads come this close
/// together, the pipe is left to fill for as long; a stream that says something now and then is read at once.
const REST: Duration = Duration::from_micros(200);
/// What the pipe of such a program may hold, where we may have that: more than it says in the meantime.
const WIDE: usize = 4 * READ;

/// How long a line may be silent before it is written as far as it goes, and how long it may go on without being silent.
const SILENCE: Duration = Duration::from_millis(200);
const AT_LAST: Duration = Duration::from_secs(1);

/// A pipe, and when it is read next.
#[derive(Debug)]
pub struct Pump {
    pipe: OwnedFd,
    stream: Stream,
    /// How many bytes it can hold.
    capacity: usize,
    last_read: Option<Instant>,
    rests_until: Option<Instant>,
    /// When the line that has begun is written as far as it goes, and when at the latest.
    shows: Option<[Instant; 2]>,
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
        // It is no pipe if it has no size; then it is read as the smallest one is.
        let capacity = fcntl(&pipe, FcntlArg::F_GETPIPE_SZ).map_or(0, i32::unsigned_abs) as usize;
        Ok(Self { pipe, stream, capacity, last_read: None, rests_until: None, shows: None })
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
                let is_new = record(desk, log);
                let now = Instant::now();
                self.show_later(!desk.begun(self.stream).is_empty(), is_new, now);
                self.rest_after(length, now);
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

    /// When the line that has begun is to be [shown](Self::show).
    pub fn shows_at(&self) -> Option<Instant> {
        self.shows.map(|[silent, at_last]| silent.min(at_last))
    }

    /// Writes the line that has begun as far as it goes.
    pub fn show(&mut self, desk: &Desk, log: &mut Log) {
        self.shows = None;
        desk.show(self.stream, Timestamp::now());
        record(desk, log);
    }

    /// When it was read last.
    pub fn last_read(&self) -> Option<Instant> {
        self.last_read
    }

    /// Whether its pipe may hold more than pipes usually do.
    pub fn is_wide(&self) -> bool {
        self.capacity > READ
    }

    /// It is read as soon as there is something.
    pub fn rest_no_more(&mut self) {
        self.rests_until = None;
    }

    /// The stream has been quiet: it can do with what a pipe usually holds.
    pub fn narrow(&mut self) {
        self.resize(READ);
    }

    fn show_later(&mut self, has_begun: bool, is_new: bool, now: Instant) {
        let at_last = match self.shows {
            Some([_, at_last]) if !is_new => at_last,
            _ => now + AT_LAST,
        };
        self.shows = has_begun.then_some([now + SILENCE, at_last]);
    }

    fn rest_after(&mut self, length: usize, now: Instant) {
        let busy = self.last_read.is_some_and(|last| now.duration_since(last) < REST);
        if busy && self.capacity < WIDE {
            self.resize(WIDE);
        }
        // A read of a quarter of the pipe was no single line, and what writes so fast must not wait for us.
        self.rests_until = (busy && length < self.capacity / 4).then(|| now + REST);
        self.last_read = Some(now);
    }

    /// Where that is refused, because of what the user's other pipes hold, the pipe stays as it is.
    fn resize(&mut self, capacity: usize) {
        let wanted = i32::try_from(capacity).unwrap_or(i32::MAX);
        if let Ok(capacity) = fcntl(&self.pipe, FcntlArg::F_SETPIPE_SZ(wanted)) {
            self.capacity = capacity.unsigned_abs() as usize;
        }
    }
}

/// Writes what lies on the desk into the log. The same desk gives the same records, whoever does it and however often.
/// Returns whether a line has ended, so that what has begun is another one.
pub fn record(desk: &Desk, log: &mut Log) -> bool {
    let (stream, bytes) = (desk.stream(), desk.data());
    let (pen, begun) = (Pen::new(desk.time(), stream), desk.begun(stream));
    let (mut start, mut open) = (0, desk.is_open(stream));
    for newline in memchr_iter(b'\n', bytes) {
        let line = &bytes[start..newline];
        let line = if start == 0 { joined(begun, line) } else { Cow::Borrowed(line) };
        log.line(desk, &pen, &line);
        (start, open) = (newline + 1, false);
    }
    let rest = if start == 0 { joined(begun, bytes) } else { Cow::Borrowed(&bytes[start..]) };
    if desk.ends() {
        if open || !rest.is_empty() {
            log.line(desk, &pen, &rest);
        }
        log.flush(desk);
        desk.finish(stream, &[], false);
        return true;
    }
    // The last part is kept back even if it is full: only when more comes is it known not to be the line's end. What is
    // shown is told from it by being shorter.
    let (whole, longest) = match desk.shows() {
        true => (rest.len(), LONGEST_PART - 1),
        false => (rest.len().saturating_sub(1) / LONGEST_PART * LONGEST_PART, LONGEST_PART),
    };
    for part in rest[..whole].chunks(longest) {
        log.part(desk, &pen, part);
        open = true;
    }
    log.flush(desk);
    desk.finish(stream, &rest[whole..], open);
    start > 0
}

fn joined<'a>(begun: &'a [u8], rest: &'a [u8]) -> Cow<'a, [u8]> {
    if begun.is_empty() { Cow::Borrowed(rest) } else { Cow::Owned([begun, rest].concat()) }
}

impl AsFd for Pump {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Files, LogLimits};
    use std::fs::File;
    use std::io::Write;

    #[test]
    fn a_pipe_that_is_written_line_by_line_holds_more_until_its_writer_is_quiet() {
        let directory = tempfile::tempdir().unwrap();
        let limits = LogLimits { max_size: 1 << 20, max_files: 1 };
        let mut log = Log::open(Files::new(directory.path()), limits).unwrap();
        let desk = Desk::open(Desk::make().unwrap()).unwrap();
        let (read, write) = nix::unistd::pipe().unwrap();
        let capacity = |pipe: &File| fcntl(pipe, FcntlArg::F_GETPIPE_SZ).unwrap();
        let mut write = File::from(write);
        let usual = capacity(&write);
        let mut pump = Pump::new(read, Stream::Stdout).unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while capacity(&write) == usual {
            assert!(Instant::now() < deadline, "two reads never come close together");
            write.write_all(b"line\n").unwrap();
            pump.pump(&desk, &mut log);
        }
        assert!(pump.rests_until(Instant::now()).is_some());
        pump.narrow();
        assert_eq!(capacity(&write), usual);
    }
}
