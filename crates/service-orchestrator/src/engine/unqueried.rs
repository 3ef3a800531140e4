//! Inactive services whose status command is not accepted yet: whether they run externally is unknown.

use super::task::Engine;

impl Engine {
    /// Updates the set after a change of the accepted definitions.
    pub(super) fn record_unqueried(&mut self) {
        let acceptance = &self.drivers.acceptance;
        for service in &mut self.services {
            let entry = &service.snapshot;
            let unqueried =
                entry.definition.may_start_externally() && !acceptance.covers_as_read(&entry.definition);
            if unqueried != entry.unqueried {
                service.edit().unqueried = unqueried;
            }
        }
    }
}
