//! Time and memory against the number of services, as a table and as a plot.

use crate::harness::System;
use crate::plot::{Line, Panel, draw};
use crate::process::Use;
use crate::systems::{BASELINE, OURS};
use crate::workloads::sandbox::{Sandbox, elapsed_ms};
use std::fmt::Write as _;
use std::time::Instant;

const COUNTS: [usize; 5] = [10, 100, 500, 1000, 2000];

struct Point {
    count: usize,
    start: f64,
    used: Use,
}

/// Measures every count in this many rounds, the systems in turn: the table in Markdown, and the plot in SVG.
pub(crate) fn run(systems: &[Box<dyn System>], rounds: usize) -> Option<(String, String)> {
    let mut lines: Vec<(&'static str, Vec<Point>)> = Vec::new();
    for count in COUNTS {
        for system in systems.iter().filter(|one| [BASELINE, OURS].contains(&one.name())) {
            let mut points: Vec<Point> =
                (0..rounds).map(|_| once(system.as_ref(), count)).collect::<Option<_>>()?;
            points.sort_by(|one, other| one.start.total_cmp(&other.start));
            let point = points.swap_remove(points.len() / 2);
            eprintln!(
                "growth: {}: {count} services: {:.1} ms, {:.1} MB",
                system.name(),
                point.start,
                megabytes(&point)
            );
            match lines.iter_mut().find(|(name, _)| *name == system.name()) {
                Some((_, points)) => points.push(point),
                None => lines.push((system.name(), vec![point])),
            }
        }
    }
    Some((table(&lines), plot(&lines)))
}

fn once(system: &dyn System, count: usize) -> Option<Point> {
    let sandbox = Sandbox::new();
    let mut instance = sandbox.set_up(system, &sandbox.independent(count))?;
    let begun = Instant::now();
    instance.start();
    let (_, ended) = sandbox.ready.wait_for(count);
    Some(Point { count, start: elapsed_ms(begun, ended), used: sandbox.used() })
}

fn megabytes(point: &Point) -> f64 {
    point.used.memory as f64 / 1e6
}

fn each(point: &Point) -> f64 {
    point.start / point.count as f64
}

fn table(lines: &[(&'static str, Vec<Point>)]) -> String {
    let mut text = String::from("| services |");
    for (name, _) in lines {
        let _ = write!(text, " {name}: start (ms) | a service (ms) | memory (MB) |");
    }
    let _ = write!(text, "\n|---|{}\n", "---|".repeat(lines.len() * 3));
    for (at, count) in COUNTS.iter().enumerate() {
        let _ = write!(text, "| {count} |");
        for point in lines.iter().filter_map(|(_, points)| points.get(at)) {
            let _ = write!(text, " {:.1} | {:.2} | {:.1} |", point.start, each(point), megabytes(point));
        }
        text.push('\n');
    }
    text
}

fn plot(lines: &[(&'static str, Vec<Point>)]) -> String {
    let panel = |title: &'static str, value: &dyn Fn(&Point) -> f64| Panel {
        title,
        lines: lines
            .iter()
            .map(|(name, points)| Line {
                name,
                points: points.iter().map(|point| (point.count as f64, value(point))).collect(),
            })
            .collect(),
    };
    draw(&[
        panel("start of all, in ms", &|point| point.start),
        panel("start of one, in ms", &each),
        panel("memory, in MB", &megabytes),
    ])
}
