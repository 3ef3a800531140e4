//! What the core computes: order and levels of very many services, and what a changed file asks of what runs.

use super::{Figure, Goal, Row, Work};
use crate::contestants::OURS;
use crate::stage::Contestant;
use service_bench::{difference, order};

pub(super) const CORE: Work = Work {
    name: "core",
    rows: &[
        Row { name: "order and levels of 10,000 services, 30,000 edges", unit: "ms", goal: Goal::Most(15.0) },
        Row {
            name: "order and levels of 100,000 services, 300,000 edges",
            unit: "ms",
            goal: Goal::Most(150.0),
        },
        Row { name: "plan and diff of 10,000 services", unit: "ms", goal: Goal::Most(50.0) },
    ],
    play: core,
};

/// Nobody else can be asked for that alone.
fn core(contestant: &dyn Contestant) -> Option<Vec<Figure>> {
    let took = [order(10_000), order(100_000), difference(10_000)];
    let figures = CORE.rows.iter().zip(took).map(|(row, took)| (row.name, took.as_secs_f64() * 1e3));
    (contestant.name() == OURS).then(|| figures.collect())
}
