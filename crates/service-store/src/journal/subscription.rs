//! [`Subscription`]: past events of the journal, continued by live ones.

use super::checks::Checks;
use super::reader::Backlog;
use super::record::{EventRecord, LiveMessage};
use super::segment::SegmentSnapshot;
use std::sync::Arc;
use tokio::sync::broadcast;

/// Past events in the files, and later events.
pub struct Subscription {
    pub(super) segments: SegmentSnapshot,
    pub(super) checks: Checks,
    /// The events that are not yet written.
    pub(super) unwritten: Vec<Arc<EventRecord>>,
    /// The last assigned number. Every later event arrives over `live`.
    pub last: u64,
    /// Receives the events that are recorded from now on.
    pub live: broadcast::Receiver<LiveMessage>,
}

impl Subscription {
    /// The results of health checks.
    pub fn checks(&self) -> Checks {
        self.checks.clone()
    }

    /// The retained past events.
    pub fn past(&self) -> Backlog {
        Backlog::new(self.segments.clone(), self.unwritten.clone(), self.last)
    }
}
