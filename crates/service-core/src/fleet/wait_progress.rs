//! Progress towards a state without a request: reached, pending, or impossible.
//!
//! Unlike [`Fleet::start_progress`], it does not require that the state was requested.

use super::Fleet;
use super::progress::{Crash, Prospects};
use crate::config::Restart;
use crate::fleet::wait::{Blocker, Progress, WaitCondition};
use crate::plan::Id;
use crate::service::{Goal, State};

impl Fleet {
    /// The progress of a service towards a condition.
    pub fn wait_progress(&self, id: Id, until: WaitCondition) -> Progress {
        self.prospects().wait_progress(id, until)
    }
}

impl Prospects<'_> {
    /// The progress of a service towards a condition.
    pub fn wait_progress(&self, id: Id, until: WaitCondition) -> Progress {
        match until {
            WaitCondition::Ready => self.up(id, Crash::Passes),
            WaitCondition::Healthy => self.until_healthy(id),
            WaitCondition::Running => self.until_running(id),
            WaitCondition::Stopped => self.until_stopped(id),
            WaitCondition::Completed => self.until_completed(id),
        }
    }

    fn until_healthy(&self, id: Id) -> Progress {
        let machine = self.fleet.machine(id);
        match (machine.state(), self.up(id, Crash::Passes)) {
            (State::Ready { .. }, Progress::Done) if !machine.health().is_good() => Progress::Pending,
            (_, progress) => progress,
        }
    }

    fn until_running(&self, id: Id) -> Progress {
        let machine = self.fleet.machine(id);
        match (machine.state(), machine.goal()) {
            (State::Starting { .. } | State::Ready { .. }, _) => Progress::Done,
            (State::Completed { .. } | State::Failed { .. }, Goal::Up) => {
                Progress::Impossible(Blocker::Failed)
            }
            (State::Unknown { .. }, _) => Progress::Pending,
            (_, Goal::Down) => Progress::Impossible(Blocker::Superseded),
            (State::Stopped, Goal::Up) => self.blocked_by(id, Crash::Passes),
            _ => Progress::Pending,
        }
    }

    fn until_stopped(&self, id: Id) -> Progress {
        let machine = self.fleet.machine(id);
        match (machine.state(), machine.goal()) {
            (State::Completed { .. } | State::Failed { .. }, Goal::Up | Goal::Down)
            | (State::Stopped | State::Backoff { .. }, Goal::Down) => Progress::Done,
            _ => Progress::Pending,
        }
    }

    fn until_completed(&self, id: Id) -> Progress {
        let machine = self.fleet.machine(id);
        let definition = machine.definition();
        let endless =
            !definition.oneshot && matches!(definition.restart, Restart::Always | Restart::UnlessStopped);
        match (machine.state(), machine.goal()) {
            (State::Completed { exit, .. }, _) if exit.is_success() => Progress::Done,
            (State::Completed { .. } | State::Failed { .. }, _) => Progress::Impossible(Blocker::Failed),
            (State::Unknown { .. }, _) => Progress::Pending,
            (_, Goal::Down) => Progress::Impossible(Blocker::Superseded),
            _ if endless => Progress::Impossible(Blocker::RestartsForever),
            (State::Stopped, Goal::Up) => self.blocked_by(id, Crash::Passes),
            _ => Progress::Pending,
        }
    }
}
