//! [`RequestLog`]: which requests were made, in which order.

use service_core::{Name, Plan};
use std::collections::BTreeMap;

/// Which requests were made, so that nobody undoes one that is later than what was planned.
#[derive(Debug, Clone, Default)]
pub(crate) struct RequestLog {
    count: u64,
    last: BTreeMap<Name, u64>,
}

impl RequestLog {
    /// Somebody wished something of these.
    pub(super) fn note<'a>(&mut self, names: impl Iterator<Item = &'a Name>) {
        self.count += 1;
        self.last.extend(names.map(|name| (name.clone(), self.count)));
    }

    /// Forgets services that the plan does not have.
    pub(super) fn retain(&mut self, plan: &Plan) {
        self.last.retain(|name, _| plan.id(name).is_some());
    }

    /// The number of the last.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Whether something was wished of this one after the request of this number.
    pub(crate) fn has_since(&self, name: &Name, number: u64) -> bool {
        self.last.get(name).is_some_and(|last| *last > number)
    }
}
