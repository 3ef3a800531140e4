//! Services with dependencies. Each service listens some time after its start.

use crate::harness::{ServiceSpec, System};
use crate::stamps::Moment;
use crate::workloads::sandbox::Sandbox;
use crate::workloads::workload::{Figure, Goal, Row, Workload};

const LISTENS_AFTER: u32 = 50;
/// The delay of the services of the uneven graph that are not part of the measured chain, in milliseconds.
const SLOW_AFTER: u32 = 500;
const UNEVEN_CHAIN: usize = 5;

pub(super) const CHAIN: Workload = Workload {
    name: "chain",
    rows: &[Row {
        name: "chain of 20, each listening 50 ms after start",
        unit: "ms",
        goals: &[Goal::TimesBaseline(1.02), Goal::TimesPeer(1.0)],
    }],
    run: |system| Some(CHAIN.figures([layers(system, 20, 1)?])),
};

pub(super) const LAYERS: Workload = Workload {
    name: "layers",
    rows: &[Row {
        name: "5 layers x 20, each needs the whole layer before",
        unit: "ms",
        goals: &[Goal::TimesBaseline(1.08), Goal::TimesPeer(1.0)],
    }],
    run: |system| Some(LAYERS.figures([layers(system, 5, 20)?])),
};

pub(super) const UNEVEN: Workload = Workload {
    name: "uneven",
    rows: &[Row {
        name: "chain of 5, each listening after 50 ms, beside a chain of slow ones",
        unit: "ms",
        goals: &[Goal::TimesBaseline(1.03), Goal::TimesPeer(1.0)],
    }],
    run: uneven,
};

fn layers(system: &dyn System, layers: usize, wide: usize) -> Option<f64> {
    let sandbox = Sandbox::new(system);
    let services: Vec<ServiceSpec> = (0..layers * wide)
        .map(|index| {
            let before = (index / wide).saturating_sub(1) * wide;
            let needs = if index < wide { Vec::new() } else { (before..before + wide).collect() };
            sandbox.listening(index, LISTENS_AFTER, needs)
        })
        .collect();
    until_listening(system, &sandbox, &services, services.len())
}

/// The services of the chain have the first slots.
fn uneven(system: &dyn System) -> Option<Vec<Figure>> {
    let sandbox = Sandbox::new(system);
    let mut services = Vec::new();
    for after in [LISTENS_AFTER, SLOW_AFTER] {
        let first = services.len();
        for index in first..first + UNEVEN_CHAIN {
            let needs = if index == first { Vec::new() } else { vec![index - 1] };
            services.push(sandbox.listening(index, after, needs));
        }
    }
    Some(UNEVEN.figures([until_listening(system, &sandbox, &services, UNEVEN_CHAIN)?]))
}

/// Starts all services. Returns the milliseconds until the first `count` services listen.
fn until_listening(
    system: &dyn System,
    sandbox: &Sandbox,
    services: &[ServiceSpec],
    count: usize,
) -> Option<f64> {
    let mut instance = sandbox.set_up(system, services)?;
    let command = Moment::now();
    instance.start();
    let last = sandbox.stamps.listening(count).into_iter().filter_map(|stamp| stamp.listened).max()?;
    Some(last.milliseconds_since(command))
}
