//! [`EngineCommand`]: a command of a handle to the engine.

use super::comparison::{Comparison, RunningServices};
use super::run_trace::RunTrace;
use crate::request::{Request, WaitRequest};
use service_api::{Outcome, Problem};
use service_core::config::Service;
use service_core::{Id, Name, Plan};
use service_store::journal::Subscription;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// One command.
pub(crate) enum EngineCommand {
    /// A request. The reply says whether it is accepted; the rows are its results.
    Request {
        request: Request,
        rows: mpsc::UnboundedSender<Outcome>,
        reply: oneshot::Sender<Result<(), Problem>>,
    },
    /// Which services would a restart start, if it stops any?
    PreviewRestart { request: Request, reply: oneshot::Sender<(Arc<Plan>, Vec<Id>)> },
    /// Waits for a state without requesting it.
    Wait {
        watch: WaitRequest,
        rows: mpsc::UnboundedSender<Outcome>,
        reply: oneshot::Sender<Result<(), Problem>>,
    },
    /// A service in an unknown state was examined again.
    Reexamined { name: Name, trace: Box<RunTrace> },
    /// The accepted definitions have changed.
    Accepted,
    /// Another plan.
    Replan { plan: Plan, by: Option<String>, reply: oneshot::Sender<()> },
    /// Returns to the plan before a failed apply, with later changes of other requests. The reply holds the running
    /// services and the plan.
    RollBack {
        before: Arc<Comparison>,
        by: Option<String>,
        reply: oneshot::Sender<Result<(RunningServices, Plan), Problem>>,
    },
    /// Which services run? The answer is compared with another plan.
    ReadPresence { reply: oneshot::Sender<RunningServices> },
    /// An apply begins or ends its steps.
    SetApplying { begins: bool, reply: oneshot::Sender<()> },
    /// All that is defined has been applied.
    Applied { reply: oneshot::Sender<()> },
    /// Adds, replaces and removes definitions. The reply names the removed services.
    Redefine {
        added: Vec<Service>,
        removed: Vec<Name>,
        by: Option<String>,
        reply: oneshot::Sender<Result<Vec<Name>, Problem>>,
    },
    /// Subscribes to the journal.
    SubscribeJournal { names: Vec<String>, reply: oneshot::Sender<Result<Subscription, Problem>> },
    /// Is the engine alive, and can it write the journal?
    CheckHealth { reply: oneshot::Sender<Option<String>> },
    /// Write everything down and end.
    Finish { reply: oneshot::Sender<()> },
}
