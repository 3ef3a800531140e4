//! What a service says of itself: that it is ready, in its log or on its socket, and how it is.

use super::Keeper;
use crate::notify::{Notify, Words};
use std::time::{Duration, Instant};

/// How often at most it is told what a service says of itself.
const SAY_AGAIN: Duration = Duration::from_millis(100);

impl Keeper {
    pub(super) fn hear_log(&mut self) {
        if self.log.is_heard() && !self.record.notified {
            self.record.notified = true;
            self.changed();
        }
    }

    pub(super) fn hear_service(&mut self) {
        let Words { ready, status, extended_to } = self.notify.as_ref().map(Notify::hear).unwrap_or_default();
        let said = &mut self.record.said;
        let before = said.clone();
        said.status =
            status.map_or(said.status.take(), |status| Some(status).filter(|status| !status.is_empty()));
        said.extended_to = extended_to.or(said.extended_to);
        if *said != before && self.say_at.is_none() {
            // A service may say how it is as often as it likes.
            let now = Instant::now();
            self.say_at = Some(self.said_last.map_or(now, |last| now.max(last + SAY_AGAIN)));
        }
        if ready && !self.record.notified {
            self.record.notified = true;
            self.changed();
        }
    }

    pub(super) fn say_if_due(&mut self) {
        let now = Instant::now();
        if self.say_at.is_some_and(|at| at <= now) {
            (self.say_at, self.said_last) = (None, Some(now));
            self.changed();
        }
    }
}
