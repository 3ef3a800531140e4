//! The table: median, minimum and maximum of each figure and system, and the ratio to the baseline.

use crate::workloads::workload::{Goal, Row};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Figures by row and system, in the order of measurement.
#[derive(Default)]
pub(crate) struct Figures(BTreeMap<(&'static str, &'static str), Vec<f64>>);

impl Figures {
    pub(crate) fn add(&mut self, row: &'static str, system: &'static str, value: f64) {
        self.0.entry((row, system)).or_default().push(value);
    }

    pub(crate) fn median(&self, row: &'static str, system: &'static str) -> Option<f64> {
        let mut values = self.0.get(&(row, system))?.clone();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    }

    fn range(&self, row: &'static str, system: &'static str) -> Option<(f64, f64)> {
        let values = self.0.get(&(row, system))?;
        let least = values.iter().copied().min_by(f64::total_cmp)?;
        Some((least, values.iter().copied().max_by(f64::total_cmp)?))
    }

    /// The table in Markdown, without rows that have no figures.
    pub(crate) fn table(&self, rows: &[&Row], systems: &[&'static str], ours: &[&'static str]) -> String {
        let mut text = format!("| work | {} | goal | |\n", systems.join(" | "));
        let _ = writeln!(text, "|---|{}---|---|", "---|".repeat(systems.len()));
        for row in rows {
            if ours.iter().all(|one| self.median(row.name, one).is_none()) {
                continue;
            }
            let baseline = self.median(row.name, systems[0]);
            let _ = write!(text, "| {} ({}) |", row.name, row.unit);
            for system in systems {
                let _ = write!(text, " {} |", self.cell(row.name, system, baseline));
            }
            let _ = writeln!(text, " {} | {} |", goals(row), self.verdict(row, systems, ours));
        }
        text
    }

    /// Whether this project meets all goals of a row, in memory and on a disk.
    fn verdict(&self, row: &Row, systems: &[&'static str], ours: &[&'static str]) -> String {
        let baseline = self.median(row.name, systems[0]);
        let peers = systems.iter().skip(1).filter(|system| !ours.contains(system));
        let peer = peers.filter_map(|peer| self.median(row.name, peer)).min_by(f64::total_cmp);
        let limits = row.goals.iter().filter_map(|goal| match goal {
            Goal::TimesBaseline(times) => baseline.map(|baseline| baseline * times),
            Goal::TimesPeer(times) => peer.map(|peer| peer * times),
            Goal::AtMost(most) => Some(*most),
        });
        let Some(limit) = limits.min_by(f64::total_cmp) else { return String::new() };
        let exceeds = |one: &&&'static str| self.median(row.name, one).is_some_and(|median| median > limit);
        let missed: Vec<&str> = ours.iter().filter(exceeds).copied().collect();
        if missed.is_empty() { "met".to_owned() } else { format!("**missed**: {}", missed.join("; ")) }
    }

    fn cell(&self, row: &'static str, system: &'static str, baseline: Option<f64>) -> String {
        let (Some(median), Some((least, most))) = (self.median(row, system), self.range(row, system)) else {
            return "–".to_owned();
        };
        let ratio = baseline
            .filter(|baseline| *baseline > 0.0)
            .map_or(String::new(), |baseline| format!(", x{:.1}", median / baseline));
        format!("**{}** ({}–{}{ratio})", short(median), short(least), short(most))
    }
}

fn goals(row: &Row) -> String {
    let goal = |goal: &Goal| match goal {
        Goal::TimesBaseline(times) => format!("{times} x baseline"),
        Goal::TimesPeer(times) => format!("{times} x best peer"),
        Goal::AtMost(most) => format!("{most} {}", row.unit),
    };
    row.goals.iter().map(goal).collect::<Vec<_>>().join(", ")
}

/// A number with three significant digits.
fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        v if v < 0.1 => format!("{value:.3}"),
        v if v < 10.0 => format!("{value:.2}"),
        v if v < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}
