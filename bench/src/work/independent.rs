//! Services that need nothing: all are started, one is killed, all are stopped; and between, how all of them are.

use super::{Figure, Goal, House, Row, Work, since};
use crate::process::Watch;
use crate::stage::Contestant;
use nix::sys::signal::Signal;
use std::time::Instant;

const STATUSES: u32 = 200;
const KILLS: usize = 5;

pub(super) const HUNDRED: Work = Work {
    name: "hundred",
    rows: &[
        Row { name: "100 independent services, command to all alive", unit: "ms", goal: Goal::Floor(2.0) },
        Row { name: "kill -9 to new process", unit: "ms", goal: Goal::Most(4.0) },
        Row { name: "stop of 100, until all are dead", unit: "ms", goal: Goal::Most(15.0) },
        Row { name: "status of 100 over the API", unit: "ms", goal: Goal::Most(0.15) },
    ],
    play: hundred,
};

pub(super) const FIVE_HUNDRED: Work = Work {
    name: "five-hundred",
    rows: &[Row {
        name: "500 independent services, command to all alive",
        unit: "ms",
        goal: Goal::Floor(2.5),
    }],
    play: five_hundred,
};

fn hundred(contestant: &dyn Contestant) -> Option<Vec<Figure>> {
    let house = House::new();
    let mut stage = house.raise(contestant, &house.independent(100))?;
    let begun = Instant::now();
    stage.start();
    let (mut alive, ended) = house.herald.hear(100);
    let mut figures = vec![(HUNDRED.rows[0].name, since(begun, ended))];
    if stage.status() {
        let begun = Instant::now();
        for _ in 0..STATUSES {
            stage.status();
        }
        figures.push((HUNDRED.rows[3].name, since(begun, Instant::now()) / f64::from(STATUSES)));
    }
    // Each of them for the first time: a service that was stable until then.
    let victims: Vec<u32> = alive.iter().copied().take(KILLS).collect();
    let mut times = Vec::new();
    for victim in victims {
        let begun = Instant::now();
        service_tests::signal(victim, Signal::SIGKILL);
        let (new, ended) = house.herald.hear(1);
        times.push(since(begun, ended));
        alive.remove(&victim);
        alive.extend(new);
    }
    times.sort_by(f64::total_cmp);
    figures.push((HUNDRED.rows[1].name, times[times.len() / 2]));
    let watch = Watch::on(&alive);
    let begun = Instant::now();
    stage.stop();
    watch.all_gone();
    figures.push((HUNDRED.rows[2].name, since(begun, Instant::now())));
    Some(figures)
}

fn five_hundred(contestant: &dyn Contestant) -> Option<Vec<Figure>> {
    Some(vec![(FIVE_HUNDRED.rows[0].name, start(contestant, 500)?)])
}

/// How long the start of so many takes.
pub(crate) fn start(contestant: &dyn Contestant, count: usize) -> Option<f64> {
    let house = House::new();
    let mut stage = house.raise(contestant, &house.independent(count))?;
    let begun = Instant::now();
    stage.start();
    let (_, ended) = house.herald.hear(count);
    Some(since(begun, ended))
}
