//! [`Id`] and [`DependencyEdge`]: a service of a plan, and one edge of its graph.

use crate::config::{Condition, WhenLost};
use serde::{Deserialize, Serialize};

/// A service within one plan. Meaningless in any other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Id(pub(super) u32);

impl Id {
    /// As an index into tables that have one entry per service.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// One edge, seen from the service that needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DependencyEdge {
    /// The service needed.
    pub on: Id,
    /// What must be true of it.
    pub condition: Condition,
    /// What happens when it no longer is.
    pub when_lost: WhenLost,
}
