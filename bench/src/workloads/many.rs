//! Two thousand services: start, stop, a killed daemon, and the status while they start.

use crate::harness::{Instance, System};
use crate::stamps::Moment;
use crate::systems::{self, Daemon};
use crate::workloads::cold::replace;
use crate::workloads::independent::{start, stop};
use crate::workloads::sandbox::Sandbox;
use crate::workloads::workload::{Figure, Goal, Row, Workload, percentile};
use std::time::Duration;

const SERVICES: usize = 2_000;
/// The number of status requests after all services are alive.
const STATUSES: usize = 100;
const STATUS_INTERVAL: Duration = Duration::from_millis(10);

pub(super) const MANY: Workload = Workload {
    name: "two-thousand",
    rows: &[
        Row {
            name: "2,000 independent services, command to all alive",
            unit: "ms",
            goals: &[Goal::AtMost(2000.0)],
        },
        Row { name: "the first of 2,000", unit: "ms", goals: &[Goal::AtMost(15.0)] },
        Row { name: "stop of 2,000, until all are dead", unit: "ms", goals: &[Goal::TimesBaseline(1.5)] },
        Row {
            name: "kill -9 of the daemon of 2,000, until it knows all again",
            unit: "ms",
            goals: &[Goal::AtMost(300.0)],
        },
        Row {
            name: "status of 2,000 while they start and become ready: p99",
            unit: "ms",
            goals: &[Goal::AtMost(10.0)],
        },
    ],
    run: many,
};

fn many(system: &dyn System) -> Option<Vec<Figure>> {
    let sandbox = Sandbox::new(system);
    let mut instance = sandbox.set_up(system, &sandbox.independent(SERVICES))?;
    let (stamps, [last, first, ..]) = start(&sandbox, instance.as_mut(), SERVICES);
    if !systems::is_ours(system) {
        return Some(MANY.figures([last, first, stop(instance.as_mut(), &stamps)]));
    }
    drop(instance);
    let sandbox = Sandbox::new(system);
    drop(sandbox.set_up(system, &sandbox.independent(SERVICES))?);
    let mut daemon = Daemon::start_in(sandbox.place());
    let status = status_during_start(&mut daemon);
    let stamps = sandbox.stamps.alive(SERVICES);
    daemon.get("wait");
    let (mut daemon, known) = replace(daemon, &sandbox, SERVICES);
    let stopped = stop(&mut daemon, &stamps);
    Some(MANY.figures([last, first, stopped, known, status]))
}

/// The 99th percentile of the response times until the last service is ready, one second after its start.
fn status_during_start(daemon: &mut Daemon) -> f64 {
    daemon.start();
    let mut times = Vec::new();
    let mut left = STATUSES;
    while left > 0 {
        let asked = Moment::now();
        daemon.status();
        times.push(Moment::now().milliseconds_since(asked));
        std::thread::sleep(STATUS_INTERVAL);
        left = if left == STATUSES && daemon.running() < SERVICES { STATUSES } else { left - 1 };
    }
    percentile(&times, 0.99)
}
