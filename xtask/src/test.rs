//! `cargo xtask test`: every test there is.

use crate::{Done, cargo, faults, nu, place};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

pub(crate) fn run() -> Done {
    let begun = Instant::now();
    let programs = place::programs()?;
    let nu = nu::get()?;
    let with_nu = |mut command: Command| {
        // Cargo's own [env] assumes the usual target directory; this knows the true one.
        crate::run(command.env("SERVICE_TEST_NU", &nu).env("SERVICE_SHIM", programs.join("service-shim")))
    };
    crate::run(&mut cargo(&["build", "--workspace", "--bins"]))?;
    if has_nextest() {
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

/// The tests of the Nushell side, through this front in this Nushell.
fn front(front: &str, nu: &Path, programs: &Path) -> Done {
    let mut tests = Command::new(nu);
    tests.args(["--no-config-file", "nu/tests/run.nu", "--front", front, "--programs"]).arg(programs);
    crate::run(tests.current_dir(place::root()))
}

pub(crate) fn has_nextest() -> bool {
    let mut asked = cargo(&["nextest", "--version"]);
    asked.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}
