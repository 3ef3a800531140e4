//! [`Changed`]: the services whose snapshot has changed since the last call of `drain`.

use crate::plan::Id;
use alloc::vec::Vec;

/// A set of services. Adding a service again, as most turns do, takes one table lookup.
#[derive(Debug, Clone)]
pub(super) struct Changed {
    ids: Vec<Id>,
    /// By id, whether the service is in `ids`.
    is_in: Vec<bool>,
}

impl Changed {
    /// All services of a plan.
    pub(super) fn all(ids: impl Iterator<Item = Id>) -> Self {
        let ids: Vec<Id> = ids.collect();
        let is_in = alloc::vec![true; ids.len()];
        Self { ids, is_in }
    }

    pub(super) fn insert(&mut self, id: Id) {
        if !core::mem::replace(&mut self.is_in[id.index()], true) {
            self.ids.push(id);
        }
    }

    /// Returns the services in the order of their ids, and empties the set.
    pub(super) fn drain(&mut self) -> Vec<Id> {
        let mut ids = core::mem::take(&mut self.ids);
        for id in &ids {
            self.is_in[id.index()] = false;
        }
        ids.sort_unstable();
        ids
    }
}
