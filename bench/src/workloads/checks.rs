//! A hundred services with an HTTP check every second, each over a new connection.

use crate::harness::{ServiceSpec, System};
use crate::workloads::sandbox::Sandbox;
use crate::workloads::workload::{Figure, Goal, Row, Workload};
use std::time::Duration;

const WINDOW: Duration = Duration::from_secs(20);
const SETTLES: Duration = Duration::from_secs(3);
const EVERY: Duration = Duration::from_secs(1);

pub(super) const CHECKS: Workload = Workload {
    name: "checks",
    rows: &[Row { name: "100 HTTP checks a second: CPU in 20 s", unit: "s", goals: &[Goal::AtMost(0.35)] }],
    run: checks,
};

fn checks(system: &dyn System) -> Option<Vec<Figure>> {
    let sandbox = Sandbox::new(system);
    let checked = |index: usize| {
        let port = service_tests::free_port();
        ServiceSpec {
            check: Some((format!("http://127.0.0.1:{port}/"), EVERY)),
            ..sandbox.service(index, &["serve", &port.to_string()])
        }
    };
    let services: Vec<ServiceSpec> = (0..100).map(checked).collect();
    let mut instance = sandbox.set_up(system, &services)?;
    instance.start();
    sandbox.stamps.alive(100);
    std::thread::sleep(SETTLES);
    let before = sandbox.used();
    std::thread::sleep(WINDOW);
    Some(CHECKS.figures([sandbox.used().cpu.saturating_sub(before.cpu).as_secs_f64()]))
}
