//! [`Workload`]: a task for a system, and the rows of the table with its figures.

use crate::harness::System;

/// One measured value: the row of the table, and the value in the row's unit.
pub(crate) type Figure = (&'static str, f64);

/// A row of the table.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    /// The highest values that this project may have, in memory and on disk.
    pub(crate) goals: &'static [Goal],
}

/// The maximum accepted value of a row.
#[derive(Clone, Copy)]
pub(crate) enum Goal {
    /// A multiple of the baseline.
    TimesBaseline(f64),
    /// A multiple of the best peer.
    TimesPeer(f64),
    /// A value in the row's unit.
    AtMost(f64),
}

/// A task for one system.
pub(crate) struct Workload {
    /// The name for `--only`.
    pub(crate) name: &'static str,
    pub(crate) rows: &'static [Row],
    /// Runs the task. Returns `None` if the system cannot perform it.
    pub(crate) run: fn(&dyn System) -> Option<Vec<Figure>>,
}

impl Workload {
    /// Values in the order of the rows.
    pub(crate) fn figures(&self, values: impl IntoIterator<Item = f64>) -> Vec<Figure> {
        self.rows.iter().map(|row| row.name).zip(values).collect()
    }
}

/// The value that this share of the values does not exceed.
pub(crate) fn percentile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index of the values")]
    let index = ((sorted.len() as f64 * share).ceil() as usize).max(1) - 1;
    sorted[index.min(sorted.len() - 1)]
}
