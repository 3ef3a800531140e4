//! Services that need each other, and listen 50 ms after they were started.

use super::{Figure, Goal, House, Row, Work, since};
use crate::stage::{Contestant, Part};
use std::time::Instant;

const LISTENS_AFTER: &str = "50";

pub(super) const CHAIN: Work = Work {
    name: "chain",
    rows: &[Row {
        name: "chain of 20, each listening 50 ms after start",
        unit: "ms",
        goal: Goal::Most(1070.0),
    }],
    play: chain,
};

pub(super) const LAYERS: Work = Work {
    name: "layers",
    rows: &[Row {
        name: "5 layers x 20, each needs the whole layer before",
        unit: "ms",
        goal: Goal::Most(330.0),
    }],
    play: layers,
};

fn chain(contestant: &dyn Contestant) -> Option<Vec<Figure>> {
    Some(vec![(CHAIN.rows[0].name, play(contestant, 20, 1)?)])
}

fn layers(contestant: &dyn Contestant) -> Option<Vec<Figure>> {
    Some(vec![(LAYERS.rows[0].name, play(contestant, 5, 20)?)])
}

fn play(contestant: &dyn Contestant, layers: usize, wide: usize) -> Option<f64> {
    let house = House::new();
    let parts: Vec<Part> = (0..layers * wide)
        .map(|index| {
            let port = service_tests::free_port();
            let before = (index / wide).saturating_sub(1) * wide;
            let needs = if index < wide { Vec::new() } else { (before..before + wide).collect() };
            let listening = house.part(index, &["listen", &port.to_string(), LISTENS_AFTER]);
            Part { needs, port: Some(port), ..listening }
        })
        .collect();
    let mut stage = house.raise(contestant, &parts)?;
    let begun = Instant::now();
    stage.start();
    let (_, ended) = house.herald.hear(parts.len());
    Some(since(begun, ended))
}
