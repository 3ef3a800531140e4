//! Time and memory as functions of the number of services, as a table and as a plot.

use crate::harness::System;
use crate::plot::{Line, Panel, draw};
use crate::stamps::Moment;
use crate::systems::{BASELINE, is_ours};
use crate::workloads::idle::Memory;
use crate::workloads::sandbox::Sandbox;
use std::fmt::Write as _;
use std::time::Duration;

/// The delay between a start and the measurement of memory, in which the system becomes idle.
const SETTLES: Duration = Duration::from_secs(3);
const COUNTS: [usize; 5] = [10, 100, 500, 1000, 2000];

struct Point {
    count: usize,
    /// The time of the start in milliseconds.
    start: f64,
    /// The memory of all processes of the system, in bytes.
    memory: f64,
    /// The memory of each process type of this project.
    parts: Option<Memory>,
}

/// Measures every count in `rounds` rounds, the systems in turn. Returns the table in Markdown and the plot in SVG.
pub(crate) fn run(systems: &[Box<dyn System>], rounds: usize) -> Option<(String, String)> {
    let mut lines: Vec<(&'static str, Vec<Point>)> = Vec::new();
    for count in COUNTS {
        for system in systems.iter().filter(|one| one.name() == BASELINE || is_ours(one.as_ref())) {
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
    let sandbox = Sandbox::new(system);
    let mut instance = sandbox.set_up(system, &sandbox.independent(count))?;
    let command = Moment::now();
    instance.start();
    let last = sandbox.stamps.alive(count).into_iter().map(|stamp| stamp.begun).max()?;
    std::thread::sleep(SETTLES);
    Some(Point {
        count,
        start: last.milliseconds_since(command),
        memory: sandbox.used().memory as f64,
        parts: is_ours(system).then(|| Memory::measure(&sandbox)),
    })
}

fn megabytes(point: &Point) -> f64 {
    point.memory / 1e6
}

fn each(point: &Point) -> f64 {
    point.start / point.count as f64
}

fn table(lines: &[(&'static str, Vec<Point>)]) -> String {
    let mut text = String::from("| services |");
    for (name, _) in lines {
        let _ = write!(text, " {name}: start (ms) | memory (MB) | of the daemon (MB) | of a shim (KB) |");
    }
    let _ = write!(text, "\n|---|{}\n", "---|".repeat(lines.len() * 4));
    for (at, count) in COUNTS.iter().enumerate() {
        let _ = write!(text, "| {count} |");
        for point in lines.iter().filter_map(|(_, points)| points.get(at)) {
            let parts = point.parts.as_ref();
            let part = |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.1}"));
            let daemon = part(parts.map(|parts| parts.daemon / 1e6));
            let shim = part(parts.map(|parts| parts.shim / 1e3));
            let _ = write!(text, " {:.1} | {:.1} | {daemon} | {shim} |", point.start, megabytes(point));
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
