//! `cargo xtask bench`: how fast this project is, measured beside the bare machine (the floor) and beside the peers that the
//! machine has, in one run and in turns, so that what disturbs one disturbs all.

// A bench ends, and says why, where something is not as it should be.
#![allow(clippy::missing_panics_doc)]

mod contestants;
mod herald;
mod process;
mod quiet;
mod stage;
mod table;
mod work;

use lexopt::prelude::*;
use quiet::Quiet;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use table::Figures;
use work::{Row, Work};

const USAGE: &str =
    "usage: service-bench [--rounds N] [--only WORK]... [--with CONTESTANT]... [--noisy] [--out FILE]

  --rounds N         how often each contestant plays each work (5)
  --only WORK        hundred, five-hundred, chain, layers, idle, checks, blocks, lines, cold
  --with CONTESTANT  beside the floor and this project: s6, supervisor, systemd (all that are there)
  --noisy            go on where other processes use more than 5 % of the machine
  --out FILE         write the table there, too";

struct Options {
    rounds: usize,
    only: Vec<String>,
    with: Vec<String>,
    noisy: bool,
    out: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args_os().skip(1);
    if words.next().is_some_and(|word| word == "floor") {
        let plan = words.next().ok_or("service-bench floor PARTS")?;
        return Ok(contestants::play_floor(Path::new(&plan))?);
    }
    let options = options()?;
    contestants::pretend()?;
    let quiet = Quiet::listen();
    let (works, figures, names) = play(&options)?;
    let rows: Vec<&Row> = works.iter().flat_map(|work| work.rows).collect();
    let table = figures.table(&rows, &names, contestants::OURS);
    print!("{table}");
    if let Some(out) = &options.out {
        std::fs::write(out, &table)?;
    }
    match quiet.broken() {
        Some(loud) if options.noisy => eprintln!("these figures are worth little: {loud}"),
        Some(loud) => return Err(format!("these figures are worth nothing: {loud}").into()),
        None => {}
    }
    Ok(())
}

fn options() -> Result<Options, Box<dyn Error>> {
    let mut options = Options { rounds: 5, only: Vec::new(), with: Vec::new(), noisy: false, out: None };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("rounds") => options.rounds = parser.value()?.parse()?,
            Long("only") => options.only.push(parser.value()?.string()?),
            Long("with") => options.with.push(parser.value()?.string()?),
            Long("noisy") => options.noisy = true,
            Long("out") => options.out = Some(parser.value()?.into()),
            Long("bench") => {}
            _ => return Err(format!("{}\n{USAGE}", argument.unexpected()).into()),
        }
    }
    Ok(options)
}

/// Every work, so many rounds, each round by each contestant in turn.
fn play(options: &Options) -> Result<(Vec<Work>, Figures, Vec<&'static str>), Box<dyn Error>> {
    let mut works = work::all();
    works.retain(|work| options.only.is_empty() || options.only.iter().any(|only| only == work.name));
    let mut contestants = contestants::all();
    contestants.retain(|one| {
        let wanted = options.with.is_empty()
            || [contestants::FLOOR, contestants::OURS].contains(&one.name())
            || options.with.iter().any(|with| with == one.name());
        let version = one.version().filter(|_| wanted);
        if let Some(version) = &version {
            eprintln!("{}: {version}", one.name());
        }
        version.is_some()
    });
    let mut figures = Figures::default();
    for work in &works {
        for round in 1..=options.rounds {
            for contestant in &contestants {
                let Some(played) = (work.play)(contestant.as_ref()) else { continue };
                for (row, value) in played {
                    eprintln!(
                        "{} {round}/{}: {}: {row}: {value:.3}",
                        work.name,
                        options.rounds,
                        contestant.name()
                    );
                    figures.add(row, contestant.name(), value);
                }
            }
        }
    }
    Ok((works, figures, contestants.iter().map(|one| one.name()).collect()))
}
