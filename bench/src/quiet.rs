//! Whether this machine was left to the bench: figures that were taken beside somebody else's work are worth nothing.

use crate::process;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The share of the machine that others may use.
const LEFT: f64 = 0.05;

/// What every process that is none of ours had used when the listening began.
pub(crate) struct Quiet {
    strangers: BTreeMap<u32, Duration>,
    begun: Instant,
}

impl Quiet {
    /// Begins before anything of ours runs: whoever is there now is a stranger.
    pub(crate) fn listen() -> Self {
        let me = std::process::id();
        let strangers = process::all().filter(|pid| *pid != me).map(|pid| (pid, process::cpu(pid))).collect();
        Self { strangers, begun: Instant::now() }
    }

    /// Who was louder than they may be since then.
    pub(crate) fn broken(&self) -> Option<String> {
        let cores = std::thread::available_parallelism().map_or(1.0, |cores| cores.get() as f64);
        let all = self.begun.elapsed().as_secs_f64() * cores;
        let mut used: Vec<(f64, u32)> = self
            .strangers
            .iter()
            .map(|(pid, before)| (process::cpu(*pid).saturating_sub(*before).as_secs_f64() / all, *pid))
            .collect();
        used.sort_by(|one, other| other.0.total_cmp(&one.0));
        let sum: f64 = used.iter().map(|(share, _)| share).sum();
        let (share, loudest) = used.first()?;
        (sum > LEFT).then(|| {
            let name = service_tests::name(*loudest);
            format!(
                "others used {:.0} % of this machine, `{name}` ({loudest}) alone {:.0} %",
                sum * 100.0,
                share * 100.0
            )
        })
    }
}
