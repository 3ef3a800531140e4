//! External starts: the manager of an inactive service is queried, because the service may have been started
//! externally.
//!
//! A service that is found running gets a new run, and is shown. Its goal does not change: with goal up the run is
//! supervised like any other, otherwise it is unmanaged. An unmanaged service is neither stopped nor restarted until a
//! request adopts it.

use super::{Machine, Probing};
use crate::health::Tracker;
use crate::service::event::{Effect, Presence};
use crate::service::persisted::StartedBy;
use crate::service::restart::RestartHistory;
use crate::service::state::{Goal, State};
use crate::time::Moment;
use alloc::vec;
use alloc::vec::Vec;

impl Machine {
    /// Whether the service was started externally and has goal down.
    pub fn is_unmanaged(&self) -> bool {
        self.memory.starter == StartedBy::External
            && self.memory.goal == Goal::Down
            && self.memory.state.is_active()
    }

    /// The origin of the present run.
    pub fn starter(&self) -> StartedBy {
        self.memory.starter
    }

    /// Schedules the next check of an inactive service.
    pub(super) fn schedule_presence_check(&mut self, at: Moment) {
        let may_be = self.definition.may_start_externally();
        self.probing = if may_be { Probing::Due(at) } else { Probing::Off };
    }

    /// Adjusts the presence checks to a new definition, which may have another manager.
    pub(super) fn redefined_at_rest(&mut self) {
        match (&self.probing, self.definition.may_start_externally()) {
            (Probing::Off, true) => self.schedule_presence_check(Moment::default()),
            (Probing::Due(_) | Probing::InFlight | Probing::Stale, false) => self.probing = Probing::Off,
            (Probing::Off, false) | (Probing::Due(_) | Probing::InFlight | Probing::Stale, true) => {}
        }
    }

    pub(super) fn check_presence(&mut self, now: Moment) -> Vec<Effect> {
        match self.probing {
            Probing::Due(at) if now >= at => {
                self.probing = Probing::InFlight;
                vec![Effect::CheckPresence]
            }
            _ => Vec::new(),
        }
    }

    pub(super) fn handle_presence(&mut self, presence: Presence, now: Moment) -> Vec<Effect> {
        match presence {
            Presence::Absent => {
                self.schedule_presence_check(now.plus(self.definition.health.interval));
                Vec::new()
            }
            Presence::Running => self.adopt_external(now),
        }
    }

    /// Adopts a running service. Failures of earlier runs are obsolete.
    fn adopt_external(&mut self, now: Moment) -> Vec<Effect> {
        self.memory.run += 1;
        self.memory.starter = StartedBy::External;
        self.memory.tracker = Tracker::pending();
        self.memory.backoff = RestartHistory::default();
        self.memory.restarts = 0;
        if self.definition.oneshot {
            // A one-shot is ready when it has completed its work.
            self.memory.state = State::Starting { since: now };
            self.probing = Probing::Due(now);
            return Vec::new();
        }
        self.ready(now, now)
    }
}
