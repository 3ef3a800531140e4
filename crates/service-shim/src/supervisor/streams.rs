//! [`Streams`]: both output streams of a service, read in the order in which they were written.
//!
//! Two pipes do not show which was written first. But an edge-triggered `epoll` reports pipes in the order in which
//! they became readable. The pipes are read once each, in this order. While both streams have output, both pipes are
//! read often, because output that waits in both has no order.

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use service_shim::log::LogWriter;
use service_shim::pump::{Pump, ReadResult};
use service_shim::shared_buffer::{READ_BYTES, SharedBuffer};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

/// The maximum size of a read that does not need its memory freed.
const SMALL_READ_BYTES: usize = 4096;
/// If both streams were read within this time, their output is treated as interleaved.
const INTERLEAVE_WINDOW: Duration = Duration::from_millis(50);
/// The maximum number of reads of each pipe after an exit. A process outside of the tree may hold the pipe and write
/// without end.
const MAX_FINAL_READS: usize = 64;

/// The pipes that have not ended.
pub(crate) struct Streams {
    pumps: [Option<Pump>; 2],
    arrivals: Epoll,
    /// The pipes that hold more than was read and that `epoll` will not report again.
    more: Vec<usize>,
}

/// Whether a read used so much memory that it should be freed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Used {
    Little,
    Much,
}

impl Streams {
    pub(crate) fn new(pumps: [Pump; 2]) -> nix::Result<Self> {
        let arrivals = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        for (stream, pump) in (0..).zip(&pumps) {
            arrivals.add(pump, EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, stream))?;
        }
        Ok(Self { pumps: pumps.map(Some), arrivals, more: Vec::new() })
    }

    /// The descriptor that becomes readable when there is output; `None` while no output is to be read.
    pub(super) fn watched(&self, now: Instant) -> Option<BorrowedFd<'_>> {
        let none = self.pumps.iter().all(Option::is_none) || self.paused_until(now).is_some();
        (!none).then(|| self.arrivals.0.as_fd())
    }

    /// The next deadline of a pause or of an unfinished line.
    pub(super) fn next_due(&self, now: Instant) -> Option<Instant> {
        let partials = self.pumps.iter().flatten().filter_map(Pump::partial_due).min();
        let reads = match self.paused_until(now) {
            None if !self.more.is_empty() => Some(now),
            paused => paused,
        };
        partials.into_iter().chain(reads).min()
    }

    fn paused_until(&self, now: Instant) -> Option<Instant> {
        self.pumps.iter().flatten().filter_map(|pump| pump.paused_until(now)).max()
    }

    /// Reads each readable pipe once, in the order in which they became readable.
    pub(super) fn read(&mut self, shared_buffer: &SharedBuffer, log: &mut LogWriter) -> Used {
        if self.paused_until(Instant::now()).is_some() {
            return Used::Little;
        }
        let mut used = Used::Little;
        for (stream, is_last) in self.arrived() {
            used = self.read_one(stream, is_last, shared_buffer, log).unwrap_or(used);
        }
        let reads = self.pumps.each_ref().map(|pump| pump.as_ref().and_then(Pump::last_read));
        if let [Some(one), Some(other)] = reads
            && one.max(other) - one.min(other) < INTERLEAVE_WINDOW
        {
            self.pumps.iter_mut().flatten().for_each(Pump::resume);
        }
        used
    }

    /// The readable pipes in the order in which they became readable, each with whether it was closed.
    fn arrived(&mut self) -> Vec<(usize, bool)> {
        let mut arrived: Vec<_> =
            std::mem::take(&mut self.more).into_iter().map(|stream| (stream, true)).collect();
        let mut events = [EpollEvent::empty(); 2];
        let count = self.arrivals.wait(&mut events, EpollTimeout::ZERO).unwrap_or_default();
        for event in &events[..count] {
            let stream = usize::from(event.data() == 1);
            let hung_up = event.events().intersects(EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR);
            match arrived.iter_mut().find(|(known, _)| *known == stream) {
                Some(known) => known.1 |= hung_up,
                None => arrived.push((stream, hung_up)),
            }
        }
        arrived
    }

    /// Reads once. Records the pipe if it may hold more output that `epoll` will not report.
    fn read_one(
        &mut self,
        stream: usize,
        is_last: bool,
        shared_buffer: &SharedBuffer,
        log: &mut LogWriter,
    ) -> Option<Used> {
        let pump = self.pumps[stream].as_mut()?;
        match pump.read(shared_buffer, log) {
            ReadResult::Bytes(length) => {
                if is_last || length == READ_BYTES {
                    self.more.push(stream);
                }
                (length > SMALL_READ_BYTES || pump.is_large()).then_some(Used::Much)
            }
            ReadResult::Empty => None,
            ReadResult::Ended => {
                pump.finish(shared_buffer, log);
                self.pumps[stream] = None;
                None
            }
        }
    }

    /// Reads the rest of the pipes after an exit.
    pub(super) fn drain(&mut self, shared_buffer: &SharedBuffer, log: &mut LogWriter) {
        let first = self.arrived();
        let all = first.iter().map(|(stream, _)| *stream);
        let all: Vec<_> =
            all.chain((0..2).filter(|stream| first.iter().all(|(one, _)| one != stream))).collect();
        for stream in all {
            for _ in 0..MAX_FINAL_READS {
                let Some(pump) = &mut self.pumps[stream] else { break };
                match pump.read(shared_buffer, log) {
                    ReadResult::Bytes(_) => {}
                    ReadResult::Empty => break,
                    ReadResult::Ended => {
                        pump.finish(shared_buffer, log);
                        self.pumps[stream] = None;
                    }
                }
            }
        }
    }

    /// Writes unfinished lines as complete lines.
    pub(super) fn finish(&mut self, shared_buffer: &SharedBuffer, log: &mut LogWriter) {
        for mut pump in self.pumps.iter_mut().filter_map(Option::take) {
            pump.finish(shared_buffer, log);
        }
    }

    /// Writes the unfinished lines that are due.
    pub(super) fn flush_partials_if_due(&mut self, shared_buffer: &SharedBuffer, log: &mut LogWriter) {
        let now = Instant::now();
        for pump in self.pumps.iter_mut().flatten() {
            if pump.partial_due().is_some_and(|at| at <= now) {
                pump.flush_partial(shared_buffer, log);
            }
        }
    }

    /// Shrinks the pipes after an idle time.
    pub(super) fn shrink(&mut self) {
        self.pumps.iter_mut().flatten().for_each(Pump::shrink);
    }

    pub(super) fn pumps(&self) -> &[Option<Pump>; 2] {
        &self.pumps
    }
}
