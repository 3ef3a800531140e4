//! Does one case so many times: `counted CASE TIMES`. Without arguments: which cases are counted, one a line. What valgrind counts
//! for eleven times less once, is ten times the case alone.

use service_bench::CASES;
use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
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
