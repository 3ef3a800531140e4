//! Services that are at rest here and that nobody may ask about yet: whether others run them is not known.

use super::task::Engine;
use crate::board::Entry;
use std::sync::Arc;

impl Engine {
    /// Takes in what may be asked now.
    pub(super) fn note_unasked(&mut self) {
        let acceptance = &self.drivers.acceptance;
        for entry in &mut self.entries {
            let unasked =
                entry.definition.may_be_started_elsewhere() && !acceptance.covers(&entry.definition);
            if unasked != entry.unasked {
                Arc::<Entry>::make_mut(entry).unasked = unasked;
            }
        }
    }
}
