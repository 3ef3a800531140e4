//! [`Vitals`]: how the daemon itself is, for whoever looks after daemons.

use serde::{Deserialize, Serialize};

/// It does its work.
pub const OK: &str = "ok";
/// It does its work, and somebody should look at something.
pub const DEGRADED: &str = "degraded";

/// The daemon that can do its work. One that cannot answers with a `Problem` of the code
/// `unfit`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Vitals {
    /// `ok` or `degraded`.
    pub status: String,
    /// What should be looked at, each in a sentence.
    pub doubts: Vec<String>,
    /// How long it has been running.
    pub uptime_ms: f64,
    /// How its services are, which says nothing about itself.
    pub services: Services,
}

/// How many services are how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Services {
    /// All of them.
    pub defined: usize,
    /// Those that have a process, or whose manager says that they run.
    pub running: usize,
    /// Those that are ready.
    pub ready: usize,
    /// Those whose checks fail.
    pub unhealthy: usize,
    /// Those that ended and should not have, for good or until they are tried again.
    pub failed: usize,
}
