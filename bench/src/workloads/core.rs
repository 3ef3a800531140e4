//! Computations of the core: order and levels of many services, and the effect of a changed file.

use crate::harness::System;
use crate::systems::OURS;
use crate::workloads::workload::{Figure, Goal, Row, Workload};
use service_bench::{difference, order};

pub(super) const CORE: Workload = Workload {
    name: "core",
    rows: &[
        Row {
            name: "order and levels of 10,000 services, 30,000 edges",
            unit: "ms",
            goals: &[Goal::AtMost(15.0)],
        },
        Row {
            name: "order and levels of 100,000 services, 300,000 edges",
            unit: "ms",
            goals: &[Goal::AtMost(150.0)],
        },
        Row { name: "plan and diff of 10,000 services", unit: "ms", goals: &[Goal::AtMost(50.0)] },
    ],
    run: core,
};

/// Applies only to this project. The core uses no files.
fn core(system: &dyn System) -> Option<Vec<Figure>> {
    (system.name() == OURS[0]).then(|| {
        let took = [order(10_000), order(100_000), difference(10_000)];
        CORE.figures(took.map(|took| took.as_secs_f64() * 1e3))
    })
}
