//! Creates the [`Snapshot`] of a service.

use super::Fleet;
use crate::config::{Condition, Manager, name_of};
use crate::health::Health;
use crate::plan::Id;
use crate::service::{Cause, Goal, StartedBy, State};
use crate::snapshot::{Snapshot, Status};
use alloc::format;
use alloc::string::{String, ToString};

impl Fleet {
    /// The snapshot of a service.
    pub fn snapshot(&self, id: Id) -> Snapshot {
        let machine = self.machine(id);
        let memory = machine.memory();
        Snapshot {
            id,
            goal: memory.goal,
            state: memory.state.clone(),
            health: machine.health(),
            status: status(self, id),
            run: memory.run,
            launched: memory.state.launched(),
            starter: memory.starter,
            last_exit: memory
                .exit()
                .filter(|_| !memory.state.is_launch_failed() && memory.state.unknown_because().is_none()),
            exit_run: memory.exit_run,
            restarts: memory.restarts,
            reason: reason(self, id),
            waits_for: match memory.state {
                State::Stopped if memory.goal != Goal::Down => self.unmet_dependency(id),
                _ => None,
            },
            asked: memory.asked.clone(),
            ended: memory.ended.clone(),
            began: memory.launched,
        }
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
        State::Starting { .. } | State::Ready { .. } if machine.is_unmanaged() => {
            let name = &machine.definition().name;
            Some(format!("started outside the orchestrator; `service start {name}` adopts it"))
        }
        State::Ready { .. } if machine.goal() != Goal::Up => {
            Some("waits until its dependents have stopped".to_string())
        }
        State::Launching { .. } | State::Starting { .. } | State::Ready { .. }
            if machine.memory().restarts > 0 =>
        {
            let exit = machine.memory().exit()?;
            Some(match &machine.memory().ended {
                Some(ended) => format!("started again after it {exit}: {ended}"),
                None => format!("started again after it {exit}"),
            })
        }
        State::Starting { .. } | State::Ready { .. } if machine.starter() == StartedBy::External => {
            Some("started outside the orchestrator".to_string())
        }
        State::Stopping { kills, .. } if *kills > 0 && machine.definition().manager != Manager::Process => {
            Some("its manager has not stopped it yet".to_string())
        }
        State::Stopping { kills, .. } if *kills > 0 => {
            Some(format!("did not end after the stop signal; killed {kills} times"))
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
        State::Stopped | State::Stopping { cause: Cause::Requested, .. } => {
            let done = if machine.goal() == Goal::Down { "stopped" } else { "restarted" };
            machine.memory().asked.as_ref().map(|asked| asked.describe(done))
        }
        State::Launching { .. } | State::Starting { .. } | State::Ready { .. } => None,
    }
}

fn waiting(fleet: &Fleet, id: Id) -> Option<String> {
    let need = fleet.unmet_dependency(id)?;
    let on = fleet.machine(need.on);
    let wanted = match need.condition {
        Condition::Started | Condition::Ready | Condition::Healthy => {
            name_of(&Condition::ALL, need.condition)
        }
        Condition::Completed => "completed",
    };
    Some(format!(
        "waits for `{}` to be {wanted}; it is {}",
        on.definition().name,
        on.state().as_str(on.goal())
    ))
}
