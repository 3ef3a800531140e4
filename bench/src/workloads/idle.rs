//! The cost of a hundred idle services.

use crate::harness::System;
use crate::workloads::sandbox::Sandbox;
use crate::workloads::workload::{Figure, Goal, Row, Workload};
use std::time::Duration;

const WINDOW: Duration = Duration::from_secs(20);
/// The time after a start in which the system is not idle yet.
const SETTLES: Duration = Duration::from_secs(3);

pub(super) const IDLE: Workload = Workload {
    name: "idle",
    rows: &[
        Row {
            name: "100 idle services: memory of all its processes (PSS)",
            unit: "MB",
            goal: Goal::AtMost(25.0),
        },
        Row { name: "100 idle services: CPU in 20 s", unit: "s", goal: Goal::AtMost(0.005) },
        Row { name: "100 idle services: wake-ups per second", unit: "/s", goal: Goal::AtMost(1.0) },
    ],
    run: idle,
};

fn idle(system: &dyn System) -> Option<Vec<Figure>> {
    let sandbox = Sandbox::new();
    let mut instance = sandbox.set_up(system, &sandbox.independent(100))?;
    instance.start();
    sandbox.ready.wait_for(100);
    std::thread::sleep(SETTLES);
    let before = sandbox.used();
    std::thread::sleep(WINDOW);
    let after = sandbox.used();
    let cpu = after.cpu.saturating_sub(before.cpu).as_secs_f64();
    let wakes = after.wakes.saturating_sub(before.wakes) as f64 / WINDOW.as_secs_f64();
    let memory = after.memory as f64 / 1e6;
    Some(IDLE.rows.iter().map(|row| row.name).zip([memory, cpu, wakes]).collect())
}
