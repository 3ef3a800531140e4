//! [`Drivers`]: everything by which the engine acts on the world.

use crate::host::acceptance::Acceptance;
use crate::host::paths::Paths;
use crate::host::report::{CheckResult, ReportSender};
use crate::host::single_flight::SingleFlight;
use crate::host::time_slice::LoopMetrics;
use crate::manager::Managers;
use crate::probe::Prober;
use crate::process::Shims;
use service_core::config::Service;
use std::sync::Arc;

/// Cheap to clone: one for each task that acts.
#[derive(Clone)]
pub(crate) struct Drivers {
    pub(crate) paths: Arc<Paths>,
    pub(crate) shims: Shims,
    pub(crate) prober: Prober,
    pub(crate) managers: Managers,
    /// What may be run in order to check.
    pub(crate) acceptance: Arc<Acceptance>,
    /// How long the engine keeps the thread.
    pub(crate) loop_metrics: Arc<LoopMetrics>,
    /// Checks that clients have asked for.
    pub(crate) client_checks: Arc<SingleFlight<Service, CheckResult>>,
    pub(crate) reports: ReportSender,
}
