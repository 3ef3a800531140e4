//! [`Subscription`]: where the past of the journal meets what happens now.

use super::checks::Checks;
use super::reader::Backlog;
use super::record::{EventRecord, LiveMessage};
use super::segment::SegmentSnapshot;
use std::sync::Arc;
use tokio::sync::broadcast;

/// The past as it is in the files, and what comes after it.
pub struct Subscription {
    pub(super) segments: SegmentSnapshot,
    pub(super) checks: Checks,
    /// Events that could not be written yet.
    pub(super) unwritten: Vec<Arc<EventRecord>>,
    /// The last number that was given; every later event comes by `live`.
    pub last: u64,
    /// Receives the events that are recorded from now on.
    pub live: broadcast::Receiver<LiveMessage>,
}

impl Subscription {
    /// The results of health checks.
    pub fn checks(&self) -> Checks {
        self.checks.clone()
    }

    /// What is kept of the past.
    pub fn past(&self) -> Backlog {
        Backlog::new(self.segments.clone(), self.unwritten.clone(), self.last)
    }
}
