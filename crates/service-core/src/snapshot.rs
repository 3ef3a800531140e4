//! [`Snapshot`]: how one service looks from outside, in the words that users see.

use crate::config::{Condition, Manager, word};
use crate::fleet::Fleet;
use crate::health::Health;
use crate::plan::{Id, Need};
use crate::service::{Asked, Cause, Exit, Failure, Goal, Starter, State};
use crate::time::Moment;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;

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
    /// By whose word its goal is what it is.
    pub asked: Option<Arc<Asked>>,
    /// Why we ended the last run, where it did not end by itself.
    pub ended: Option<Arc<str>>,
    /// When the last run was launched, whether or not it goes on.
    pub began: Option<Moment>,
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
            last_exit: memory
                .last_exit
                .filter(|_| !memory.state.is_refused() && memory.state.unknown_because().is_none()),
            restarts: memory.restarts,
            reason: reason(fleet, id),
            waits_for: match memory.state {
                State::Stopped if memory.goal != Goal::Down => fleet.unsatisfied_need(id),
                _ => None,
            },
            asked: memory.asked.clone(),
            ended: memory.ended.clone(),
            began: memory.launched,
        }
    }

    /// Who brought it where it is; nobody where it came there by itself.
    pub fn by(&self) -> Option<&str> {
        match &self.state {
            State::Stopping { cause: Cause::Failure(failure), .. }
            | State::Failed { failure, .. }
            | State::Backoff { failure, .. } => match failure {
                Failure::StartTimeout => Some("policy start timeout"),
                Failure::Unhealthy => Some("policy on_failure"),
                Failure::Exited(_) | Failure::Refused(_) => None,
            },
            State::Stopped | State::Launching { .. } | State::Starting { .. }
                if self.restarts > 0 && self.goal == Goal::Up =>
            {
                Some("policy restart")
            }
            State::Stopped
            | State::Launching { .. }
            | State::Starting { .. }
            | State::Stopping { cause: Cause::Asked, .. } => {
                self.asked.as_ref().map(|asked| &*asked.asker.by)
            }
            State::Ready { .. } | State::Completed { .. } | State::Unknown { .. } => None,
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
        State::Unknown { .. } => Status::Unknown,
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
            let exit = machine.memory().last_exit?;
            Some(match &machine.memory().ended {
                Some(ended) => format!("started again after it {exit}: {ended}"),
                None => format!("started again after it {exit}"),
            })
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
            Some(machine.describe(failure))
        }
        State::Unknown { why, .. } => Some(why.clone()),
        State::Completed { exit, .. } => Some(exit.to_string()),
        State::Failed { failure, attempts, .. } if *attempts > 1 => {
            Some(format!("{}, tried {attempts} times", machine.describe(failure)))
        }
        State::Failed { failure, .. } => Some(machine.describe(failure)),
        State::Stopped | State::Stopping { cause: Cause::Asked, .. } => {
            let done = if machine.goal() == Goal::Down { "stopped" } else { "restarted" };
            machine.memory().asked.as_ref().map(|asked| asked.describe(done))
        }
        State::Launching { .. } | State::Starting { .. } | State::Ready { .. } => None,
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
