//! The systems that are measured: the baseline, this project, and the peers that are installed.

mod baseline;
mod dinit;
mod ours;
mod pitchfork;
mod program;
mod s6;
mod supervisor;
mod systemd;

pub(crate) use baseline::{BASELINE, run as run_baseline};
pub(crate) use ours::{Daemon, OURS};

use crate::disk::Medium;
use crate::harness::System;
use baseline::Baseline;
use dinit::Dinit;
use ours::Ours;
use pitchfork::Pitchfork;
use s6::S6;
use supervisor::Supervisor;
use systemd::Systemd;

/// Whether a system is this project.
pub(crate) fn is_ours(system: &dyn System) -> bool {
    OURS.contains(&system.name())
}

/// All systems, in the order of the table's columns.
pub(crate) fn all() -> Vec<Box<dyn System>> {
    vec![
        Box::new(Baseline),
        Box::new(Ours(Medium::Memory)),
        Box::new(Ours(Medium::Disk)),
        Box::new(S6),
        Box::new(Supervisor),
        Box::new(Systemd),
        Box::new(Dinit),
        Box::new(Pitchfork),
    ]
}
