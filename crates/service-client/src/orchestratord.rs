//! Finds the program `orchestratord`, and runs one-shot commands without a daemon.

use crate::Caller;
use crate::client::decode;
use serde::de::DeserializeOwned;
use service_api::project::gone::Pruned;
use service_api::{Code, Problem, Project, view};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const PROGRAM: &str = "orchestratord";

/// Runs a one-shot command of the program, without a daemon.
///
/// # Errors
/// The problem in the answer; [`Code::DaemonUnreachable`] if the program is not found or cannot be run.
pub fn run_once<T: DeserializeOwned>(
    project: &Project,
    caller: Caller,
    words: &[&str],
) -> Result<T, Problem> {
    let mut command = program(caller.environment)?;
    command.args(words).arg("--config").arg(&project.config);
    answer(command)
}

/// Lists the projects.
///
/// # Errors
/// The problem in the answer; [`Code::DaemonUnreachable`] if the program is not found or cannot be run.
pub fn projects(caller: Caller) -> Result<Vec<view::ProjectSummary>, Problem> {
    let mut command = program(caller.environment)?;
    command.arg("projects");
    answer(command)
}

/// Removes the state of deleted projects.
///
/// # Errors
/// The problem in the answer; [`Code::DaemonUnreachable`] if the program is not found or cannot be run.
pub fn prune(caller: Caller) -> Result<Vec<Pruned>, Problem> {
    let mut command = program(caller.environment)?;
    command.args(["projects", "--prune"]);
    answer(command)
}

/// Whether services of the project with this state directory run.
pub fn has_running_services(caller: Caller, state_dir: &Path) -> bool {
    let is_it = |trace: &view::ProjectSummary| Path::new(&trace.state_dir) == state_dir;
    projects(caller).is_ok_and(|traces| traces.iter().any(|trace| is_it(trace) && trace.runs()))
}

/// Writes a first services.toml.
///
/// # Errors
/// The problem in the answer; [`Code::DaemonUnreachable`] if the program is not found or cannot be run.
pub fn init(caller: Caller, file: &Path, force: bool) -> Result<view::InitResult, Problem> {
    let mut command = program(caller.environment)?;
    command.arg("init").arg("--config").arg(file).args(force.then_some("--force"));
    answer(command)
}

fn answer<T: DeserializeOwned>(mut command: Command) -> Result<T, Problem> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| not_started(&error))?;
    if output.stdout.is_empty() {
        let message = format!("cannot get a result: `{PROGRAM}` ended with {}", output.status);
        return Err(
            Problem::new(Code::Internal, message).help(String::from_utf8_lossy(&output.stderr).trim())
        );
    }
    decode(&output.stdout)
}

/// A command of `orchestratord` with the environment of the shell and `/` as its working directory.
pub(crate) fn program(env: HashMap<String, String>) -> Result<Command, Problem> {
    let beside = std::env::current_exe().ok().map(|plugin| plugin.with_file_name(PROGRAM));
    let path = find_program(beside, &env).ok_or_else(|| {
        Problem::new(Code::DaemonUnreachable, format!("cannot find the program `{PROGRAM}`"))
            .help("install it beside the plugin or on $env.PATH, or name it in $env.ORCHESTRATORD")
    })?;
    let mut command = Command::new(path);
    command.env_clear().envs(env).current_dir("/");
    Ok(command)
}

fn find_program(beside: Option<PathBuf>, env: &HashMap<String, String>) -> Option<PathBuf> {
    let named = env.get("ORCHESTRATORD").map(PathBuf::from);
    let on_path = env.get("PATH").map(String::as_str).unwrap_or_default();
    let on_path = std::env::split_paths(on_path).map(|dir| dir.join(PROGRAM));
    beside.into_iter().chain(named).chain(on_path).find(|path| path.is_file())
}

/// The error of a program that could not be run.
pub(crate) fn not_started(error: &std::io::Error) -> Problem {
    Problem::new(Code::DaemonUnreachable, format!("cannot run `{PROGRAM}`: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_beside_the_plugin_comes_first() {
        let dir = tempfile::tempdir().unwrap();
        let [beside, named, bin] = ["beside", "named", "bin"].map(|name| dir.path().join(name));
        for (folder, file) in [(&beside, PROGRAM), (&named, "mine"), (&bin, PROGRAM)] {
            std::fs::create_dir(folder).unwrap();
            std::fs::write(folder.join(file), "").unwrap();
        }
        let text = |path: PathBuf| path.to_str().unwrap().to_owned();
        let mut env = HashMap::from([("PATH".into(), text(bin.clone()))]);
        assert_eq!(find_program(None, &env), Some(bin.join(PROGRAM)));
        env.insert("ORCHESTRATORD".into(), text(named.join("mine")));
        assert_eq!(find_program(None, &env), Some(named.join("mine")));
        assert_eq!(find_program(Some(beside.join(PROGRAM)), &env), Some(beside.join(PROGRAM)));
    }
}
