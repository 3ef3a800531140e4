//! [`DaemonHealth`]: the health of the daemon itself, for monitoring.

use serde::{Deserialize, Serialize};

/// The daemon works.
pub const OK: &str = "ok";
/// The daemon works, with warnings.
pub const DEGRADED: &str = "degraded";

/// The health of a daemon that works. A daemon that does not work answers with a `Problem` with the code `unfit`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DaemonHealth {
    /// `ok` or `degraded`.
    pub status: String,
    /// Warnings, each one sentence.
    #[serde(rename = "doubts")]
    pub warnings: Vec<String>,
    /// How long the daemon has been running.
    pub uptime_ms: f64,
    /// The number of services by state, which has no influence on `status`.
    pub services: Services,
}

/// The number of services by state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Services {
    /// All services.
    pub defined: usize,
    /// Services with a process, or running according to their manager.
    pub running: usize,
    /// Ready services.
    pub ready: usize,
    /// Services with failed health checks.
    pub unhealthy: usize,
    /// Services that have failed, permanently or until the next retry.
    pub failed: usize,
}
