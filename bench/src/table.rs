//! The table: for each figure the median, the least and the most of each contestant, and its ratio to the floor.

use crate::work::{Goal, Row};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Figures by row and contestant, in the order they were taken.
#[derive(Default)]
pub(crate) struct Figures(BTreeMap<(&'static str, &'static str), Vec<f64>>);

impl Figures {
    pub(crate) fn add(&mut self, row: &'static str, contestant: &'static str, value: f64) {
        self.0.entry((row, contestant)).or_default().push(value);
    }

    pub(crate) fn median(&self, row: &'static str, contestant: &'static str) -> Option<f64> {
        let mut values = self.0.get(&(row, contestant))?.clone();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    }

    fn range(&self, row: &'static str, contestant: &'static str) -> Option<(f64, f64)> {
        let values = self.0.get(&(row, contestant))?;
        let least = values.iter().copied().min_by(f64::total_cmp)?;
        Some((least, values.iter().copied().max_by(f64::total_cmp)?))
    }

    /// In Markdown. Rows that nobody has figures for are left out.
    pub(crate) fn table(&self, rows: &[&Row], contestants: &[&'static str], ours: &'static str) -> String {
        let mut text = format!("| work | {} | goal | |\n", contestants.join(" | "));
        let _ = writeln!(text, "|---|{}---|---|", "---|".repeat(contestants.len()));
        for row in rows {
            let Some(own) = self.median(row.name, ours) else { continue };
            let floor = self.median(row.name, contestants[0]);
            let _ = write!(text, "| {} ({}) |", row.name, row.unit);
            for contestant in contestants {
                let _ = write!(text, " {} |", self.cell(row.name, contestant, floor));
            }
            let (goal, most) = match row.goal {
                Goal::Most(most) => (format!("{most} {}", row.unit), Some(most)),
                Goal::Floor(times) => (format!("{times} x floor"), floor.map(|floor| floor * times)),
            };
            let met = most.map_or("", |most| if own <= most { "met" } else { "**missed**" });
            let _ = writeln!(text, " {goal} | {met} |");
        }
        text
    }

    fn cell(&self, row: &'static str, contestant: &'static str, floor: Option<f64>) -> String {
        let (Some(median), Some((least, most))) = (self.median(row, contestant), self.range(row, contestant))
        else {
            return "–".to_owned();
        };
        let ratio = floor
            .filter(|floor| *floor > 0.0)
            .map_or(String::new(), |floor| format!(", x{:.1}", median / floor));
        format!("**{}** ({}–{}{ratio})", short(median), short(least), short(most))
    }
}

/// Three digits that mean something.
fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        v if v < 0.1 => format!("{value:.3}"),
        v if v < 10.0 => format!("{value:.2}"),
        v if v < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}
