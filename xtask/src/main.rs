//! What a developer types: `cargo xtask demo | test | faults | bench | counts | readme | check`. One file a task; the standard library only.

mod bench;
mod check;
mod counts;
mod demo;
mod faults;
mod nu;
mod place;
mod readme;
mod test;

use std::error::Error;
use std::path::Path;
use std::process::{Command, ExitCode};

/// What a task answers.
type Done<T = ()> = Result<T, Box<dyn Error>>;

const USAGE: &str = "usage: cargo xtask <task>

  demo    build, play examples/quickstart in a real Nushell, leave no process behind
  test    every test: unit, property, doctests, end to end with the real nu and real servers, both Nushell fronts, faults under load
  faults  the fault matrix alone, also with every core kept busy; --long: 200 rounds of each fault; --release
  bench   how fast this is, in release builds, beside the bare machine and the peers that it has; writes docs/performance.md.
          With arguments, those of the bench: only what they ask for, and nothing is written
  counts  instructions of the small benches, compared with bench/counts.txt (--write); what others may make long, at twice the length
  readme  plays the five commands of the README and writes their answers into it, where they have changed
  check   formatting, clippy with warnings denied, test, counts, and whether the README is up to date";

fn main() -> ExitCode {
    let task = std::env::args().nth(1);
    let done = match task.as_deref() {
        Some("demo") => demo::run(),
        Some("test") => test::run(),
        Some("faults") => faults::run(&std::env::args().skip(2).collect::<Vec<_>>()),
        Some("bench") => bench::run(&std::env::args().skip(2).collect::<Vec<_>>()),
        Some("counts") => counts::run(&std::env::args().skip(2).collect::<Vec<_>>()),
        Some("readme") => readme::run(),
        Some("check") => check::run(),
        _ => Err(USAGE.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs a program in sight of the user, and fails as it fails.
fn run(command: &mut Command) -> Done {
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

/// Cargo, as it called us.
fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(place::root());
    command
}
