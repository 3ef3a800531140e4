//! [`Id`] and [`DependencyEdge`]: a service of a plan, and one edge of its graph.

use crate::config::{Condition, WhenLost};
use serde::{Deserialize, Serialize};

/// A service of one plan. An id has no meaning in other plans.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Id(pub(super) u32);

impl Id {
    /// The index into tables with one entry per service.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// One edge, from the dependent's point of view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DependencyEdge {
    /// The dependency.
    pub on: Id,
    /// The condition on the dependency.
    pub condition: Condition,
    /// The policy when the dependency is lost.
    pub when_lost: WhenLost,
}
