//! `cargo xtask bench`: how fast this project is, measured beside the bare machine (the floor) and beside the peers that the
//! machine has, in one run and in turns, so that what disturbs one disturbs all.

// A bench ends, and says why, where something is not as it should be.
#![allow(clippy::missing_panics_doc)]

mod contestants;
mod growth;
mod herald;
mod plot;
mod process;
mod quiet;
mod stage;
mod table;
mod work;

use lexopt::prelude::*;
use quiet::Quiet;
use stage::Contestant;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use table::Figures;
use work::{Row, Work};

const USAGE: &str =
    "usage: service-bench [--rounds N] [--only WORK]... [--with CONTESTANT]... [--noisy] [--growth FILE]

  --rounds N         how often each contestant plays each work (5)
  --only WORK        hundred, five-hundred, chain, layers, idle, checks, blocks, lines, cold,
                     core
  --with CONTESTANT  beside the floor and this project: s6, supervisor, systemd, dinit, pitchfork
                     (all that are there)
  --noisy            go on where other processes use more than 5 % of the machine
  --growth FILE      also measure 10 to 2,000 services, and draw a plot there";

struct Options {
    rounds: usize,
    only: Vec<String>,
    with: Vec<String>,
    noisy: bool,
    growth: Option<PathBuf>,
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
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|word| word == "floor") {
        let plan = arguments.next().ok_or("service-bench floor PARTS")?;
        return Ok(contestants::play_floor(Path::new(&plan))?);
    }
    let options = options()?;
    let _attic = work::Attic;
    let quiet = Quiet::listen();
    let contestants = contestants(&options);
    let names: Vec<&'static str> = contestants.iter().map(|one| one.name()).collect();
    let mut works = work::all();
    works.retain(|work| options.only.is_empty() || options.only.iter().any(|only| only == work.name));
    let figures = play(&works, &contestants, options.rounds);
    let rows: Vec<&Row> = works.iter().flat_map(|work| work.rows).collect();
    println!("{}", figures.table(&rows, &names, contestants::OURS));
    if let Some(path) = &options.growth {
        let (table, plot) = growth::play(&contestants, options.rounds).ok_or("nobody grows")?;
        println!("{table}");
        std::fs::write(path, plot)?;
    }
    match quiet.broken() {
        Some(loud) if options.noisy => eprintln!("these figures are worth little: {loud}"),
        Some(loud) => return Err(format!("these figures are worth nothing: {loud}").into()),
        None => {}
    }
    Ok(())
}

fn options() -> Result<Options, Box<dyn Error>> {
    let mut options = Options { rounds: 5, only: Vec::new(), with: Vec::new(), noisy: false, growth: None };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("rounds") => options.rounds = parser.value()?.parse()?,
            Long("only") => options.only.push(parser.value()?.string()?),
            Long("with") => options.with.push(parser.value()?.string()?),
            Long("noisy") => options.noisy = true,
            Long("growth") => options.growth = Some(parser.value()?.into()),
            Long("bench") => {}
            _ => return Err(format!("{}\n{USAGE}", argument.unexpected()).into()),
        }
    }
    Ok(options)
}

/// Those that are there, of those that are asked for.
fn contestants(options: &Options) -> Vec<Box<dyn Contestant>> {
    println!("- machine: {}", quiet::machine());
    let mut all = contestants::all();
    all.retain(|one| {
        let always = [contestants::FLOOR, contestants::OURS].contains(&one.name());
        let wanted = always || options.with.is_empty() || options.with.iter().any(|with| with == one.name());
        let version = one.version().filter(|_| wanted);
        if let Some(version) = &version {
            println!("- {}: {version}", one.name());
        }
        version.is_some()
    });
    println!();
    all
}

/// Every work, so many rounds, each round by each contestant in turn.
fn play(works: &[Work], contestants: &[Box<dyn Contestant>], rounds: usize) -> Figures {
    let mut figures = Figures::default();
    for work in works {
        for round in 1..=rounds {
            for contestant in contestants {
                for (row, value) in (work.play)(contestant.as_ref()).unwrap_or_default() {
                    eprintln!("{} {round}/{rounds}: {}: {row}: {value:.3}", work.name, contestant.name());
                    figures.add(row, contestant.name(), value);
                }
            }
        }
    }
    figures
}
