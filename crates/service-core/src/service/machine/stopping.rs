//! A stop: the stop signal, and after `stop_timeout` SIGKILL, which is repeated until all processes have ended.

use super::Machine;
use crate::service::event::Effect;
use crate::service::state::{Cause, State};
use crate::time::Moment;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

/// The delay before another SIGKILL while processes are left.
const KILL_INTERVAL: Duration = Duration::from_secs(1);

impl Machine {
    /// Begins a stop.
    pub(super) fn stop(&mut self, cause: Cause, now: Moment) -> Vec<Effect> {
        let kill_at = now.plus(self.definition.stop_timeout);
        let was_ready = self.memory.state.ready();
        self.memory.state = State::Stopping { since: now, cause, was_ready, kill_at, kills: 0 };
        vec![Effect::Terminate]
    }

    /// Sends SIGKILL, and schedules the next one.
    pub(super) fn kill(
        &mut self,
        since: Moment,
        cause: Cause,
        was_ready: Option<Moment>,
        kills: u32,
        now: Moment,
    ) -> Vec<Effect> {
        let (kill_at, kills) = (now.plus(KILL_INTERVAL), kills.saturating_add(1));
        self.memory.state = State::Stopping { since, cause, was_ready, kill_at, kills };
        vec![Effect::Kill]
    }
}
