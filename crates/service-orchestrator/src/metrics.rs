//! [`ServiceMetrics`]: the counters of one service, for `GET /metrics`.
//!
//! A counter starts at zero with the daemon and never decreases, so a lower value means a restart of the daemon. The
//! shims count the bytes of log output, so the count of a run continues when the daemon is replaced.

use service_core::Snapshot;
use service_core::service::State;
use service_host::report::CheckResult;
use service_shim::shared_buffer;
use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

/// The bounds for start durations, in seconds: from a small program to a database with recovery.
const STARTS: [f64; 10] = [0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];
/// The bounds for check durations, in seconds: from a process check to the longest usual timeout.
const CHECKS: [f64; 8] = [0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 5.0];

/// The counters of one service.
#[derive(Debug, Clone)]
pub struct ServiceMetrics {
    /// The starts by the restart policy.
    pub restarts: u64,
    /// The duration of each start, from its launch until it was ready or, for a one-shot, completed.
    pub starts: Histogram,
    /// The duration of each check.
    pub checks: Histogram,
    /// The number of failed checks.
    pub failed_checks: u64,
    /// The log output of former runs.
    former: Option<u64>,
    /// The shared buffer of the run, in which the shim counts its log output.
    buffer: Option<Arc<File>>,
}

/// A histogram of durations.
#[derive(Debug, Clone)]
pub struct Histogram {
    bounds: &'static [f64],
    counts: [u64; STARTS.len()],
    /// The number of values.
    pub number: u64,
    /// The sum of all values, in seconds.
    pub seconds: f64,
}

impl Default for ServiceMetrics {
    fn default() -> Self {
        let (starts, checks) = (Histogram::new(&STARTS), Histogram::new(&CHECKS));
        Self { restarts: 0, starts, checks, failed_checks: 0, former: None, buffer: None }
    }
}

impl ServiceMetrics {
    /// Records the changes of a turn.
    pub fn changed(&mut self, before: &Snapshot, after: &Snapshot) {
        // The count restarts from zero with each request for the service.
        self.restarts += u64::from(after.restarts.saturating_sub(before.restarts));
        let launched = match before.state {
            State::Launching { since } | State::Starting { since } if before.run == after.run => since,
            _ => return,
        };
        match after.state {
            State::Ready { launched, since } => self.starts.observe(since.since(launched)),
            State::Completed { at, .. } => self.starts.observe(at.since(launched)),
            _ => {}
        }
    }

    /// Records the result of a check.
    pub fn checked(&mut self, check: &CheckResult) {
        self.checks.observe(check.latency);
        self.failed_checks += u64::from(!check.healthy);
    }

    /// Sets the shared buffer of another run, which has begun or was adopted.
    pub fn counts_at(&mut self, buffer: Arc<File>) {
        self.settle();
        self.buffer = Some(buffer);
    }

    /// Adds the log output of an ended run, and releases its shared buffer.
    pub fn settle(&mut self) {
        (self.former, self.buffer) = (self.log_bytes(), None);
    }

    /// The log output in bytes; `None` if it is not counted.
    pub fn log_bytes(&self) -> Option<u64> {
        let now = self.buffer.as_deref().and_then(shared_buffer::bytes_written);
        (now.is_some() || self.former.is_some()).then(|| now.unwrap_or(0) + self.former.unwrap_or(0))
    }
}

impl Histogram {
    fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, counts: Default::default(), number: 0, seconds: 0.0 }
    }

    fn observe(&mut self, span: Duration) {
        let seconds = span.as_secs_f64();
        if let Some(first) = self.bounds.iter().position(|bound| seconds <= *bound) {
            self.counts[first] += 1;
        }
        self.number += 1;
        self.seconds += seconds;
    }

    /// Each bound, with the number of values up to it.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        let sums = self.counts.iter().scan(0, |sum, count| {
            *sum += count;
            Some(*sum)
        });
        self.bounds.iter().copied().zip(sums)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_all_that_is_at_most_its_bound() {
        let mut histogram = Histogram::new(&CHECKS);
        for millis in [1, 3, 100, 101, 60_000] {
            histogram.observe(Duration::from_millis(millis));
        }
        let buckets: Vec<(f64, u64)> = histogram.buckets().collect();
        assert_eq!(buckets[..5], [(0.001, 1), (0.005, 2), (0.025, 2), (0.1, 3), (0.5, 4)]);
        assert_eq!((buckets[7], histogram.number), ((5.0, 4), 5));
        assert!((histogram.seconds - 60.205).abs() < 1e-9);
    }

    #[test]
    fn what_former_runs_gave_the_log_is_kept_and_a_desk_without_a_count_adds_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let limits = service_shim::LogLimits { max_size: 1 << 20, max_files: 1 };
        let buffer = |bytes| {
            let memory = Arc::new(File::from(shared_buffer::SharedBuffer::create().unwrap()));
            let buffer = shared_buffer::SharedBuffer::open(&memory).unwrap();
            buffer.set_owner(directory.path(), limits);
            buffer.add_written(bytes);
            memory
        };
        let mut metrics = ServiceMetrics::default();
        assert_eq!(metrics.log_bytes(), None);
        metrics.counts_at(buffer(5));
        metrics.counts_at(buffer(7));
        assert_eq!(metrics.log_bytes(), Some(12));
        metrics.settle();
        metrics.counts_at(Arc::new(File::from(shared_buffer::SharedBuffer::create().unwrap())));
        assert_eq!(metrics.log_bytes(), Some(12));
    }
}
