//! The measured workloads. One system at a time runs a workload, in its own directory, and yields figures.

mod burst;
mod checks;
mod cold;
mod core;
mod graphs;
pub(crate) mod idle;
mod independent;
mod large;
mod many;
pub(crate) mod sandbox;
mod streams;
pub(crate) mod workload;

use workload::Workload;

pub(crate) fn all() -> Vec<Workload> {
    vec![
        independent::HUNDRED,
        independent::FIVE_HUNDRED,
        many::MANY,
        graphs::CHAIN,
        graphs::LAYERS,
        graphs::UNEVEN,
        idle::IDLE,
        checks::CHECKS,
        burst::BLOCKS,
        burst::LINES,
        large::LARGE,
        streams::FOLLOWED,
        streams::STREAMED,
        cold::COLD,
        core::CORE,
    ]
}
