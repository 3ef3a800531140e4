//! [`Drivers`]: what performs the engine's effects: shims, managers and health checks.

use service_core::config::Service;
use service_host::acceptance::Acceptance;
use service_host::paths::Paths;
use service_host::report::{CheckResult, ReportSender};
use service_host::single_flight::SingleFlight;
use service_host::time_slice::LoopMetrics;
use service_manager::Managers;
use service_probe::Prober;
use service_process::Shims;
use service_store::RunDefinitions;
use std::sync::Arc;

/// The drivers. Cheap to clone: each task has its own clone.
#[derive(Clone)]
pub(crate) struct Drivers {
    pub(crate) paths: Arc<Paths>,
    pub(crate) shims: Shims,
    pub(crate) prober: Prober,
    pub(crate) managers: Managers,
    /// The accepted definitions.
    pub(crate) acceptance: Arc<Acceptance>,
    /// Measures how long the engine blocks its thread.
    pub(crate) loop_metrics: Arc<LoopMetrics>,
    /// Checks requested by clients.
    pub(crate) client_checks: Arc<SingleFlight<Service, CheckResult>>,
    pub(crate) reports: ReportSender,
    /// The definitions of the last runs.
    pub(crate) definitions: Arc<RunDefinitions>,
}
