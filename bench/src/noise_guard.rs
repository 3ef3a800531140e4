//! [`NoiseGuard`]: detects whether other processes used the machine during the bench, which makes the figures
//! unreliable.

use crate::process;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The share of all cores that other processes may use.
const MAX_NOISE: f64 = 0.05;

/// Cores, processor, memory and kernel of this machine.
pub(crate) fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let of = |text: &str, key: &str| {
        let line = text.lines().find(|line| line.starts_with(key)).unwrap_or_default();
        line.split_once(':').map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = of(&read("/proc/meminfo"), "MemTotal");
    let gigabytes = memory.trim_end_matches(" kB").parse::<f64>().unwrap_or_default() * 1024.0 / 1e9;
    let kernel = read("/proc/sys/kernel/osrelease");
    let kernel = kernel.trim().split('-').next().unwrap_or_default().to_owned();
    let processor = of(&read("/proc/cpuinfo"), "model name");
    format!("{cores} cores of {processor}, {gigabytes:.0} GB, Linux {kernel}")
}

/// The CPU time that each other process had used when the bench began.
pub(crate) struct NoiseGuard {
    others: BTreeMap<u32, Duration>,
    begun: Instant,
}

impl NoiseGuard {
    /// Must be called before the bench starts a process: every process that exists now counts as another one.
    pub(crate) fn start() -> Self {
        let me = std::process::id();
        let others = process::all().filter(|pid| *pid != me).map(|pid| (pid, process::cpu(pid))).collect();
        Self { others, begun: Instant::now() }
    }

    /// Describes the noise since the start, if there was too much.
    pub(crate) fn excess(&self) -> Option<String> {
        let cores = std::thread::available_parallelism().map_or(1.0, |cores| cores.get() as f64);
        let all = self.begun.elapsed().as_secs_f64() * cores;
        let mut used: Vec<(f64, u32)> = self
            .others
            .iter()
            .map(|(pid, before)| (process::cpu(*pid).saturating_sub(*before).as_secs_f64() / all, *pid))
            .collect();
        used.sort_by(|one, other| other.0.total_cmp(&one.0));
        let sum: f64 = used.iter().map(|(share, _)| share).sum();
        let (share, loudest) = used.first()?;
        (sum > MAX_NOISE).then(|| {
            let name = service_tests::name(*loudest);
            format!(
                "others used {:.0} % of this machine, `{name}` ({loudest}) alone {:.0} %",
                sum * 100.0,
                share * 100.0
            )
        })
    }
}
