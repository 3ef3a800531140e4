//! Services that need each other, and listen 50 ms after they were started.

use crate::harness::{ServiceSpec, System};
use crate::workloads::sandbox::{Sandbox, elapsed_ms};
use crate::workloads::workload::{Figure, Goal, Row, Workload};
use std::time::Instant;

const LISTENS_AFTER: &str = "50";

pub(super) const CHAIN: Workload = Workload {
    name: "chain",
    rows: &[Row {
        name: "chain of 20, each listening 50 ms after start",
        unit: "ms",
        goal: Goal::AtMost(1070.0),
    }],
    run: chain,
};

pub(super) const LAYERS: Workload = Workload {
    name: "layers",
    rows: &[Row {
        name: "5 layers x 20, each needs the whole layer before",
        unit: "ms",
        goal: Goal::AtMost(330.0),
    }],
    run: layers,
};

fn chain(system: &dyn System) -> Option<Vec<Figure>> {
    Some(vec![(CHAIN.rows[0].name, run_layers(system, 20, 1)?)])
}

fn layers(system: &dyn System) -> Option<Vec<Figure>> {
    Some(vec![(LAYERS.rows[0].name, run_layers(system, 5, 20)?)])
}

fn run_layers(system: &dyn System, layers: usize, wide: usize) -> Option<f64> {
    let sandbox = Sandbox::new();
    let services: Vec<ServiceSpec> = (0..layers * wide)
        .map(|index| {
            let port = service_tests::free_port();
            let before = (index / wide).saturating_sub(1) * wide;
            let needs = if index < wide { Vec::new() } else { (before..before + wide).collect() };
            let listening = sandbox.service(index, &["listen", &port.to_string(), LISTENS_AFTER]);
            ServiceSpec { needs, port: Some(port), ..listening }
        })
        .collect();
    let mut instance = sandbox.set_up(system, &services)?;
    let begun = Instant::now();
    instance.start();
    let (_, ended) = sandbox.ready.wait_for(services.len());
    Some(elapsed_ms(begun, ended))
}
