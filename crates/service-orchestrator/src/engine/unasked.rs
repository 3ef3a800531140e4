//! Services that are at rest here and that nobody may ask about yet: whether others run them is not known.

use super::task::Engine;

impl Engine {
    /// Takes in what may be asked now.
    pub(super) fn note_unasked(&mut self) {
        let acceptance = &self.drivers.acceptance;
        for service in &mut self.services {
            let entry = &service.snapshot;
            let unasked = entry.definition.may_start_externally() && !acceptance.covers(&entry.definition);
            if unasked != entry.unasked {
                service.edit().unasked = unasked;
            }
        }
    }
}
