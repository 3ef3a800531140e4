//! [`Command`]: what a handle asks of the engine.

use super::comparison::{Comparison, Presence};
use super::run_trace::RunTrace;
use crate::request::{Request, WaitRequest};
use service_api::{Outcome, Problem};
use service_core::config::Service;
use service_core::{Id, Name, Plan};
use service_store::journal::Subscription;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// One command.
pub(crate) enum Command {
    /// Somebody wants something; the reply says whether it is accepted, the rows what comes of it.
    Request {
        request: Request,
        rows: mpsc::UnboundedSender<Outcome>,
        reply: oneshot::Sender<Result<(), Problem>>,
    },
    /// What would be started by a restart that stops something?
    PreviewRestart { request: Request, reply: oneshot::Sender<(Arc<Plan>, Vec<Id>)> },
    /// Somebody waits for what others bring about.
    Wait {
        watch: WaitRequest,
        rows: mpsc::UnboundedSender<Outcome>,
        reply: oneshot::Sender<Result<(), Problem>>,
    },
    /// Somebody looked again at a service of which nobody could tell whether it runs.
    Reexamined { name: Name, trace: Box<RunTrace> },
    /// What may be asked has changed.
    Accepted,
    /// Another plan.
    Replan { plan: Plan, by: Option<String>, reply: oneshot::Sender<()> },
    /// The plan before an apply that has failed, with what others have changed since; the reply has what ran, and the plan.
    RollBack {
        before: Arc<Comparison>,
        by: Option<String>,
        reply: oneshot::Sender<Result<(Presence, Plan), Problem>>,
    },
    /// What runs, to be compared with another plan?
    ReadPresence { reply: oneshot::Sender<Presence> },
    /// An apply begins to take its steps, or has taken them.
    SetApplying { begins: bool, reply: oneshot::Sender<()> },
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
    SubscribeJournal { names: Vec<String>, reply: oneshot::Sender<Result<Subscription, Problem>> },
    /// Is the owner there, and what keeps it from writing the journal?
    CheckHealth { reply: oneshot::Sender<Option<String>> },
    /// Write everything down and end.
    Finish { reply: oneshot::Sender<()> },
}
