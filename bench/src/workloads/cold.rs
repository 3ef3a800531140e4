//! Measures how long a daemon takes from its start to its first response, and until it has adopted all services of a
//! killed daemon.

use crate::harness::{Instance, System};
use crate::stamps::Moment;
use crate::systems::{self, Daemon};
use crate::workloads::sandbox::Sandbox;
use crate::workloads::workload::{Figure, Goal, Row, Workload};
use std::time::Duration;

const SERVICES: usize = 500;
const LOOK_INTERVAL: Duration = Duration::from_millis(1);

pub(super) const COLD: Workload = Workload {
    name: "cold",
    rows: &[
        Row { name: "cold start of the daemon to first answer", unit: "ms", goals: &[Goal::AtMost(15.0)] },
        Row {
            name: "kill -9 of the daemon of 500, until it knows all again",
            unit: "ms",
            goals: &[Goal::AtMost(100.0)],
        },
    ],
    run: cold,
};

/// Applies only to this project.
fn cold(system: &dyn System) -> Option<Vec<Figure>> {
    if !systems::is_ours(system) {
        return None;
    }
    let sandbox = Sandbox::new(system);
    drop(sandbox.set_up(system, &sandbox.independent(SERVICES))?);
    let begun = Moment::now();
    let mut daemon = Daemon::start_in(sandbox.place());
    daemon.get("version");
    let cold = Moment::now().milliseconds_since(begun);
    daemon.start();
    sandbox.stamps.alive(SERVICES);
    // All services are ready before the daemon is killed.
    daemon.get("wait");
    Some(COLD.figures([cold, replace(daemon, &sandbox, SERVICES).1]))
}

/// Kills a daemon with `count` services. Returns the milliseconds until a new daemon has adopted all of them.
pub(super) fn replace(daemon: Daemon, sandbox: &Sandbox, count: usize) -> (Daemon, f64) {
    let killed = Moment::now();
    daemon.kill();
    let daemon = Daemon::start_in(sandbox.place());
    while daemon.running() < count {
        let late = Moment::now().milliseconds_since(killed) > 60_000.0;
        assert!(!late, "the new daemon knows {} of {count} services", daemon.running());
        std::thread::sleep(LOOK_INTERVAL);
    }
    (daemon, Moment::now().milliseconds_since(killed))
}
