//! `cargo xtask demo`: runs `examples/quickstart` in a real Nushell and in its own directory, and ends all its
//! processes.

use crate::command::{self, TaskResult, cargo};
use crate::{nu, paths};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

const PACKAGES: [&str; 4] = ["orchestratord", "service-shim", "nu_plugin_service", "quickstart"];

pub(crate) fn run() -> TaskResult {
    run_script("demo", "demo.nu", command::run)?;
    eprintln!("the demo has finished; no process is left");
    Ok(())
}

/// Runs a script of the example with `run`, in a sandbox of this name.
pub(crate) fn run_script<T>(
    name: &str,
    script: &str,
    run: impl FnOnce(&mut Command) -> TaskResult<T>,
) -> TaskResult<T> {
    let mut build = cargo(&["build"]);
    for package in PACKAGES {
        build.args(["--package", package]);
    }
    command::run(&mut build)?;
    let (programs, nu) = (paths::programs()?, nu::get()?);
    let example = paths::root().join("examples/quickstart");
    let sandbox = paths::target()?.join(name);
    set_up(&sandbox, &example, &programs)?;
    let result = run(Command::new(nu)
        .arg("--no-config-file")
        .arg("--plugins")
        .arg(programs.join("nu_plugin_service"))
        .arg(example.join(script))
        .current_dir(sandbox.join("project"))
        .env("SERVICE_SHIM", programs.join("service-shim"))
        .env("XDG_STATE_HOME", sandbox.join("state"))
        .env("XDG_RUNTIME_DIR", sandbox.join("run"))
        .env_remove("SERVICES_CONFIG"));
    let left = end_leftovers(&sandbox)?;
    let result = result?;
    if !left.is_empty() {
        return Err(format!("these processes were left running: {}", left.join(", ")).into());
    }
    Ok(result)
}

/// Creates a copy of the project, with this machine's path of the program. Its files therefore do not end up in the
/// repository.
fn set_up(sandbox: &Path, example: &Path, programs: &Path) -> TaskResult {
    if sandbox.exists() {
        fs::remove_dir_all(sandbox)?;
    }
    for directory in ["project", "state", "run"] {
        fs::create_dir_all(sandbox.join(directory))?;
    }
    let services = fs::read_to_string(example.join("services.toml"))?;
    let program = format!("'{}'", programs.join("quickstart").display());
    let services = services.replace("../../target/debug/quickstart", &program);
    fs::write(sandbox.join("project/services.toml"), services)?;
    Ok(())
}

/// Ends every process of the sandbox that does not exit soon, and returns their ids.
fn end_leftovers(sandbox: &Path) -> TaskResult<Vec<String>> {
    let deadline = Instant::now() + Duration::from_secs(2);
    while !processes_of(sandbox)?.is_empty() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(20));
    }
    let left = processes_of(sandbox)?;
    for id in &left {
        Command::new("kill").args(["-KILL", id]).status()?;
    }
    Ok(left)
}

/// The ids of the processes with this sandbox in their environment.
fn processes_of(sandbox: &Path) -> TaskResult<Vec<String>> {
    let mark = format!("XDG_STATE_HOME={}", sandbox.join("state").display());
    let marked = |process: &fs::DirEntry| {
        let environment = fs::read(process.path().join("environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
    };
    let processes = fs::read_dir("/proc")?.flatten().filter(marked);
    Ok(processes.map(|process| process.file_name().to_string_lossy().into_owned()).collect())
}
