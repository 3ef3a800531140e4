//! `cargo xtask test`: all tests.

use crate::command::{self, TaskResult, cargo};
use crate::{faults, nextest, nu, paths};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

pub(crate) fn run() -> TaskResult {
    let begun = Instant::now();
    let programs = paths::programs()?;
    let nu = nu::get()?;
    let with_nu = |mut command: Command| {
        // Cargo's own `[env]` assumes the default target directory, so the true one is passed here.
        command::run(command.env("SERVICE_TEST_NU", &nu).env("SERVICE_SHIM", programs.join("service-shim")))
    };
    command::run(&mut cargo(&["build", "--workspace", "--bins"]))?;
    if nextest::is_installed() {
        with_nu(cargo(&["nextest", "run", "--workspace"]))?;
    } else {
        with_nu(cargo(&["test", "--workspace", "--lib", "--bins", "--tests"]))?;
    }
    with_nu(cargo(&["test", "--workspace", "--doc"]))?;
    front("plugin", &nu, &programs)?;
    front("http", &nu, &programs)?;
    if let Some(oldest) = nu::oldest()? {
        front("http", &oldest, &programs)?;
    }
    faults::short_and_busy()?;
    eprintln!("everything passed, in {} s", begun.elapsed().as_secs());
    Ok(())
}

/// Runs the tests of the Nushell side, with this front in this Nushell.
fn front(front: &str, nu: &Path, programs: &Path) -> TaskResult {
    let mut tests = Command::new(nu);
    tests.args(["--no-config-file", "nu/tests/run.nu", "--front", front, "--programs"]).arg(programs);
    command::run(tests.current_dir(paths::root()))
}
