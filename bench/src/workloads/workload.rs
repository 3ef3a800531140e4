//! [`Workload`]: the work of a system, and the rows of the table that it fills.

use crate::harness::System;

/// One measured value: the row of the table, and the value in the row's unit.
pub(crate) type Figure = (&'static str, f64);

/// A row of the table.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    /// The highest value that this project may have.
    pub(crate) goal: Goal,
}

/// The highest value of a row that is accepted.
#[derive(Clone, Copy)]
pub(crate) enum Goal {
    /// A multiple of the baseline.
    TimesBaseline(f64),
    /// A value in the row's unit.
    AtMost(f64),
}

/// A task for one system.
pub(crate) struct Workload {
    /// The name for `--only`.
    pub(crate) name: &'static str,
    pub(crate) rows: &'static [Row],
    /// Returns `None` if the system cannot do it.
    pub(crate) run: fn(&dyn System) -> Option<Vec<Figure>>,
}
