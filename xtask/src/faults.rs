//! `cargo xtask faults`: the fault matrix with real processes, first on an idle machine, then with every core busy.
//! `--long` runs 200 rounds of each random fault instead of 10. `--release` uses release builds.

use crate::command::{self, TaskResult, cargo};
use crate::{nextest, nu, paths};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

/// The number of rounds of each random fault.
#[derive(Clone, Copy)]
enum Rounds {
    Short,
    Long,
}

pub(crate) fn run(options: &[String]) -> TaskResult {
    let is_asked = |option: &str| options.iter().any(|given| given == option);
    if let Some(unknown) = options.iter().find(|option| !["--long", "--release"].contains(&option.as_str())) {
        return Err(format!("cannot run with `{unknown}`: the options are --long and --release").into());
    }
    let rounds = if is_asked("--long") { Rounds::Long } else { Rounds::Short };
    let programs = if is_asked("--release") {
        command::run(&mut cargo(&["build", "--release", "--workspace", "--bins"]))?;
        paths::target()?.join("release")
    } else {
        command::run(&mut cargo(&["build", "--workspace", "--bins"]))?;
        paths::programs()?
    };
    run_matrix(rounds, &programs)?;
    run_matrix_busy(rounds, &programs)
}

/// Runs the short matrix with every core busy, against programs that are already built.
pub(crate) fn short_and_busy() -> TaskResult {
    run_matrix_busy(Rounds::Short, &paths::programs()?)
}

fn run_matrix_busy(rounds: Rounds, programs: &Path) -> TaskResult {
    let busy = BusyCores::start()?;
    eprintln!("the faults with {} cores busy", busy.0.len());
    run_matrix(rounds, programs)
}

fn run_matrix(rounds: Rounds, programs: &Path) -> TaskResult {
    let (profile, length) = match rounds {
        Rounds::Short => ("faults", "short"),
        Rounds::Long => ("faults-long", "long"),
    };
    let nextest = ["nextest", "run", "--profile", profile];
    let runner: &[&str] = if nextest::is_installed() { &nextest } else { &["test"] };
    let nu: PathBuf = nu::get()?;
    let mut matrix = cargo(&[runner, &["--package", "service-tests", "--test", "faults"]].concat());
    matrix
        .env("SERVICE_FAULTS", length)
        .env("SERVICE_TEST_NU", nu)
        .env("SERVICE_TEST_PROGRAMS", programs)
        .env("SERVICE_SHIM", programs.join("service-shim"));
    command::run(&mut matrix)
}

/// One process per core that loops until this is dropped.
struct BusyCores(Vec<Child>);

impl BusyCores {
    fn start() -> TaskResult<Self> {
        let cores = std::thread::available_parallelism()?.get();
        let mut busy = Self(Vec::new());
        for _ in 0..cores {
            busy.0.push(Command::new("sh").args(["-c", "while :; do :; done"]).spawn()?);
        }
        Ok(busy)
    }
}

impl Drop for BusyCores {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // The process may have been ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
