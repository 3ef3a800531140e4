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
    /// A request. The reply is an error if the request is refused; otherwise it has the channel of the resulting rows.
    Request {
        request: Request,
        rows: mpsc::UnboundedSender<Outcome>,
        reply: oneshot::Sender<Result<(), Problem>>,
    },
    /// Determines the services that a restart would start; none if it stops no service.
    PreviewRestart { request: Request, reply: oneshot::Sender<(Arc<Plan>, Vec<Id>)> },
    /// Waits for a state without requesting it.
    Wait {
        watch: WaitRequest,
        rows: mpsc::UnboundedSender<Outcome>,
        reply: oneshot::Sender<Result<(), Problem>>,
    },
    /// Reports another examination of a service in an unknown state.
    Reexamined { name: Name, trace: Box<RunTrace> },
    /// Reports that the accepted definitions have changed.
    Accepted,
    /// Replaces the plan.
    Replan { plan: Plan, by: Option<String>, reply: oneshot::Sender<()> },
    /// Restores the plan before a failed apply, with later changes of other requests. The reply contains the running
    /// services and the plan.
    RollBack {
        before: Arc<Comparison>,
        by: Option<String>,
        reply: oneshot::Sender<Result<(RunningServices, Plan), Problem>>,
    },
    /// Returns the running services, to be compared with another plan.
    ReadPresence { reply: oneshot::Sender<RunningServices> },
    /// Reports that an apply begins or ends its steps.
    SetApplying { begins: bool, reply: oneshot::Sender<()> },
    /// Reports that all definitions have been applied.
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
    /// Checks that the engine responds. The reply is the last error of the journal, if any.
    CheckHealth { reply: oneshot::Sender<Option<String>> },
    /// Saves all data and ends the engine.
    Finish { reply: oneshot::Sender<()> },
}
