//! What drivers report to the owner of the fleet: events of runs, and what became known about them.

use super::clock;
use super::text::CheckText;
use jiff::Timestamp;
use service_core::service::Event;
use service_core::{Moment, Name};
use service_shim::protocol::LeftoverProcesses;
use service_shim::{DroppedLines, Process};
use std::fs::File;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// One report.
#[derive(Debug)]
pub(crate) enum RunReport {
    /// Something happened to a run of a service.
    Event { name: Name, run: u64, event: Event },
    /// Something became known about a run of a service.
    Observed { name: Name, run: u64, what: Observation },
    /// A manager was to stop a run and has started the service again as well.
    ManagerRestarted { name: Name, run: u64, info: ManagerInfo },
    /// Whether a service runs that is inactive here since this run: what its manager reports, if it does.
    FoundRunning { name: Name, run: u64, report: Option<Box<ManagerReport>> },
}

/// Sends reports to the owner of the fleet. After the owner has ended, reports are dropped.
#[derive(Debug, Clone)]
pub(crate) struct ReportSender(UnboundedSender<RunReport>);

impl ReportSender {
    /// A sender, and where its reports arrive.
    pub(crate) fn channel() -> (Self, UnboundedReceiver<RunReport>) {
        let (sender, receiver) = unbounded_channel();
        (Self(sender), receiver)
    }

    pub(crate) fn event(&self, name: &Name, run: u64, event: Event) {
        let _ = self.0.send(RunReport::Event { name: name.clone(), run, event });
    }

    pub(crate) fn observed(&self, name: &Name, run: u64, what: Observation) {
        let _ = self.0.send(RunReport::Observed { name: name.clone(), run, what });
    }

    pub(crate) fn manager_restarted(&self, name: &Name, run: u64, info: ManagerInfo) {
        let _ = self.0.send(RunReport::ManagerRestarted { name: name.clone(), run, info });
    }

    pub(crate) fn found_running(&self, name: &Name, run: u64, report: Option<Box<ManagerReport>>) {
        let _ = self.0.send(RunReport::FoundRunning { name: name.clone(), run, report });
    }
}

/// What became known; it is shown, and decides nothing.
#[derive(Debug)]
pub(crate) enum Observation {
    /// The processes of the run: the service's own, if there is one, and its shim.
    Processes { leader: Option<Process>, shim: Process },
    /// What a manager shows of it.
    Manager(ManagerInfo),
    /// The result of a check.
    Checked(CheckResult),
    /// Why a manager could not stop the service; `None` when it did.
    StopError(Option<String>),
    /// Why its shim, which lives, is not connected; `None` when it is.
    Unreachable(Option<String>),
    /// What the service's process left behind when it ended by itself.
    Left(LeftoverProcesses),
    /// How the stop command ended: with code 0, or why not.
    StopCommand(Result<(), String>),
    /// Lines that could not be written to the log.
    Missing(DroppedLines),
    /// What the service said last of itself, as `STATUS=`.
    Status(Option<String>),
    /// Where the shim of the run counts what it gives the log.
    SharedBuffer(Arc<File>),
}

/// The result of one check.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CheckResult {
    pub(crate) healthy: bool,
    pub(crate) kind: &'static str,
    pub(crate) message: String,
    pub(crate) latency: Duration,
    pub(crate) at: Timestamp,
}

impl CheckResult {
    /// The result of a check of this kind that began then, in words without secrets.
    pub(crate) fn new(
        kind: &'static str,
        answer: Result<CheckText, CheckText>,
        env: &[(String, String)],
        began: Moment,
    ) -> Self {
        let (healthy, text) = match answer {
            Ok(text) => (true, text),
            Err(text) => (false, text),
        };
        let message = text.describe(env);
        Self { healthy, kind, message, latency: clock::now().since(began), at: clock::today() }
    }
}

/// What is shown of an answer beside the state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ManagerInfo {
    pub(crate) pid: Option<u32>,
    /// What the manager calls it, such as the id of a container.
    pub(crate) id: Option<String>,
    pub(crate) since: Option<Timestamp>,
    pub(crate) memory: Option<u64>,
    /// How often the manager itself has started it again.
    pub(crate) restarts: u32,
}

/// What a manager said of a service of which nobody was sure.
#[derive(Debug, Clone)]
pub(crate) struct ManagerReport {
    pub(crate) info: ManagerInfo,
    pub(crate) check: CheckResult,
    /// What it means for a service that is thought to run.
    pub(crate) event: Event,
}
