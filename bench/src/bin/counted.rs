//! `counted grow` lists the cases with a variable size, one per line, as size and name. `counted grow SIZE NAME` runs
//! one case once.
//!
//! Runs one case repeatedly: `counted CASE TIMES`. Without arguments it lists the cases, one per line. The difference
//! between eleven runs and one run, as counted by valgrind, is ten times the case alone.

use service_bench::{CASES, growing};
use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [grow, rest @ ..] = words.as_slice()
        && grow == "grow"
    {
        return grow_to(rest);
    }
    let [name, times] = words.as_slice() else {
        for case in CASES {
            println!("{}", case.name);
        }
        return ExitCode::SUCCESS;
    };
    let (Some(case), Ok(times)) = (CASES.iter().find(|case| case.name == name), times.parse::<u32>()) else {
        eprintln!("there is no case `{name}`, or `{times}` is no number");
        return ExitCode::FAILURE;
    };
    let mut act = (case.prepare)();
    for _ in 0..times {
        act();
    }
    ExitCode::SUCCESS
}

fn grow_to(words: &[String]) -> ExitCode {
    let all = growing::all();
    let [size, name] = words else {
        for case in all {
            println!("{} {}", case.size, case.name);
        }
        return ExitCode::SUCCESS;
    };
    match (all.iter().find(|case| case.name == *name), size.parse()) {
        (Some(case), Ok(size)) => {
            (case.act)(size);
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("nothing is called `{name}`, or `{size}` is no number");
            ExitCode::FAILURE
        }
    }
}
