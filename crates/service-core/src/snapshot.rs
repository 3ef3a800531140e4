//! [`Snapshot`]: how one service looks from outside, in the words that users see.

use crate::config::{Condition, Manager, word};
use crate::fleet::Fleet;
use crate::health::Health;
use crate::plan::{Id, Need};
use crate::service::{Cause, Exit, Goal, Starter, State};
use crate::time::Moment;
use alloc::format;
use alloc::string::{String, ToString};

/// One service as it is now. Whatever needs the world (pid, memory, wall clock) is added by the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The service.
    pub id: Id,
    /// What is wanted.
    pub goal: Goal,
    /// Where it is.
    pub state: State,
    /// How it is.
    pub health: Health,
    /// The coarse word.
    pub status: Status,
    /// Number of its last run.
    pub run: u64,
    /// When the process of this run was launched, while there is one.
    pub launched: Option<Moment>,
    /// Who started that run.
    pub starter: Starter,
    /// How the last run ended; `None` where the last try was none.
    pub last_exit: Option<Exit>,
    /// How often it was started again by its policy since it was last asked for.
    pub restarts: u32,
    /// Why it is where it is, where the state alone does not say.
    pub reason: Option<String>,
    /// What it waits for, if it is wanted and may not start yet.
    pub waits_for: Option<Need>,
}

/// The guide's coarse word for the state of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It has a process, or its manager says that it runs.
    Running,
    /// It has none, and that is all right.
    Stopped,
    /// It has none, and that is not all right.
    Failed,
    /// There is no way to tell.
    Unknown,
}

impl Status {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }
}

impl Snapshot {
    pub(crate) fn of(fleet: &Fleet, id: Id) -> Self {
        let machine = fleet.machine(id);
        let memory = machine.memory();
        Self {
            id,
            goal: memory.goal,
            state: memory.state.clone(),
            health: machine.health(),
            status: status(fleet, id),
            run: memory.run,
            launched: memory.state.launched(),
            starter: memory.starter,
            last_exit: memory.last_exit.filter(|_| !memory.state.is_refused()),
            restarts: memory.restarts,
            reason: reason(fleet, id),
            waits_for: match memory.state {
                State::Stopped if memory.goal != Goal::Down => fleet.unsatisfied_need(id),
                _ => None,
            },
        }
    }

    /// The fine word.
    pub fn state_word(&self) -> &'static str {
        self.state.word(self.goal)
    }
}

fn status(fleet: &Fleet, id: Id) -> Status {
    let machine = fleet.machine(id);
    let unverifiable =
        machine.definition().manager != Manager::Process && machine.definition().endpoint.is_none();
    match machine.state() {
        State::Ready { .. } if unverifiable && machine.health() == Health::Pending => Status::Unknown,
        State::Launching { .. } | State::Starting { .. } | State::Ready { .. } | State::Stopping { .. } => {
            Status::Running
        }
        State::Stopped | State::Completed { .. } => Status::Stopped,
        State::Backoff { .. } | State::Failed { .. } => Status::Failed,
    }
}

fn reason(fleet: &Fleet, id: Id) -> Option<String> {
    let machine = fleet.machine(id);
    match machine.state() {
        State::Stopped if machine.goal() != Goal::Down => waiting(fleet, id),
        State::Ready { .. } if machine.health() == Health::Unhealthy => {
            Some(format!("{} health checks in a row failed", machine.failures()))
        }
        State::Starting { .. } | State::Ready { .. } if machine.is_left_alone() => {
            let name = &machine.definition().name;
            Some(format!("started by somebody else; `service start {name}` takes it over"))
        }
        State::Ready { .. } if machine.goal() != Goal::Up => {
            Some("waits until its dependents have stopped".to_string())
        }
        State::Launching { .. } | State::Starting { .. } | State::Ready { .. }
            if machine.memory().restarts > 0 =>
        {
            machine.memory().last_exit.map(|exit| format!("started again after it {exit}"))
        }
        State::Starting { .. } | State::Ready { .. } if machine.starter() == Starter::Others => {
            Some("started by somebody else".to_string())
        }
        State::Stopping { kills, .. } if *kills > 0 && machine.definition().manager != Manager::Process => {
            Some("its manager has not stopped it yet".to_string())
        }
        State::Stopping { kills, .. } if *kills > 0 => {
            Some(format!("did not end when asked; killed {kills} times"))
        }
        State::Stopping { cause: Cause::Failure(failure), .. } | State::Backoff { failure, .. } => {
            Some(failure.to_string())
        }
        State::Completed { exit, .. } => Some(exit.to_string()),
        State::Failed { failure, attempts, .. } if *attempts > 1 => {
            Some(format!("{failure}, tried {attempts} times"))
        }
        State::Failed { failure, .. } => Some(failure.to_string()),
        State::Stopped
        | State::Launching { .. }
        | State::Starting { .. }
        | State::Ready { .. }
        | State::Stopping { cause: Cause::Asked, .. } => None,
    }
}

fn waiting(fleet: &Fleet, id: Id) -> Option<String> {
    let need = fleet.unsatisfied_need(id)?;
    let on = fleet.machine(need.on);
    let wanted = match need.condition {
        Condition::Started | Condition::Ready | Condition::Healthy => word(&Condition::ALL, need.condition),
        Condition::Completed => "completed",
    };
    Some(format!("waits for `{}` to be {wanted}; it is {}", on.definition().name, on.state().word(on.goal())))
}
