//! The start of a daemon: until its first response, and until it has adopted five hundred shims of a former daemon.

use crate::harness::{Instance, System};
use crate::systems::Daemon;
use crate::workloads::sandbox::{Sandbox, elapsed_ms};
use crate::workloads::workload::{Figure, Goal, Row, Workload};
use std::time::{Duration, Instant};

const SHIMS: usize = 500;

pub(super) const COLD: Workload = Workload {
    name: "cold",
    rows: &[
        Row { name: "cold start of the daemon to first answer", unit: "ms", goal: Goal::AtMost(15.0) },
        Row { name: "adoption of 500 shims, daemon killed before", unit: "ms", goal: Goal::AtMost(100.0) },
    ],
    run: cold,
};

/// Only this project has this daemon.
fn cold(system: &dyn System) -> Option<Vec<Figure>> {
    if system.name() != crate::systems::OURS {
        return None;
    }
    let sandbox = Sandbox::new();
    drop(sandbox.set_up(system, &sandbox.independent(SHIMS))?);
    let begun = Instant::now();
    let mut daemon = Daemon::start_in(sandbox.path());
    daemon.get("version");
    let cold = elapsed_ms(begun, Instant::now());
    daemon.start();
    sandbox.ready.wait_for(SHIMS);
    // All of them are ready before it dies.
    daemon.get("wait");
    daemon.kill();
    let begun = Instant::now();
    let daemon = Daemon::start_in(sandbox.path());
    let deadline = begun + Duration::from_secs(20);
    while daemon.get("daemon")["data"]["services_running"] != SHIMS {
        assert!(Instant::now() < deadline, "the services are not taken up");
    }
    let adopted = elapsed_ms(begun, Instant::now());
    Some(vec![(COLD.rows[0].name, cold), (COLD.rows[1].name, adopted)])
}
