//! [`Stamps`]: a page in memory, into which each service writes when it began and when it listened. The bench reads the
//! same clock, so a figure contains neither the time of a message nor the delay of the bench.

use nix::time::{ClockId, clock_gettime};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The time limit for the stamps of all services.
const STAMP_TIMEOUT: Duration = Duration::from_mins(1);
/// The interval between two reads of the page, so that the bench uses little CPU time.
const LOOK_INTERVAL: Duration = Duration::from_millis(1);
/// The size of a slot, as in the payload: three numbers of eight bytes.
const SLOT_BYTES: usize = 24;

/// A moment of `CLOCK_MONOTONIC`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

impl Moment {
    pub(crate) fn now() -> Self {
        let time = Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC).expect("Linux has this clock"));
        Self(u64::try_from(time.as_nanos()).expect("the machine is not that old"))
    }

    pub(crate) fn milliseconds_since(self, begun: Self) -> f64 {
        self.0.saturating_sub(begun.0) as f64 / 1e6
    }
}

/// The data that a service has written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stamp {
    pub(crate) pid: u32,
    pub(crate) begun: Moment,
    pub(crate) listened: Option<Moment>,
}

pub(crate) struct Stamps {
    page: File,
    path: PathBuf,
}

impl Stamps {
    pub(crate) fn new(directory: &Path) -> Self {
        let path = directory.join("page");
        let page = File::options().read(true).write(true).create_new(true).open(&path);
        Self { page: page.expect("a directory of our own takes a file"), path }
    }

    /// The path of the page, an argument of the payload.
    pub(crate) fn path(&self) -> String {
        self.path.display().to_string()
    }

    /// Waits until the services of the first `count` slots are alive.
    pub(crate) fn alive(&self, count: usize) -> Vec<Stamp> {
        self.wait(0..count, |_| true)
    }

    /// Waits until the services of the first `count` slots listen.
    pub(crate) fn listening(&self, count: usize) -> Vec<Stamp> {
        self.wait(0..count, |stamp| stamp.listened.is_some())
    }

    /// Waits until another process than `former` is alive in a slot.
    pub(crate) fn next(&self, slot: usize, former: &Stamp) -> Stamp {
        self.wait(slot..slot + 1, |stamp| stamp.pid != former.pid && stamp.begun > former.begun)[0]
    }

    fn wait(&self, slots: std::ops::Range<usize>, arrived: impl Fn(&Stamp) -> bool) -> Vec<Stamp> {
        let deadline = Instant::now() + STAMP_TIMEOUT;
        let count = slots.len();
        loop {
            let stamps: Vec<Stamp> = self.read(slots.clone()).into_iter().filter(&arrived).collect();
            if stamps.len() == count {
                return stamps;
            }
            let missing = count - stamps.len();
            assert!(
                Instant::now() < deadline,
                "{missing} of {count} services are missing after {STAMP_TIMEOUT:?}"
            );
            std::thread::sleep(LOOK_INTERVAL);
        }
    }

    /// The page ends with the last slot that was written.
    fn read(&self, slots: std::ops::Range<usize>) -> Vec<Stamp> {
        let mut bytes = vec![0; slots.len() * SLOT_BYTES];
        let mut length = 0;
        while length < bytes.len() {
            let at = (slots.start * SLOT_BYTES + length) as u64;
            match self.page.read_at(&mut bytes[length..], at).expect("the page can be read") {
                0 => break,
                read => length += read,
            }
        }
        bytes.chunks_exact(SLOT_BYTES).filter_map(stamp).collect()
    }
}

fn stamp(slot: &[u8]) -> Option<Stamp> {
    let number = |nth: usize| {
        let bytes = slot[nth * 8..][..8].try_into().expect("a slot has three numbers");
        Some(u64::from_ne_bytes(bytes)).filter(|number| *number != 0)
    };
    Some(Stamp {
        begun: Moment(number(0)?),
        pid: u32::try_from(number(1)?).ok()?,
        listened: number(2).map(Moment),
    })
}
