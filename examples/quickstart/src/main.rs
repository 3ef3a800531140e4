//! Three small servers with dependencies, for a first trial of the orchestrator: `database`, `cache` and `web-app`.
//!
//! Each is one role of this program; `services.toml` beside it defines their dependencies.

mod cache;
mod database;
mod lines;
mod web_app;

use std::error::Error;
use std::process::ExitCode;

const USAGE: &str = "usage: quickstart database --port PORT --file FILE
       quickstart cache --port PORT --database ADDRESS
       quickstart web-app --port PORT --cache ADDRESS";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<(), Box<dyn Error>> {
    let option = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name);
        at.and_then(|at| arguments.get(at + 1)).ok_or_else(|| format!("missing option {name}\n{USAGE}"))
    };
    let port = || -> Result<u16, Box<dyn Error>> { Ok(option("--port")?.parse()?) };
    match arguments.first().map(String::as_str) {
        Some("database") => database::serve(port()?, option("--file")?.into())?,
        Some("cache") => cache::serve(port()?, option("--database")?.clone())?,
        Some("web-app") => web_app::serve(port()?, option("--cache")?)?,
        _ => return Err(USAGE.into()),
    }
    Ok(())
}
