//! [`Pump`]: moves one output stream of the service from its pipe through the [`SharedBuffer`] into the log.

use crate::cri::{MAX_PART_BYTES, RecordWriter, Stream};
use crate::log::LogWriter;
use crate::shared_buffer::{READ_BYTES, SharedBuffer};
use jiff::Timestamp;
use memchr::memchr_iter;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use std::borrow::Cow;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// The pause after two reads in quick succession. Without the pause, a program that writes line by line would wake the
/// shim for each line, and wait for it each time. A stream with occasional output is read at once.
const COALESCE_DELAY: Duration = Duration::from_micros(200);
/// The pipe size for a program that writes quickly, if the kernel allows it: more than the program writes during a
/// pause.
const LARGE_PIPE_BYTES: usize = 4 * READ_BYTES;

/// The idle time after which an unfinished line is written to the log, and the maximum delay of a line that is never
/// idle.
const PARTIAL_IDLE_DELAY: Duration = Duration::from_millis(200);
const PARTIAL_MAX_DELAY: Duration = Duration::from_secs(1);

/// A pipe, and when it is read next.
#[derive(Debug)]
pub struct Pump {
    pipe: OwnedFd,
    stream: Stream,
    /// The size of the pipe in bytes.
    capacity: usize,
    last_read: Option<Instant>,
    paused_until: Option<Instant>,
    /// When the unfinished line is written: after an idle time, and at the latest.
    partial_deadlines: Option<[Instant; 2]>,
}

/// The result of one read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadResult {
    /// This many bytes were read; there may be more.
    Bytes(usize),
    /// The pipe is empty.
    Empty,
    /// The stream has ended.
    Ended,
}

impl Pump {
    /// A pump for this pipe.
    pub fn new(pipe: OwnedFd, stream: Stream) -> nix::Result<Self> {
        fcntl(&pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        // A descriptor without a pipe size is not a pipe, and is treated like the smallest pipe.
        let capacity = fcntl(&pipe, FcntlArg::F_GETPIPE_SZ).map_or(0, i32::unsigned_abs) as usize;
        Ok(Self { pipe, stream, capacity, last_read: None, paused_until: None, partial_deadlines: None })
    }

    /// The end of the current pause; `None` if there is none.
    pub fn paused_until(&self, now: Instant) -> Option<Instant> {
        self.paused_until.filter(|&until| now < until)
    }

    /// Reads once.
    pub fn read(&mut self, shared_buffer: &SharedBuffer, log: &mut LogWriter) -> ReadResult {
        match shared_buffer.read(&self.pipe, self.stream) {
            Ok(0) => ReadResult::Ended,
            Ok(length) => {
                shared_buffer.begin_write(self.stream, length, false, Timestamp::now());
                let is_new = write_records(shared_buffer, log);
                let now = Instant::now();
                self.schedule_partial(!shared_buffer.partial_line(self.stream).is_empty(), is_new, now);
                self.pause_after(length, now);
                ReadResult::Bytes(length)
            }
            Err(Errno::EAGAIN | Errno::EINTR) => ReadResult::Empty,
            Err(_) => ReadResult::Ended,
        }
    }

    /// Ends the stream: its unfinished line becomes a complete line.
    pub fn finish(&mut self, shared_buffer: &SharedBuffer, log: &mut LogWriter) {
        shared_buffer.begin_write(self.stream, 0, true, Timestamp::now());
        write_records(shared_buffer, log);
    }

    /// When the unfinished line is due for [`flush_partial`](Self::flush_partial).
    pub fn partial_due(&self) -> Option<Instant> {
        self.partial_deadlines.map(|[silent, at_last]| silent.min(at_last))
    }

    /// Writes the present text of the unfinished line.
    pub fn flush_partial(&mut self, shared_buffer: &SharedBuffer, log: &mut LogWriter) {
        self.partial_deadlines = None;
        shared_buffer.begin_partial(self.stream, Timestamp::now());
        write_records(shared_buffer, log);
    }

    /// The time of the last read.
    pub fn last_read(&self) -> Option<Instant> {
        self.last_read
    }

    /// Whether the pipe is larger than usual.
    pub fn is_large(&self) -> bool {
        self.capacity > READ_BYTES
    }

    /// Ends the pause.
    pub fn resume(&mut self) {
        self.paused_until = None;
    }

    /// Shrinks the pipe to the usual size.
    pub fn shrink(&mut self) {
        self.resize(READ_BYTES);
    }

    fn schedule_partial(&mut self, has_begun: bool, is_new: bool, now: Instant) {
        let at_last = match self.partial_deadlines {
            Some([_, at_last]) if !is_new => at_last,
            _ => now + PARTIAL_MAX_DELAY,
        };
        self.partial_deadlines = has_begun.then_some([now + PARTIAL_IDLE_DELAY, at_last]);
    }

    fn pause_after(&mut self, length: usize, now: Instant) {
        let busy = self.last_read.is_some_and(|last| now.duration_since(last) < COALESCE_DELAY);
        if busy && self.capacity < LARGE_PIPE_BYTES {
            self.resize(LARGE_PIPE_BYTES);
        }
        // A program that fills a quarter of the pipe between two reads must not wait for the shim.
        self.paused_until = (busy && length < self.capacity / 4).then(|| now + COALESCE_DELAY);
        self.last_read = Some(now);
    }

    /// Resizes the pipe. If the kernel refuses, because of the user's other pipes, the pipe keeps its size.
    fn resize(&mut self, capacity: usize) {
        let wanted = i32::try_from(capacity).unwrap_or(i32::MAX);
        if let Ok(capacity) = fcntl(&self.pipe, FcntlArg::F_SETPIPE_SZ(wanted)) {
            self.capacity = capacity.unsigned_abs() as usize;
        }
    }
}

/// Writes the last read into the log. A shared buffer always yields the same records, in any process. Returns whether a
/// line has ended.
pub fn write_records(shared_buffer: &SharedBuffer, log: &mut LogWriter) -> bool {
    let (stream, bytes) = (shared_buffer.stream(), shared_buffer.data());
    let (writer, begun) =
        (RecordWriter::new(shared_buffer.time(), stream), shared_buffer.partial_line(stream));
    let (mut start, mut open) = (0, shared_buffer.is_open(stream));
    for newline in memchr_iter(b'\n', bytes) {
        let line = &bytes[start..newline];
        let line = if start == 0 { join(begun, line) } else { Cow::Borrowed(line) };
        log.write_line(shared_buffer, &writer, &line);
        (start, open) = (newline + 1, false);
    }
    let rest = if start == 0 { join(begun, bytes) } else { Cow::Borrowed(&bytes[start..]) };
    if shared_buffer.has_ended() {
        if open || !rest.is_empty() {
            log.write_line(shared_buffer, &writer, &rest);
        }
        log.flush(shared_buffer);
        shared_buffer.finish(stream, &[], false);
        return true;
    }
    // The last part is kept back even if it is full, because it may be the end of the line. A part that is written
    // early is shorter than a full one.
    let (whole, longest) = match shared_buffer.writes_partial() {
        true => (rest.len(), MAX_PART_BYTES - 1),
        false => (rest.len().saturating_sub(1) / MAX_PART_BYTES * MAX_PART_BYTES, MAX_PART_BYTES),
    };
    for part in rest[..whole].chunks(longest) {
        log.write_part(shared_buffer, &writer, part);
        open = true;
    }
    log.flush(shared_buffer);
    shared_buffer.finish(stream, &rest[whole..], open);
    start > 0
}

fn join<'a>(begun: &'a [u8], rest: &'a [u8]) -> Cow<'a, [u8]> {
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
        let mut log = LogWriter::open(Files::new(directory.path()), limits).unwrap();
        let shared_buffer = SharedBuffer::open(SharedBuffer::create().unwrap()).unwrap();
        let (read, write) = nix::unistd::pipe().unwrap();
        let capacity = |pipe: &File| fcntl(pipe, FcntlArg::F_GETPIPE_SZ).unwrap();
        let mut write = File::from(write);
        let usual = capacity(&write);
        let mut pump = Pump::new(read, Stream::Stdout).unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while capacity(&write) == usual {
            assert!(Instant::now() < deadline, "no two reads in quick succession");
            write.write_all(b"line\n").unwrap();
            pump.read(&shared_buffer, &mut log);
        }
        assert!(pump.paused_until(Instant::now()).is_some());
        pump.shrink();
        assert_eq!(capacity(&write), usual);
    }
}
