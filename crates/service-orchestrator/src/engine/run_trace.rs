//! [`RunTrace`]: the findings for the last run of a service.

use service_core::service::Discovered;
use service_process::Reached;
use service_shim::RunRecord;

/// The findings for one service.
pub(crate) struct RunTrace {
    pub(super) found: Discovered,
    pub(super) record: Option<RunRecord>,
    pub(super) reached: Option<Reached>,
}

impl RunTrace {
    /// A service in an unknown state.
    pub(super) fn unclear(why: &str) -> Self {
        Self { found: Discovered::Unclear { why: unknown_because(why) }, record: None, reached: None }
    }

    /// Why the state is unknown; `None` if it is known.
    pub(super) fn unclear_reason(&self) -> Option<&str> {
        let Discovered::Unclear { why } = &self.found else { return None };
        Some(why)
    }

    /// Whether the service runs or may run.
    pub(super) fn may_run(&self) -> bool {
        matches!(self.found, Discovered::Running { .. } | Discovered::Unclear { .. })
    }
}

pub(super) fn unknown_because(why: &str) -> String {
    format!("unknown whether it runs: {why}")
}
