//! `counted grow` tells what may grow, one a line, a size and a name; `counted grow SIZE NAME` does it once.
//!
//! Does one case so many times: `counted CASE TIMES`. Without arguments: which cases are counted, one a line. What valgrind counts
//! for eleven times less once, is ten times the case alone.

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
