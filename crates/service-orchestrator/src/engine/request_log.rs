//! [`RequestLog`]: the requests for each service, in order.

use service_core::{Name, Plan};
use std::collections::BTreeMap;

/// The requests so far. An apply does not undo requests that are later than its plan.
#[derive(Debug, Clone, Default)]
pub(crate) struct RequestLog {
    count: u64,
    last: BTreeMap<Name, u64>,
}

impl RequestLog {
    /// Records a request for these services.
    pub(super) fn note<'a>(&mut self, names: impl Iterator<Item = &'a Name>) {
        self.count += 1;
        self.last.extend(names.map(|name| (name.clone(), self.count)));
    }

    /// Forgets services that the plan does not have.
    pub(super) fn retain(&mut self, plan: &Plan) {
        self.last.retain(|name, _| plan.id(name).is_some());
    }

    /// The number of the last request.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Whether there was a request for this service after the request with this number.
    pub(crate) fn has_since(&self, name: &Name, number: u64) -> bool {
        self.last.get(name).is_some_and(|last| *last > number)
    }
}
