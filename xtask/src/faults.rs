//! `cargo xtask faults`: the fault matrix with real processes. `--long`: two hundred rounds of each random fault instead of
//! ten, first on a machine at rest and then with every core kept busy.

use crate::{Done, cargo, nu, place, test};
use std::process::{Child, Command};

pub(crate) fn run(is_long: bool) -> Done {
    crate::run(&mut cargo(&["build", "--workspace", "--bins"]))?;
    if !is_long {
        return play("default", "short");
    }
    play("long", "long")?;
    let busy = Busy::all_cores()?;
    eprintln!("the same with {} cores kept busy", busy.0.len());
    play("long", "long")
}

fn play(profile: &str, form: &str) -> Done {
    // Here a test that passes only when tried again has failed.
    let nextest = ["nextest", "run", "--profile", profile, "--retries", "0"];
    let runner: &[&str] = if test::has_nextest() { &nextest } else { &["test"] };
    let mut matrix = cargo(&[runner, &["--package", "service-tests", "--test", "faults"]].concat());
    matrix
        .env("SERVICE_FAULTS", form)
        .env("SERVICE_TEST_NU", nu::get()?)
        .env("SERVICE_SHIM", place::programs()?.join("service-shim"));
    crate::run(&mut matrix)
}

/// Processes that do nothing, as fast as they can, for as long as this lives.
struct Busy(Vec<Child>);

impl Busy {
    fn all_cores() -> Done<Self> {
        let cores = std::thread::available_parallelism()?.get();
        let mut busy = Self(Vec::new());
        for _ in 0..cores {
            busy.0.push(Command::new("sh").args(["-c", "while :; do :; done"]).spawn()?);
        }
        Ok(busy)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // One that somebody else has ended is as good.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
