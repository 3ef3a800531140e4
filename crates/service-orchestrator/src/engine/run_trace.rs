//! [`RunTrace`]: the findings for the last run of a service.

use service_core::service::Discovered;
use service_process::Reached;
use service_process::shims_without_files::InspectError;
use service_shim::RunRecord;
use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// The findings for one service.
pub(crate) struct RunTrace {
    pub(super) found: Discovered,
    pub(super) record: Option<RunRecord>,
    pub(super) reached: Option<Reached>,
}

/// Why it is unknown whether a service runs, or how it ended.
#[derive(Debug, Error)]
pub(super) enum RecoveryError {
    #[error("{}", unknown_because(&format!("cannot open `{}`: {error}", lock.display())))]
    Lock { lock: PathBuf, error: io::Error },
    #[error(
        "{}",
        unknown_because(&format!("its shim holds the lock `{}` and does not answer: {error}", lock.display()))
    )]
    ShimSilent { lock: PathBuf, error: io::Error },
    /// The process of the shim cannot be inspected, for this reason.
    #[error("{}", unknown_because(&.0.to_string()))]
    Shim(InspectError),
    #[error("it has ended with an unknown exit status: cannot read `{}`: {error}", record.display())]
    Record { record: PathBuf, error: io::Error },
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

fn unknown_because(why: &str) -> String {
    format!("unknown whether it runs: {why}")
}
