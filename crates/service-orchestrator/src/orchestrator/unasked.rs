//! Services that are at rest here and that nobody may ask about yet: whether others run them is not known.

use super::task::Task;
use crate::board::Entry;
use std::sync::Arc;

impl Task {
    /// Takes in what may be asked now.
    pub(super) fn note_unasked(&mut self) {
        let acceptance = &self.world.acceptance;
        for entry in &mut self.entries {
            let unasked =
                entry.definition.may_be_started_elsewhere() && !acceptance.covers(&entry.definition);
            if unasked != entry.unasked {
                Arc::<Entry>::make_mut(entry).unasked = unasked;
            }
        }
    }
}
