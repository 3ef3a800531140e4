//! A hundred services that do nothing: what it costs to keep them.

use super::{Figure, Goal, House, Row, Work};
use crate::stage::Contestant;
use std::time::Duration;

const WINDOW: Duration = Duration::from_secs(20);
/// What a start leaves to be done is not idleness.
const SETTLES: Duration = Duration::from_secs(3);

pub(super) const IDLE: Work = Work {
    name: "idle",
    rows: &[
        Row {
            name: "100 idle services: memory of all its processes (PSS)",
            unit: "MB",
            goal: Goal::Most(16.0),
        },
        Row { name: "100 idle services: CPU in 20 s", unit: "s", goal: Goal::Most(0.005) },
        Row { name: "100 idle services: wake-ups per second", unit: "/s", goal: Goal::Most(1.0) },
    ],
    play: idle,
};

fn idle(contestant: &dyn Contestant) -> Option<Vec<Figure>> {
    let house = House::new();
    let mut stage = house.raise(contestant, &house.independent(100))?;
    stage.start();
    house.herald.hear(100);
    std::thread::sleep(SETTLES);
    let before = house.used();
    std::thread::sleep(WINDOW);
    let after = house.used();
    let cpu = after.cpu.saturating_sub(before.cpu).as_secs_f64();
    let wakes = after.wakes.saturating_sub(before.wakes) as f64 / WINDOW.as_secs_f64();
    let memory = after.memory as f64 / 1e6;
    Some(IDLE.rows.iter().map(|row| row.name).zip([memory, cpu, wakes]).collect())
}
