//! Programs that a task runs, and the result of a task.

use crate::paths;
use std::error::Error;
use std::path::Path;
use std::process::Command;

/// The result of a task.
pub(crate) type TaskResult<T = ()> = Result<T, Box<dyn Error>>;

/// Prints the command line, runs the program with inherited output, and fails if the program fails.
pub(crate) fn run(command: &mut Command) -> TaskResult {
    let program = Path::new(command.get_program());
    let line = std::iter::once(program.file_name().unwrap_or(program.as_os_str()))
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ");
    eprintln!("$ {line}");
    let status = command.status().map_err(|error| format!("cannot run `{line}`: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("cannot go on: `{line}` ended with {status}").into()) }
}

/// The cargo that runs this task, in the root of the repository.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(paths::root());
    command
}
