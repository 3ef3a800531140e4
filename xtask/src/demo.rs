//! `cargo xtask demo`: plays `examples/quickstart` in a real Nushell, in a place of its own, and leaves no process behind.

use crate::command::{self, TaskResult, cargo};
use crate::{nu, paths};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

const PACKAGES: [&str; 4] = ["service-orchestrator", "service-shim", "nu_plugin_service", "quickstart"];

pub(crate) fn run() -> TaskResult {
    play("demo", "demo.nu", command::run)?;
    eprintln!("the demo is over; no process is left");
    Ok(())
}

/// Plays a script of the example, run by `act`, on a stage of this name.
pub(crate) fn play<T>(
    name: &str,
    script: &str,
    act: impl FnOnce(&mut Command) -> TaskResult<T>,
) -> TaskResult<T> {
    let mut build = cargo(&["build"]);
    for package in PACKAGES {
        build.args(["--package", package]);
    }
    command::run(&mut build)?;
    let (programs, nu) = (paths::programs()?, nu::get()?);
    let example = paths::root().join("examples/quickstart");
    let stage = paths::target()?.join(name);
    set(&stage, &example, &programs)?;
    let played = act(Command::new(nu)
        .arg("--no-config-file")
        .arg("--plugins")
        .arg(programs.join("nu_plugin_service"))
        .arg(example.join(script))
        .current_dir(stage.join("project"))
        .env("SERVICE_SHIM", programs.join("service-shim"))
        .env("XDG_STATE_HOME", stage.join("state"))
        .env("XDG_RUNTIME_DIR", stage.join("run"))
        .env_remove("SERVICES_CONFIG"));
    let left = end_what_is_left(&stage)?;
    let played = played?;
    if !left.is_empty() {
        return Err(format!("cannot call that clean: these were left running: {}", left.join(", ")).into());
    }
    Ok(played)
}

/// A fresh copy of the project, so that what it writes does not lie in the repository, with the place of the program
/// as it is on this machine.
fn set(stage: &Path, example: &Path, programs: &Path) -> TaskResult {
    if stage.exists() {
        fs::remove_dir_all(stage)?;
    }
    for directory in ["project", "state", "run"] {
        fs::create_dir_all(stage.join(directory))?;
    }
    let services = fs::read_to_string(example.join("services.toml"))?;
    let program = format!("'{}'", programs.join("quickstart").display());
    let services = services.replace("../../target/debug/quickstart", &program);
    fs::write(stage.join("project/services.toml"), services)?;
    Ok(())
}

/// Ends every process that was started on this stage and has not ended by itself soon after; says which.
fn end_what_is_left(stage: &Path) -> TaskResult<Vec<String>> {
    let patience = Instant::now() + Duration::from_secs(2);
    while !started_on(stage)?.is_empty() && Instant::now() < patience {
        thread::sleep(Duration::from_millis(20));
    }
    let left = started_on(stage)?;
    for id in &left {
        Command::new("kill").args(["-KILL", id]).status()?;
    }
    Ok(left)
}

/// The ids of the processes with this stage in their environment.
fn started_on(stage: &Path) -> TaskResult<Vec<String>> {
    let mark = format!("XDG_STATE_HOME={}", stage.join("state").display());
    let marked = |process: &fs::DirEntry| {
        let environment = fs::read(process.path().join("environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
    };
    let processes = fs::read_dir("/proc")?.flatten().filter(marked);
    Ok(processes.map(|process| process.file_name().to_string_lossy().into_owned()).collect())
}
