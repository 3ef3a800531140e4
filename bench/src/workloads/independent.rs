//! Services without dependencies: the start of all, the status of all, the restart of killed services, and the stop of
//! all.

use crate::harness::{Instance, System};
use crate::process::Watch;
use crate::stamps::{Moment, Stamp};
use crate::workloads::sandbox::Sandbox;
use crate::workloads::workload::{Figure, Goal, Row, Workload, percentile};
use nix::sys::signal::Signal;
use std::time::Duration;

const STATUSES: u32 = 200;
const KILLS: usize = 5;
/// The delay between the start of a service and its kill. A service is ready after one second by default.
const STABLE_AFTER: Duration = Duration::from_secs(2);

const fn informative(name: &'static str) -> Row {
    Row { name, unit: "ms", goals: &[] }
}

pub(super) const HUNDRED: Workload = Workload {
    name: "hundred",
    rows: &[
        Row {
            name: "100 independent services, command to all alive",
            unit: "ms",
            goals: &[Goal::TimesBaseline(1.5), Goal::TimesPeer(1.2)],
        },
        informative("the first of 100"),
        informative("the median of 100"),
        informative("p99 of 100"),
        Row { name: "stop of 100, until all are dead", unit: "ms", goals: &[Goal::TimesBaseline(1.5)] },
        Row { name: "kill -9 to new process", unit: "ms", goals: &[Goal::TimesBaseline(2.1)] },
        Row { name: "status of 100 over the API", unit: "ms", goals: &[Goal::AtMost(0.12)] },
    ],
    run: hundred,
};

pub(super) const FIVE_HUNDRED: Workload = Workload {
    name: "five-hundred",
    rows: &[
        Row {
            name: "500 independent services, command to all alive",
            unit: "ms",
            goals: &[Goal::TimesBaseline(1.6), Goal::TimesPeer(1.1)],
        },
        Row { name: "the first of 500", unit: "ms", goals: &[Goal::AtMost(15.0)] },
        informative("the median of 500"),
        informative("p99 of 500"),
        Row { name: "stop of 500, until all are dead", unit: "ms", goals: &[Goal::TimesBaseline(1.5)] },
    ],
    run: five_hundred,
};

fn hundred(system: &dyn System) -> Option<Vec<Figure>> {
    let sandbox = Sandbox::new(system);
    let mut instance = sandbox.set_up(system, &sandbox.independent(100))?;
    let (mut stamps, started) = start(&sandbox, instance.as_mut(), 100);
    std::thread::sleep(STABLE_AFTER);
    let status = status(instance.as_mut());
    let restarted = restart(&sandbox, &mut stamps);
    let stopped = stop(instance.as_mut(), &stamps);
    let values = started.into_iter().chain([stopped, restarted]).chain(status);
    Some(HUNDRED.figures(values))
}

fn five_hundred(system: &dyn System) -> Option<Vec<Figure>> {
    let sandbox = Sandbox::new(system);
    let mut instance = sandbox.set_up(system, &sandbox.independent(500))?;
    let (stamps, started) = start(&sandbox, instance.as_mut(), 500);
    std::thread::sleep(STABLE_AFTER);
    let stopped = stop(instance.as_mut(), &stamps);
    Some(FIVE_HUNDRED.figures(started.into_iter().chain([stopped])))
}

/// Returns the times from the command to the start of the last service, of the first, of the median and of the 99th
/// percentile.
pub(super) fn start(sandbox: &Sandbox, instance: &mut dyn Instance, count: usize) -> (Vec<Stamp>, [f64; 4]) {
    let command = Moment::now();
    instance.start();
    let stamps = sandbox.stamps.alive(count);
    let times: Vec<f64> = stamps.iter().map(|stamp| stamp.begun.milliseconds_since(command)).collect();
    let started = [1.0, 0.0, 0.5, 0.99].map(|share| percentile(&times, share));
    (stamps, started)
}

/// Returns the time from the command to the end of the last process.
pub(super) fn stop(instance: &mut dyn Instance, stamps: &[Stamp]) -> f64 {
    let watch = Watch::on(&stamps.iter().map(|stamp| stamp.pid).collect());
    let command = Moment::now();
    instance.stop();
    watch.all_gone();
    Moment::now().milliseconds_since(command)
}

fn status(instance: &mut dyn Instance) -> Option<f64> {
    instance.status().then(|| {
        let begun = Moment::now();
        for _ in 0..STATUSES {
            instance.status();
        }
        Moment::now().milliseconds_since(begun) / f64::from(STATUSES)
    })
}

/// Returns the median time from a kill to the new process. Each killed service was stable before.
fn restart(sandbox: &Sandbox, stamps: &mut [Stamp]) -> f64 {
    let mut times = Vec::new();
    for (slot, stamp) in stamps.iter_mut().enumerate().take(KILLS) {
        let killed = Moment::now();
        service_tests::signal(stamp.pid, Signal::SIGKILL);
        *stamp = sandbox.stamps.next(slot, stamp);
        times.push(stamp.begun.milliseconds_since(killed));
    }
    percentile(&times, 0.5)
}
