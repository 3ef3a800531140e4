//! `cargo xtask bench`: measures this project, the bare machine (the baseline) and the peers that are installed. They
//! run in turns, so that a disturbance affects all of them.

// The bench panics with a reason if a result is unexpected.
#![allow(clippy::missing_panics_doc)]

mod disk;
mod growth;
mod harness;
mod noise_guard;
mod plot;
mod process;
mod stamps;
mod systems;
mod table;
mod workloads;

use disk::Medium;
use harness::System;
use lexopt::prelude::*;
use noise_guard::NoiseGuard;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use table::Figures;
use workloads::workload::{Row, Workload};

const USAGE: &str =
    "usage: service-bench [--rounds N] [--quick] [--only WORKLOAD]... [--with SYSTEM]... [--alone] [--disk DIR]
                     [--noisy] [--growth FILE]

  --rounds N         how often each system runs each workload (5)
  --quick            one round, on a disk that was not in use, whatever other processes use of the machine
  --only WORKLOAD    hundred, five-hundred, two-thousand, chain, layers, uneven, idle, checks, blocks,
                     lines, large-log, followers, streams, cold, core
  --with SYSTEM      beside the baseline and this project: s6, supervisor, systemd, dinit, pitchfork
                     (all that are there)
  --alone            the baseline and this project only
  --disk DIR         a directory on the disk (that of this program)
  --noisy            go on where other processes use more than 5 % of the machine
  --growth FILE      also measure 10 to 2,000 services, and draw a plot there";

struct Options {
    rounds: usize,
    only: Vec<String>,
    with: Vec<String>,
    alone: bool,
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
    if arguments.next().is_some_and(|word| word == "baseline") {
        let plan = arguments.next().ok_or("service-bench baseline SERVICES")?;
        return Ok(systems::run_baseline(Path::new(&plan))?);
    }
    let options = options()?;
    let _cleanup = workloads::sandbox::Cleanup;
    let noise = NoiseGuard::start();
    let systems = systems(&options);
    let names: Vec<&'static str> = systems.iter().map(|one| one.name()).collect();
    let mut workloads = workloads::all();
    workloads
        .retain(|workload| options.only.is_empty() || options.only.iter().any(|only| only == workload.name));
    let figures = measure(&workloads, &systems, options.rounds);
    let rows: Vec<&Row> = workloads.iter().flat_map(|workload| workload.rows).collect();
    println!("{}", figures.table(&rows, &names, &systems::OURS));
    if let Some(path) = &options.growth {
        let (table, plot) =
            growth::run(&systems, options.rounds).ok_or("no system can run the growth workload")?;
        println!("{table}");
        std::fs::write(path, plot)?;
    }
    match noise.excess() {
        Some(excess) if options.noisy => eprintln!("these figures are unreliable: {excess}"),
        Some(excess) => return Err(format!("these figures are unreliable: {excess}").into()),
        None => {}
    }
    Ok(())
}

fn options() -> Result<Options, Box<dyn Error>> {
    let mut options =
        Options { rounds: 5, only: Vec::new(), with: Vec::new(), alone: false, noisy: false, growth: None };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("rounds") => options.rounds = parser.value()?.parse()?,
            Long("only") => options.only.push(parser.value()?.string()?),
            Long("with") => options.with.push(parser.value()?.string()?),
            Long("alone") => options.alone = true,
            Long("quick") => {
                options.rounds = 1;
                disk::do_not_age();
                options.noisy = true;
            }
            Long("disk") => disk::select(parser.value()?.into()),
            Long("noisy") => options.noisy = true,
            Long("growth") => options.growth = Some(parser.value()?.into()),
            Long("help") => {
                println!("{USAGE}");
                std::process::exit(0);
            }
            Long("bench") => {}
            _ => return Err(format!("{}\n{USAGE}", argument.unexpected()).into()),
        }
    }
    Ok(options)
}

/// The requested systems that are installed.
fn systems(options: &Options) -> Vec<Box<dyn System>> {
    println!("- machine: {}", noise_guard::machine());
    println!("- disk: {}", Medium::Disk.file_system());
    let mut all = systems::all();
    all.retain(|one| {
        let always = one.name() == systems::BASELINE || systems::is_ours(one.as_ref());
        let all = options.with.is_empty() && !options.alone;
        let wanted = always || all || options.with.iter().any(|with| with == one.name());
        let version = one.version().filter(|_| wanted);
        if let Some(version) = &version {
            println!("- {}: {version}", one.name());
        }
        version.is_some()
    });
    println!();
    all
}

/// Runs every workload several times, each time on each system in turn.
fn measure(workloads: &[Workload], systems: &[Box<dyn System>], rounds: usize) -> Figures {
    let mut figures = Figures::default();
    for workload in workloads {
        for round in 1..=rounds {
            for system in systems {
                for (row, value) in (workload.run)(system.as_ref()).unwrap_or_default() {
                    eprintln!("{} {round}/{rounds}: {}: {row}: {value:.3}", workload.name, system.name());
                    figures.add(row, system.name(), value);
                }
            }
        }
    }
    figures
}
