//! [`Probing`]: the schedule of checks, and the effect of a changed definition on a run.

use super::{Machine, Probing};
use crate::config::Service;
use crate::health::{Health, Tracker};
use crate::service::event::Effect;
use crate::service::state::State;
use crate::time::Moment;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

impl Machine {
    /// Sets a definition that differs from the present run's only in live keys. A running start keeps its former
    /// conditions.
    pub fn update(&mut self, definition: &Arc<Service>, now: Moment) {
        let starting = matches!(self.memory.state, State::Launching { .. } | State::Starting { .. });
        if starting && self.definition.readiness() != definition.readiness() {
            return;
        }
        let has_new_check = self.has_new_check(definition);
        self.definition = Arc::clone(definition);
        let is_ready = matches!(self.memory.state, State::Ready { .. });
        match self.probing {
            Probing::InFlight if has_new_check || !definition.is_probed() => self.probing = Probing::Stale,
            Probing::InFlight | Probing::Stale => {}
            Probing::Off | Probing::Due(_) if is_ready => self.probing = self.next_check(now),
            Probing::Off | Probing::Due(_) => {}
        }
        match is_ready {
            true if has_new_check => self.memory.tracker = self.memory.tracker.reset(),
            true if !definition.is_probed() => self.memory.tracker = Tracker::alive(),
            _ => {}
        }
    }

    /// Whether the health under this definition is unknown, because the check has changed.
    pub fn has_new_check(&self, definition: &Service) -> bool {
        self.memory.state.is_active()
            && definition.endpoint.is_some()
            && !definition.same_probe(&self.definition)
    }

    /// Begins the checks of a run. A service without an endpoint is only known to be alive.
    pub(super) fn watch(&mut self, now: Moment) {
        if !self.definition.is_probed() {
            self.memory.tracker = Tracker::alive();
        } else if self.memory.tracker.health() == Health::Healthy {
            self.probing = Probing::Due(now.plus(self.definition.health.interval));
        } else {
            self.memory.tracker = Tracker::pending();
            self.probing = Probing::Due(now);
        }
    }

    pub(super) fn next_check(&self, at: Moment) -> Probing {
        if self.definition.is_probed() { Probing::Due(at) } else { Probing::Off }
    }

    /// Requests the next check. If a check is in flight, its result may be too old, so the check is repeated.
    pub(super) fn probe_now(&mut self) -> Vec<Effect> {
        match self.probing {
            Probing::Due(_) => self.probe(),
            Probing::InFlight => {
                self.probing = Probing::Stale;
                Vec::new()
            }
            Probing::Off | Probing::Stale => Vec::new(),
        }
    }

    pub(super) fn probe(&mut self) -> Vec<Effect> {
        self.probing = Probing::InFlight;
        vec![Effect::Probe]
    }
}
