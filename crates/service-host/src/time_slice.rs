//! [`TimeSlice`]: makes the owner task yield the thread of the runtime after a millisecond of work.

use crate::clock;
use service_core::Moment;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The maximum time for which the engine blocks the thread while other tasks wait.
pub const MAX_SLICE: Duration = Duration::from_millis(1);

/// Measures the spans in which the engine blocks the shared thread.
#[derive(Debug, Default)]
pub struct LoopMetrics {
    number: AtomicU64,
    longest: AtomicU64,
    total: AtomicU64,
}

impl LoopMetrics {
    /// Records one span.
    pub fn record(&self, span: Duration) {
        let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        self.number.fetch_add(1, Ordering::Relaxed);
        self.longest.fetch_max(nanos, Ordering::Relaxed);
        self.total.fetch_add(nanos, Ordering::Relaxed);
    }

    /// The number of spans.
    pub fn number(&self) -> u64 {
        self.number.load(Ordering::Relaxed)
    }

    /// The longest span, and the sum of all spans.
    pub fn spans(&self) -> [Duration; 2] {
        [&self.longest, &self.total].map(|nanos| Duration::from_nanos(nanos.load(Ordering::Relaxed)))
    }
}

/// The time since the last yield. A long turn is divided into slices.
pub struct TimeSlice {
    since: Moment,
    turns: Arc<LoopMetrics>,
}

impl TimeSlice {
    /// A slice that begins now and counts its turns in these metrics.
    pub fn new(turns: Arc<LoopMetrics>) -> Self {
        Self { since: clock::now(), turns }
    }

    /// Begins a slice: the engine occupies the thread.
    pub fn begin(&mut self) {
        self.since = clock::now();
    }

    /// Ends a slice: the engine releases the thread.
    pub fn end(&self) {
        self.turns.record(clock::now().since(self.since));
    }

    /// Yields to other tasks at the end of a slice. No input of the engine is handled meanwhile.
    pub async fn yield_if_spent(&mut self) {
        if clock::now().since(self.since) >= MAX_SLICE {
            self.release_while(tokio::task::yield_now()).await;
        }
    }

    /// Yields to other tasks until the work is done.
    pub async fn release_while<T>(&mut self, work: impl Future<Output = T>) -> T {
        self.end();
        let done = work.await;
        self.begin();
        done
    }
}
