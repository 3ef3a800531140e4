//! The cost of a hundred idle services.

use crate::harness::System;
use crate::process::{self, Use};
use crate::systems;
use crate::workloads::sandbox::Sandbox;
use crate::workloads::workload::{Figure, Goal, Row, Workload};
use std::time::Duration;

const WINDOW: Duration = Duration::from_secs(20);
/// The delay between a start and the first measurement, in which the system becomes idle.
const SETTLES: Duration = Duration::from_secs(3);

pub(super) const IDLE: Workload = Workload {
    name: "idle",
    rows: &[
        Row {
            name: "100 idle services: memory of all its processes (PSS)",
            unit: "MB",
            goals: &[Goal::AtMost(25.0)],
        },
        Row { name: "100 idle services: CPU in 20 s", unit: "s", goals: &[Goal::AtMost(0.005)] },
        Row { name: "100 idle services: wake-ups per second", unit: "/s", goals: &[Goal::AtMost(1.0)] },
        Row { name: "100 idle services: memory of the daemon", unit: "MB", goals: &[Goal::AtMost(12.0)] },
        Row { name: "100 idle services: memory of a shim", unit: "KB", goals: &[Goal::AtMost(60.0)] },
    ],
    run: idle,
};

fn idle(system: &dyn System) -> Option<Vec<Figure>> {
    let sandbox = Sandbox::new(system);
    let mut instance = sandbox.set_up(system, &sandbox.independent(100))?;
    instance.start();
    sandbox.stamps.alive(100);
    std::thread::sleep(SETTLES);
    let before = sandbox.used();
    std::thread::sleep(WINDOW);
    let after = sandbox.used();
    let cpu = after.cpu.saturating_sub(before.cpu).as_secs_f64();
    let wakes = after.wakes.saturating_sub(before.wakes) as f64 / WINDOW.as_secs_f64();
    let mut values = vec![after.memory as f64 / 1e6, cpu, wakes];
    if systems::is_ours(system) {
        let memory = Memory::measure(&sandbox);
        values.extend([memory.daemon / 1e6, memory.shim / 1e3]);
    }
    Some(IDLE.figures(values))
}

/// The memory of this project's processes in bytes.
pub(crate) struct Memory {
    pub(crate) daemon: f64,
    /// The mean of all shims and the zygote.
    pub(crate) shim: f64,
}

impl Memory {
    pub(crate) fn measure(sandbox: &Sandbox) -> Self {
        let all = process::pids_in(sandbox.path());
        let (daemons, shims) = all.into_iter().partition(|pid| service_tests::name(*pid) == "orchestratord");
        let memory = |pids| Use::measure(pids).memory as f64;
        Self { daemon: memory(&daemons), shim: memory(&shims) / shims.len().max(1) as f64 }
    }
}
