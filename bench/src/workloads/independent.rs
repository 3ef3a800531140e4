//! Services that need nothing: all are started, one is killed, all are stopped; and between, how all of them are.

use crate::harness::System;
use crate::process::Watch;
use crate::workloads::sandbox::{Sandbox, elapsed_ms};
use crate::workloads::workload::{Figure, Goal, Row, Workload};
use nix::sys::signal::Signal;
use std::time::Instant;

const STATUSES: u32 = 200;
const KILLS: usize = 5;

pub(super) const HUNDRED: Workload = Workload {
    name: "hundred",
    rows: &[
        Row {
            name: "100 independent services, command to all alive",
            unit: "ms",
            goal: Goal::TimesBaseline(2.0),
        },
        Row { name: "kill -9 to new process", unit: "ms", goal: Goal::AtMost(4.0) },
        Row { name: "stop of 100, until all are dead", unit: "ms", goal: Goal::AtMost(15.0) },
        Row { name: "status of 100 over the API", unit: "ms", goal: Goal::AtMost(0.15) },
    ],
    run: hundred,
};

pub(super) const FIVE_HUNDRED: Workload = Workload {
    name: "five-hundred",
    rows: &[Row {
        name: "500 independent services, command to all alive",
        unit: "ms",
        goal: Goal::TimesBaseline(2.5),
    }],
    run: five_hundred,
};

fn hundred(system: &dyn System) -> Option<Vec<Figure>> {
    let sandbox = Sandbox::new();
    let mut instance = sandbox.set_up(system, &sandbox.independent(100))?;
    let begun = Instant::now();
    instance.start();
    let (mut alive, ended) = sandbox.ready.wait_for(100);
    let mut figures = vec![(HUNDRED.rows[0].name, elapsed_ms(begun, ended))];
    if instance.status() {
        let begun = Instant::now();
        for _ in 0..STATUSES {
            instance.status();
        }
        figures.push((HUNDRED.rows[3].name, elapsed_ms(begun, Instant::now()) / f64::from(STATUSES)));
    }
    // Each of them for the first time: a service that was stable until then.
    let victims: Vec<u32> = alive.iter().copied().take(KILLS).collect();
    let mut times = Vec::new();
    for victim in victims {
        let begun = Instant::now();
        service_tests::signal(victim, Signal::SIGKILL);
        let (new, ended) = sandbox.ready.wait_for(1);
        times.push(elapsed_ms(begun, ended));
        alive.remove(&victim);
        alive.extend(new);
    }
    times.sort_by(f64::total_cmp);
    figures.push((HUNDRED.rows[1].name, times[times.len() / 2]));
    let watch = Watch::on(&alive);
    let begun = Instant::now();
    instance.stop();
    watch.all_gone();
    figures.push((HUNDRED.rows[2].name, elapsed_ms(begun, Instant::now())));
    Some(figures)
}

fn five_hundred(system: &dyn System) -> Option<Vec<Figure>> {
    Some(vec![(FIVE_HUNDRED.rows[0].name, start(system, 500)?)])
}

/// The duration of starting this many services.
pub(crate) fn start(system: &dyn System, count: usize) -> Option<f64> {
    let sandbox = Sandbox::new();
    let mut instance = sandbox.set_up(system, &sandbox.independent(count))?;
    let begun = Instant::now();
    instance.start();
    let (_, ended) = sandbox.ready.wait_for(count);
    Some(elapsed_ms(begun, ended))
}
