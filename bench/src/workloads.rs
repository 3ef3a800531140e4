//! The workloads that are measured. One system at a time runs a workload, in a directory of its own, and yields figures.

mod burst;
mod chains;
mod checks;
mod cold;
mod core;
mod idle;
mod independent;
pub(crate) mod sandbox;
pub(crate) mod workload;

use workload::Workload;

pub(crate) fn all() -> Vec<Workload> {
    vec![
        independent::HUNDRED,
        independent::FIVE_HUNDRED,
        chains::CHAIN,
        chains::LAYERS,
        idle::IDLE,
        checks::CHECKS,
        burst::BLOCKS,
        burst::LINES,
        cold::COLD,
        core::CORE,
    ]
}
