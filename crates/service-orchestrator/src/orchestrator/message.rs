//! What reaches the owner of the fleet: wishes from outside, reports from whoever acts.

use super::change::{Comparison, Presence};
use super::recall::Trace;
use crate::board::Checked;
use crate::journal::View;
use crate::manager::{Heard, Told};
use service_api::{Outcome, Problem};
use service_core::config::Service;
use service_core::fleet::{Relatives, Until};
use service_core::service::{Asker, Event};
use service_core::{Id, Name, Plan};
use service_shim::protocol::LeftoverProcesses;
use service_shim::{DroppedLines, Process};
use std::fs::File;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

tokio::task_local! {
    /// Whoever a task works for that may change definitions.
    pub(crate) static ON_BEHALF: String;
}

/// Whoever the present task works for, where that is known.
pub(super) fn on_behalf() -> Option<String> {
    ON_BEHALF.try_with(Clone::clone).ok()
}

/// One letter.
pub(crate) enum Message {
    /// Somebody wants something; the reply says whether it is accepted, the rows what comes of it.
    Wish { wish: Wish, rows: mpsc::UnboundedSender<Outcome>, reply: oneshot::Sender<Result<(), Problem>> },
    /// What would be started by a restart that stops something?
    Foresee { wish: Wish, reply: oneshot::Sender<(Arc<Plan>, Vec<Id>)> },
    /// Somebody waits for what others bring about.
    Watch { watch: Watch, rows: mpsc::UnboundedSender<Outcome>, reply: oneshot::Sender<Result<(), Problem>> },
    /// Something happened to a run of a service.
    Happened { name: Name, run: u64, event: Event },
    /// A manager was to stop a run and has started the service again as well.
    Restarted { name: Name, run: u64, told: Told },
    /// Somebody looked whether a service runs that is at rest here since this run; this was found, if it does.
    Looked { name: Name, run: u64, found: Option<Box<Heard>> },
    /// Somebody looked again at a service of which nobody could tell whether it runs.
    Found { name: Name, trace: Box<Trace> },
    /// Something became known about a run of a service.
    Learned { name: Name, run: u64, report: Report },
    /// What may be asked has changed.
    Accepted,
    /// Another plan.
    Replan { plan: Plan, by: Option<String>, reply: oneshot::Sender<()> },
    /// The plan before an apply that has failed, with what others have changed since; the reply has what ran, and the plan.
    GoBack {
        before: Arc<Comparison>,
        by: Option<String>,
        reply: oneshot::Sender<Result<(Presence, Plan), Problem>>,
    },
    /// What runs, to be compared with another plan?
    Present { reply: oneshot::Sender<Presence> },
    /// An apply begins to take its steps, or has taken them.
    Walk { begins: bool, reply: oneshot::Sender<()> },
    /// All that is defined has been applied.
    Applied { reply: oneshot::Sender<()> },
    /// More services or other definitions of some, and some less; the reply says which have gone.
    Redefine {
        added: Vec<Service>,
        removed: Vec<Name>,
        by: Option<String>,
        reply: oneshot::Sender<Result<Vec<Name>, Problem>>,
    },
    /// Somebody reads the journal.
    Read { names: Vec<String>, reply: oneshot::Sender<Result<View, Problem>> },
    /// Is the owner there, and what keeps it from writing the journal?
    Examine { reply: oneshot::Sender<Option<String>> },
    /// Write everything down and end.
    Finish { reply: oneshot::Sender<()> },
}

/// What became known; it is shown, and decides nothing.
pub(crate) enum Report {
    /// The processes of the run: the service's own, if there is one, and its shim.
    Processes { leader: Option<Process>, keeper: Process },
    /// What a manager told of it.
    Told(Told),
    /// The result of a check.
    Checked(Checked),
    /// What a manager complained of when it was to stop the service; `None` when it did.
    Complaint(Option<String>),
    /// Why its shim, which lives, is not connected; `None` when it is.
    OutOfReach(Option<String>),
    /// What the service's process left behind when it ended by itself.
    Left(LeftoverProcesses),
    /// How the stop command ended: with code 0, or why not.
    StopCommand(Result<(), String>),
    /// Lines that could not be written to the log.
    Missing(DroppedLines),
    /// What the service said last of itself, as `STATUS=`.
    Said(Option<String>),
    /// Where the shim of the run counts what it gives the log.
    Desk(Arc<File>),
}

/// What somebody wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// What is to be done.
    pub verb: Verb,
    /// To which services.
    pub names: Vec<String>,
    /// To every service instead.
    pub all: bool,
    /// Whether a restart of every service is one of completed one-shots, too.
    pub oneshots: bool,
    /// Whether dependencies (start) or dependents (stop) or both (restart) come along; absent: as configured.
    pub relatives: Option<Relatives>,
    /// How long the rows may take.
    pub patience: Patience,
    /// By which command, and who gave it.
    pub asker: Asker,
    /// The number of the last wish when this one was planned, by an apply: about a service for which somebody has wished
    /// something since then it says nothing.
    pub planned: Option<u64>,
}

/// What somebody waits for without wishing it.
#[derive(Debug, Clone)]
pub(crate) struct Watch {
    /// The services; none: all.
    pub(crate) names: Vec<String>,
    /// The point they are to come to.
    pub(crate) until: Until,
    /// How long to wait; absent: until it has come, or never can.
    pub(crate) limit: Option<Duration>,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Let it run.
    Start,
    /// Let it not run.
    Stop,
    /// Stop it, start it.
    Restart,
    /// Let it go on under its definition in the plan, which differs only in what may change under way.
    Update,
}

impl Verb {
    /// The word for it, in an error.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Update => "update",
        }
    }
}

/// How long to wait for the fate of a wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Not at all: the rows say what is under way.
    None,
    /// So long.
    For(Duration),
    /// Until each service is as wished, or cannot be.
    Endless,
}

impl Wish {
    /// A wish with every default.
    pub fn new(verb: Verb, names: Vec<String>) -> Self {
        let command = match verb {
            Verb::Start => "service start",
            Verb::Stop => "service stop",
            Verb::Restart => "service restart",
            Verb::Update => "service apply",
        };
        let asker =
            Asker { command: command.to_owned(), by: format!("program (pid {})", std::process::id()) };
        Self {
            verb,
            names,
            all: false,
            oneshots: false,
            relatives: None,
            patience: Patience::Endless,
            planned: None,
            asker,
        }
    }

    /// The same wish, of somebody.
    #[must_use]
    pub fn by(mut self, by: impl Into<String>) -> Self {
        self.asker.by = by.into();
        self
    }

    /// The same wish, as part of another command.
    #[must_use]
    pub fn for_command(mut self, command: &str) -> Self {
        command.clone_into(&mut self.asker.command);
        self
    }
}
