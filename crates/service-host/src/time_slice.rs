//! [`TimeSlice`]: the owner of the fleet yields the thread of the runtime after a millisecond of work.

use crate::clock;
use service_core::Moment;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long the owner may keep the thread while others wait for it.
const SLICE: Duration = Duration::from_millis(1);

/// How long the owner of the fleet kept the thread that everybody is answered on.
#[derive(Debug, Default)]
pub struct LoopMetrics {
    number: AtomicU64,
    longest: AtomicU64,
    total: AtomicU64,
}

impl LoopMetrics {
    /// Notes one.
    pub fn took(&self, span: Duration) {
        let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        self.number.fetch_add(1, Ordering::Relaxed);
        self.longest.fetch_max(nanos, Ordering::Relaxed);
        self.total.fetch_add(nanos, Ordering::Relaxed);
    }

    /// How many there were.
    pub fn number(&self) -> u64 {
        self.number.load(Ordering::Relaxed)
    }

    /// The longest, and all together.
    pub fn spans(&self) -> [Duration; 2] {
        [&self.longest, &self.total].map(|nanos| Duration::from_nanos(nanos.load(Ordering::Relaxed)))
    }
}

/// How long the thread has been ours: a turn in which there is much to do is taken in pieces.
pub struct TimeSlice {
    since: Moment,
    turns: Arc<LoopMetrics>,
}

impl TimeSlice {
    /// A slice that begins now and counts its turns in these metrics.
    pub fn new(turns: Arc<LoopMetrics>) -> Self {
        Self { since: clock::now(), turns }
    }

    /// The thread is ours again.
    pub fn begin(&mut self) {
        self.since = clock::now();
    }

    /// The thread is given back.
    pub fn end(&self) {
        self.turns.took(clock::now().since(self.since));
    }

    /// Lets others have the thread, after a while. No letter is taken meanwhile.
    pub async fn yield_if_spent(&mut self) {
        if clock::now().since(self.since) >= SLICE {
            self.release_while(tokio::task::yield_now()).await;
        }
    }

    /// Lets others have the thread until this is done.
    pub async fn release_while<T>(&mut self, work: impl Future<Output = T>) -> T {
        self.end();
        let done = work.await;
        self.begin();
        done
    }
}
