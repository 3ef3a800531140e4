//! Waiting without wishing: has a service come to a point, may it still, can it never?
//!
//! Unlike [`Fleet::start_progress`], which follows a wish, this one looks on: nobody need have asked for anything.

use super::progress::Crash;
use super::{Fleet, Obstacle, Progress, Prospects};
use crate::config::Restart;
use crate::plan::Id;
use crate::service::{Goal, State};

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Until {
    /// Dependents may go on; a one-shot has completed.
    #[default]
    Ready,
    /// It is ready and its checks pass, if it has any; a one-shot has completed.
    Healthy,
    /// It has a process.
    Running,
    /// Nothing of it runs, and nothing is about to.
    Stopped,
    /// It has ended with code 0.
    Completed,
}

impl Until {
    /// Each with its word.
    pub const ALL: [(&'static str, Self); 5] = [
        ("ready", Self::Ready),
        ("healthy", Self::Healthy),
        ("running", Self::Running),
        ("stopped", Self::Stopped),
        ("completed", Self::Completed),
    ];
}

impl Fleet {
    /// How far a service is from what is waited for.
    pub fn outlook(&self, id: Id, until: Until) -> Progress {
        self.prospects().outlook(id, until)
    }
}

impl Prospects<'_> {
    /// How far a service is from what is waited for.
    pub fn outlook(&self, id: Id, until: Until) -> Progress {
        match until {
            Until::Ready => self.up(id, Crash::Passes),
            Until::Healthy => self.until_healthy(id),
            Until::Running => self.until_running(id),
            Until::Stopped => self.until_stopped(id),
            Until::Completed => self.until_completed(id),
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
            (State::Completed { .. } | State::Failed { .. }, Goal::Up) => Progress::Never(Obstacle::Failed),
            (State::Unknown { .. }, _) => Progress::Pending,
            (_, Goal::Down) => Progress::Never(Obstacle::Countermanded),
            (State::Stopped, Goal::Up) => self.hindered(id, Crash::Passes),
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
            (State::Completed { .. } | State::Failed { .. }, _) => Progress::Never(Obstacle::Failed),
            (State::Unknown { .. }, _) => Progress::Pending,
            (_, Goal::Down) => Progress::Never(Obstacle::Countermanded),
            _ if endless => Progress::Never(Obstacle::Endless),
            (State::Stopped, Goal::Up) => self.hindered(id, Crash::Passes),
            _ => Progress::Pending,
        }
    }
}
