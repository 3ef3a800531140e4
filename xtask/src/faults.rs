//! `cargo xtask faults`: the fault matrix with real processes, first on a machine at rest, then with every core kept busy.
//! `--long`: two hundred rounds of each random fault instead of ten. `--release`: against release builds.

use crate::{Done, cargo, nu, place, test};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

/// How often what is random is played.
#[derive(Clone, Copy)]
enum Form {
    Short,
    Long,
}

pub(crate) fn run(options: &[String]) -> Done {
    let is_asked = |option: &str| options.iter().any(|given| given == option);
    if let Some(unknown) = options.iter().find(|option| !["--long", "--release"].contains(&option.as_str())) {
        return Err(format!("cannot play `{unknown}`: the options are --long and --release").into());
    }
    let form = if is_asked("--long") { Form::Long } else { Form::Short };
    let programs = if is_asked("--release") {
        crate::run(&mut cargo(&["build", "--release", "--workspace", "--bins"]))?;
        place::target()?.join("release")
    } else {
        crate::run(&mut cargo(&["build", "--workspace", "--bins"]))?;
        place::programs()?
    };
    play(form, &programs)?;
    play_busy(form, &programs)
}

/// The short form with every core kept busy, against programs that are built.
pub(crate) fn short_and_busy() -> Done {
    play_busy(Form::Short, &place::programs()?)
}

fn play_busy(form: Form, programs: &Path) -> Done {
    let busy = Busy::all_cores()?;
    eprintln!("the faults with {} cores kept busy", busy.0.len());
    play(form, programs)
}

fn play(form: Form, programs: &Path) -> Done {
    let (profile, word) = match form {
        Form::Short => ("default", "short"),
        Form::Long => ("long", "long"),
    };
    let nextest = ["nextest", "run", "--profile", profile];
    let runner: &[&str] = if test::has_nextest() { &nextest } else { &["test"] };
    let nu: PathBuf = nu::get()?;
    let mut matrix = cargo(&[runner, &["--package", "service-tests", "--test", "faults"]].concat());
    matrix
        .env("SERVICE_FAULTS", word)
        .env("SERVICE_TEST_NU", nu)
        .env("SERVICE_TEST_PROGRAMS", programs)
        .env("SERVICE_SHIM", programs.join("service-shim"));
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
