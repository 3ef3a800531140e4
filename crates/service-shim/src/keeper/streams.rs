//! [`Streams`]: both streams of a service's output, read in the order in which they came.
//!
//! Two pipes do not tell which of them was written first; that they are two is what tells the streams apart. But the kernel
//! queues the pipes of an edge-triggered `epoll` in the order in which each ceased to be empty. So the one that woke us first is
//! read first, and once, and then the other. While both are written to, none is left to fill: what lies in them together
//! has no order any more.

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use service_shim::desk::{Desk, READ};
use service_shim::log::Log;
use service_shim::pump::{Pump, Yield};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

/// A read of this much leaves no memory behind that is worth giving back.
const FEW: usize = 4096;
/// Streams that were both read within this time are written to together.
const TOGETHER: Duration = Duration::from_millis(50);
/// After an end, at most this many reads of each pipe: someone outside the tree could hold it and go on writing.
const LAST_READS: usize = 64;

/// The pipes that have not ended.
pub(crate) struct Streams {
    pumps: [Option<Pump>; 2],
    arrivals: Epoll,
    /// Those that have more to give than was read, without another word of the kernel's.
    more: Vec<usize>,
}

/// Whether memory was used that is worth giving back.
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

    /// What becomes readable when there is output; `None` while none is to be read.
    pub(super) fn watched(&self, now: Instant) -> Option<BorrowedFd<'_>> {
        let none = self.pumps.iter().all(Option::is_none) || self.rests_until(now).is_some();
        (!none).then(|| self.arrivals.0.as_fd())
    }

    /// When something is due although nothing comes.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        let shows = self.pumps.iter().flatten().filter_map(Pump::shows_at).min();
        let reads = match self.rests_until(now) {
            None if !self.more.is_empty() => Some(now),
            rests => rests,
        };
        shows.into_iter().chain(reads).min()
    }

    fn rests_until(&self, now: Instant) -> Option<Instant> {
        self.pumps.iter().flatten().filter_map(|pump| pump.rests_until(now)).max()
    }

    /// Reads each pipe that has something once, the first first.
    pub(super) fn read(&mut self, desk: &Desk, log: &mut Log) -> Used {
        if self.rests_until(Instant::now()).is_some() {
            return Used::Little;
        }
        let mut used = Used::Little;
        for (stream, is_last) in self.arrived() {
            used = self.read_one(stream, is_last, desk, log).unwrap_or(used);
        }
        let reads = self.pumps.each_ref().map(|pump| pump.as_ref().and_then(Pump::last_read));
        if let [Some(one), Some(other)] = reads
            && one.max(other) - one.min(other) < TOGETHER
        {
            self.pumps.iter_mut().flatten().for_each(Pump::rest_no_more);
        }
        used
    }

    /// Those that have something, in the order in which it came, and whether their end came too.
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

    /// Reads once. If there may be more, of which the kernel will say nothing, it is remembered.
    fn read_one(&mut self, stream: usize, is_last: bool, desk: &Desk, log: &mut Log) -> Option<Used> {
        let pump = self.pumps[stream].as_mut()?;
        match pump.pump(desk, log) {
            Yield::Bytes(length) => {
                if is_last || length == READ {
                    self.more.push(stream);
                }
                (length > FEW || pump.is_wide()).then_some(Used::Much)
            }
            Yield::Empty => None,
            Yield::Ended => {
                pump.finish(desk, log);
                self.pumps[stream] = None;
                None
            }
        }
    }

    /// Reads what is there, after an end.
    pub(super) fn empty(&mut self, desk: &Desk, log: &mut Log) {
        let first = self.arrived();
        let all = first.iter().map(|(stream, _)| *stream);
        let all: Vec<_> =
            all.chain((0..2).filter(|stream| first.iter().all(|(one, _)| one != stream))).collect();
        for stream in all {
            for _ in 0..LAST_READS {
                let Some(pump) = &mut self.pumps[stream] else { break };
                match pump.pump(desk, log) {
                    Yield::Bytes(_) => {}
                    Yield::Empty => break,
                    Yield::Ended => {
                        pump.finish(desk, log);
                        self.pumps[stream] = None;
                    }
                }
            }
        }
    }

    /// What has begun is a line, although nothing ends it.
    pub(super) fn finish(&mut self, desk: &Desk, log: &mut Log) {
        for mut pump in self.pumps.iter_mut().filter_map(Option::take) {
            pump.finish(desk, log);
        }
    }

    /// Writes lines that have been silent for a while as far as they go.
    pub(super) fn show_if_due(&mut self, desk: &Desk, log: &mut Log) {
        let now = Instant::now();
        for pump in self.pumps.iter_mut().flatten() {
            if pump.shows_at().is_some_and(|at| at <= now) {
                pump.show(desk, log);
            }
        }
    }

    /// They have been quiet.
    pub(super) fn narrow(&mut self) {
        self.pumps.iter_mut().flatten().for_each(Pump::narrow);
    }

    pub(super) fn pumps(&self) -> &[Option<Pump>; 2] {
        &self.pumps
    }
}
