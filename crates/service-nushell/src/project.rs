//! Finds the project of a call.

use crate::shell::{caller, directory, text};
use nu_plugin::EngineInterface;
use service_api::project::{Environment, home_directory, system_home};
use service_api::{Code, Problem, Project};
use service_client::orchestratord;
use std::ffi::OsString;
use std::path::Path;

/// The project of `--config`, or the nearest one upward.
pub fn find(engine: &EngineInterface, config: Option<&Path>) -> Result<Project, Problem> {
    in_environment(engine, |around| Project::find(config, around))
}

/// Like [`find`]. If there is no project and none is named, the result is the user's own project, which is created if
/// missing.
pub fn find_or_own(engine: &EngineInterface, config: Option<&Path>) -> Result<Project, Problem> {
    in_environment(engine, |around| match Project::find(config, around) {
        Err(problem) if problem.code == Code::NoProject && config.is_none() && around.named().is_none() => {
            Project::users_own(around)
        }
        found => found,
    })
}

fn in_environment<T>(
    engine: &EngineInterface,
    find: impl FnOnce(&Environment<'_>) -> Result<T, Problem>,
) -> Result<T, Problem> {
    let cwd = directory(engine)?;
    let env = |name: &str| {
        let value = engine.get_env_var(name).ok().flatten();
        let text = value.and_then(|value| text(name, &value, None)).map(OsString::from);
        if name == "HOME" { home_directory(text, system_home) } else { text }
    };
    let uid = nix::unistd::getuid().as_raw();
    find(&Environment {
        env: &env,
        cwd: &cwd,
        uid,
        runs: &|state_dir| has_running_services(engine, state_dir),
    })
}

/// Whether services of the project with this state directory run.
pub fn has_running_services(engine: &EngineInterface, state_dir: &Path) -> bool {
    caller(engine).is_ok_and(|caller| orchestratord::has_running_services(caller, state_dir))
}
