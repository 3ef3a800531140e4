//! The developer's tasks: `cargo xtask demo | test | faults | chaos | bench | counts | readme | dist | check`. Each
//! task is one file. Only the standard library is used.

mod bench;
mod chaos;
mod check;
mod command;
mod demo;
mod dist;
mod faults;
mod instructions;
mod nextest;
mod nu;
mod paths;
mod readme;
mod test;

use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask <task>

  demo    build, run examples/quickstart in a real Nushell, leave no process behind
  test    every test: unit, property, doctests, end to end with the real nu and real servers, both Nushell fronts, faults under load
  faults  the fault matrix alone, also with every core kept busy; --long: 200 rounds of each fault; --release
  chaos   random graphs, eight clients, faults in every process and in the machine, and a check of all results: --minutes N (1), --seed S,
          --without disk,descriptors,read-only,power, --keep, --release
  bench   speed of release builds, compared with the bare machine and the installed peers; writes docs/performance.md.
          With the bench's own arguments it runs only the selected part, and writes nothing
  counts  instructions of the small benches, compared with bench/counts.txt (--write); cases with input of other users also at twice the size
  readme  runs the five commands of the README and updates their output in it
  dist    the files of a release in target/dist: archive, Debian package, checksums
  check   formatting, clippy with warnings denied, test, counts, and whether the README is up to date";

fn main() -> ExitCode {
    let task = std::env::args().nth(1);
    let result = match task.as_deref() {
        Some("demo") => demo::run(),
        Some("dist") => dist::run(&std::env::args().skip(2).collect::<Vec<_>>()),
        Some("test") => test::run(),
        Some("faults") => faults::run(&std::env::args().skip(2).collect::<Vec<_>>()),
        Some("chaos") => chaos::run(&std::env::args().skip(2).collect::<Vec<_>>()),
        Some("bench") => bench::run(&std::env::args().skip(2).collect::<Vec<_>>()),
        Some("counts") => instructions::run(&std::env::args().skip(2).collect::<Vec<_>>()),
        Some("readme") => readme::run(),
        Some("check") => check::run(),
        _ => Err(USAGE.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
