//! `cargo xtask counts`: counts the instructions of the small benches with valgrind, independent of other load. The
//! counts are compared with `bench/counts.txt`; `--write` rewrites this file. Cases with input of other users run at a
//! size and at twice that size, and may take little more than twice as many instructions.

use crate::command::{self, TaskResult, cargo};
use crate::paths;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// The accepted excess of a case over its recorded count.
const MARGIN: f64 = 1.05;

/// The accepted excess over twice the count at twice the size: searches and sorts take a little more than twice as
/// much.
const GROWTH: f64 = 2.3;

/// The minimum count that is compared.
const MIN_COUNT: u64 = 50_000;
/// The case without work.
const NOTHING: &str = "nothing";

/// The number of runs in the smaller measurement. A case runs once and eleven times; the difference is ten runs.
const BASE_RUNS: u64 = 1;
const MANY: u64 = 11;

pub(crate) fn run(arguments: &[String]) -> TaskResult {
    if Command::new("valgrind").arg("--version").output().is_err() {
        return match std::env::var_os("CI") {
            Some(_) => Err("cannot count instructions: install valgrind".into()),
            None => {
                eprintln!("SKIPPED: instructions are counted by valgrind, which is not installed");
                Ok(())
            }
        };
    }
    command::run(&mut cargo(&["build", "--release", "--package", "service-bench", "--bin", "counted"]))?;
    let program = paths::programs()?.with_file_name("release").join("counted");
    grow(&program)?;
    let listed = Command::new(&program).output()?;
    let mut counted = BTreeMap::new();
    for case in String::from_utf8(listed.stdout)?.lines() {
        let [few, many] = [BASE_RUNS, MANY].map(|times| count(&program, &[case, &times.to_string()]));
        let [few, many] = [few?, many?];
        counted.insert(case.to_owned(), (many - few) / (MANY - BASE_RUNS));
    }
    let file = paths::root().join("bench/counts.txt");
    if arguments.iter().any(|argument| argument == "--write") {
        let mut text = String::new();
        counted.iter().try_for_each(|(case, count)| writeln!(text, "{case}: {count}"))?;
        return Ok(std::fs::write(file, text)?);
    }
    compare(&counted, &read(&std::fs::read_to_string(file)?))
}

/// Checks that no case grows faster than its input.
fn grow(program: &Path) -> TaskResult {
    let listed = String::from_utf8(Command::new(program).arg("grow").output()?.stdout)?;
    let cases: Vec<(u64, &str)> = listed
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(size, name)| Some((size.parse().ok()?, name)))
        .filter(|(_, name)| *name != NOTHING)
        .collect();
    // The cost of the start and the exit of the program.
    let nothing = count(program, &["grow", "1", NOTHING])?;
    let (next, fast) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || -> Result<(), String> {
        while let Some((size, name)) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            let at = |size: u64| {
                let count = count(program, &["grow", &size.to_string(), name]);
                count.map(|count| count.saturating_sub(nothing)).map_err(|error| error.to_string())
            };
            let [once, twice] = [at(*size)?, at(2 * size)?];
            let ratio = twice as f64 / once.max(MIN_COUNT) as f64;
            // A case without instructions of its own would prove nothing.
            if once == 0 || twice == 0 {
                return Err(format!("`{name}` counts nothing: it measures nothing"));
            }
            eprintln!("{name}: {once} instructions, twice as much takes {ratio:.2} times as many");
            if ratio > GROWTH {
                fast.lock().unwrap_or_else(PoisonError::into_inner).push(*name);
            }
        }
        Ok(())
    };
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let working: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        working
            .into_iter()
            .try_for_each(|worker| worker.join().map_err(|_| "a worker panicked".to_owned())?)
    })?;
    let fast = fast.into_inner().unwrap_or_else(PoisonError::into_inner);
    match fast.is_empty() {
        true => Ok(()),
        false => Err(format!(
            "these take over {GROWTH} times as many instructions for twice as much: {}",
            fast.join(", ")
        )
        .into()),
    }
}

fn count(program: &Path, arguments: &[&str]) -> TaskResult<u64> {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(program);
    let said = valgrind.args(arguments).output()?;
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    let collected = said.lines().find_map(|line| line.split_once("Collected : "));
    let (_, count) = collected.ok_or_else(|| format!("cannot count `{}`: {said}", arguments.join(" ")))?;
    Ok(count.trim().parse()?)
}

fn read(text: &str) -> BTreeMap<String, u64> {
    let lines = text.lines().filter_map(|line| line.rsplit_once(": "));
    lines.filter_map(|(case, count)| Some((case.to_owned(), count.parse().ok()?))).collect()
}

fn compare(counted: &BTreeMap<String, u64>, known: &BTreeMap<String, u64>) -> TaskResult {
    let mut slower = Vec::new();
    for (case, count) in counted {
        let Some(before) = known.get(case) else {
            return Err(format!("`{case}` is new: `cargo xtask counts --write`").into());
        };
        let ratio = *count as f64 / *before as f64;
        eprintln!("{case}: {count} instructions, {:+.1} %", (ratio - 1.0) * 100.0);
        if ratio > MARGIN {
            slower.push(case.as_str());
        }
    }
    if slower.is_empty() {
        return Ok(());
    }
    let slower = slower.join(", ");
    Err(format!("these take over 5 % more instructions than before: {slower}. If it is worth it: `cargo xtask counts --write`").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_may_take_a_twentieth_more_and_no_further() {
        let known = read("a case: with a colon: 1000\nanother: 7\n");
        let counted = |count| BTreeMap::from([("a case: with a colon".to_owned(), count)]);
        assert!(compare(&counted(1050), &known).is_ok());
        assert!(compare(&counted(1051), &known).is_err());
        assert!(compare(&BTreeMap::from([("new".to_owned(), 1)]), &known).is_err());
    }
}
