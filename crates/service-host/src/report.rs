//! Reports of drivers to the engine: events of runs, and observations.

use super::clock;
use super::text::{CheckText, CommandFailure};
use jiff::Timestamp;
use service_core::health::CheckFault;
use service_core::service::Event;
use service_core::{Moment, Name};
use service_shim::protocol::LeftoverProcesses;
use service_shim::{DroppedLines, Process};
use std::fs::File;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// One report about one run of a service.
#[derive(Debug)]
pub struct RunReport {
    /// The service.
    pub name: Name,
    /// The number of the run.
    pub run: u64,
    /// The content.
    pub content: ReportContent,
}

/// The content of a report.
#[derive(Debug)]
pub enum ReportContent {
    /// An event that the state machine of the service decides on.
    Event(Event),
    /// A fact that is displayed and changes no state.
    Observation(Observation),
    /// A manager has restarted the service in one call.
    ManagerRestarted(ManagerInfo),
    /// A manager's report on a service that was inactive after this run; `None` if the service still does not run.
    FoundRunning(Option<Box<ManagerReport>>),
}

/// Sends reports to the owner of the fleet. After the owner has ended, reports are dropped.
#[derive(Debug, Clone)]
pub struct ReportSender(UnboundedSender<RunReport>);

impl ReportSender {
    /// A sender, and the receiver of its reports.
    pub fn channel() -> (Self, UnboundedReceiver<RunReport>) {
        let (sender, receiver) = unbounded_channel();
        (Self(sender), receiver)
    }

    fn send(&self, name: &Name, run: u64, content: ReportContent) {
        let _ = self.0.send(RunReport { name: name.clone(), run, content });
    }

    /// Reports an event of a run.
    pub fn event(&self, name: &Name, run: u64, event: Event) {
        self.send(name, run, ReportContent::Event(event));
    }

    /// Reports an observation of a run.
    pub fn observed(&self, name: &Name, run: u64, observation: Observation) {
        self.send(name, run, ReportContent::Observation(observation));
    }

    /// Reports that a manager has restarted the service in one call.
    pub fn manager_restarted(&self, name: &Name, run: u64, info: ManagerInfo) {
        self.send(name, run, ReportContent::ManagerRestarted(info));
    }

    /// Reports whether an inactive service was started externally. `run` is the last run of the service.
    pub fn found_running(&self, name: &Name, run: u64, report: Option<Box<ManagerReport>>) {
        self.send(name, run, ReportContent::FoundRunning(report));
    }
}

/// A fact that is displayed and changes no state.
#[derive(Debug)]
pub enum Observation {
    /// The processes of the run: the service's own, if any, and its shim.
    Processes {
        /// The process of the service, while it runs.
        leader: Option<Process>,
        /// The shim.
        shim: Process,
    },
    /// Data from a manager.
    Manager(ManagerInfo),
    /// The result of a check.
    Checked(CheckResult),
    /// Why a manager could not stop the service; `None` after a success.
    StopError(Option<String>),
    /// Why the living shim is not connected; `None` when it is connected.
    Unreachable(Option<String>),
    /// The leftover processes of the run.
    Left(LeftoverProcesses),
    /// The result of the stop command.
    StopCommand(Result<(), CommandFailure>),
    /// Lines that could not be written to the log.
    Missing(DroppedLines),
    /// The last `STATUS=` message of the service.
    Status(Option<String>),
    /// The memory in which the shim of the run counts its log output.
    SharedBuffer(Arc<File>),
}

/// The result of one check.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckResult {
    /// Whether the service passed the check.
    pub healthy: bool,
    /// The kind of the check, such as `http` or `process`.
    pub kind: &'static str,
    /// A description of the result, without secrets.
    pub message: String,
    /// The cause of the failure, if it is a timeout or a certificate.
    pub fault: Option<CheckFault>,
    /// How long the check took.
    pub latency: Duration,
    /// When the check ended, by the wall clock.
    pub at: Timestamp,
}

impl CheckResult {
    /// Creates the result of a check of this kind that began at `begun`, without secrets.
    pub fn new(
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
        Self {
            healthy,
            kind,
            message,
            fault: text.fault,
            latency: clock::now().since(began),
            at: clock::today(),
        }
    }
}

/// The displayed data of a manager.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ManagerInfo {
    /// The main process of the service.
    pub pid: Option<u32>,
    /// The manager's identifier, such as the id of a container.
    pub id: Option<String>,
    /// When the run began.
    pub since: Option<Timestamp>,
    /// Memory in use, in bytes.
    pub memory: Option<u64>,
    /// The number of restarts by the manager itself.
    pub restarts: u32,
    /// Whether the manager's module has changed and the accepted version was called.
    pub is_module_changed: bool,
}

/// A manager's report on a service in an uncertain state.
#[derive(Debug, Clone)]
pub struct ManagerReport {
    /// The displayed data of the manager.
    pub info: ManagerInfo,
    /// The health that the manager reports, as the result of a check.
    pub check: CheckResult,
    /// The event for a service that counts as running.
    pub event: Event,
}
