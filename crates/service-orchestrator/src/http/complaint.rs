//! [`Complaint`]: what strangers can make us say as often as they like, said once in a while.

use crate::clock;
use service_core::Moment;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How long the same is not said again: a log that anybody can fill would fill the disk.
const PAUSE: Duration = Duration::from_mins(1);

/// A lock is right here: it is held for a comparison.
#[derive(Default)]
pub(super) struct Complaint(Mutex<(Option<Moment>, u64)>);

impl Complaint {
    /// Says it, with how often it happened since it was said last, unless that was a moment ago.
    pub(super) fn say(&self, words: impl FnOnce(u64)) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.1 += 1;
        let now = clock::now();
        if state.0.is_none_or(|last| now.since(last) >= PAUSE) {
            words(state.1);
            *state = (Some(now), 0);
        }
    }
}
