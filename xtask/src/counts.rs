//! `cargo xtask counts`: instructions of the small benches, counted by valgrind, which does not mind what else the machine does.
//! They are compared with `bench/counts.txt`; `--write` writes that anew.

use crate::{Done, cargo, place};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::process::Command;

/// How much more a case may take than is written down, before somebody has to look.
const MARGIN: f64 = 1.05;

/// A case is done once and eleven times; the difference is ten times the case alone.
const FEW: u64 = 1;
const MANY: u64 = 11;

pub(crate) fn run(arguments: &[String]) -> Done {
    if Command::new("valgrind").arg("--version").output().is_err() {
        return match std::env::var_os("CI") {
            Some(_) => Err("cannot count instructions: install valgrind".into()),
            None => {
                eprintln!("SKIPPED: instructions are counted by valgrind, which is not installed");
                Ok(())
            }
        };
    }
    crate::run(&mut cargo(&["build", "--release", "--package", "service-bench", "--bin", "counted"]))?;
    let program = place::programs()?.with_file_name("release").join("counted");
    let listed = Command::new(&program).output()?;
    let mut counted = BTreeMap::new();
    for case in String::from_utf8(listed.stdout)?.lines() {
        let [few, many] = [count(&program, case, FEW)?, count(&program, case, MANY)?];
        counted.insert(case.to_owned(), (many - few) / (MANY - FEW));
    }
    let file = place::root().join("bench/counts.txt");
    if arguments.iter().any(|argument| argument == "--write") {
        let mut text = String::new();
        counted.iter().try_for_each(|(case, count)| writeln!(text, "{case}: {count}"))?;
        return Ok(std::fs::write(file, text)?);
    }
    compare(&counted, &read(&std::fs::read_to_string(file)?))
}

fn count(program: &Path, case: &str, times: u64) -> Done<u64> {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(program);
    let said = valgrind.args([case, &times.to_string()]).output()?;
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    let collected = said.lines().find_map(|line| line.split_once("Collected : "));
    let (_, count) = collected.ok_or_else(|| format!("cannot count `{case}`: {said}"))?;
    Ok(count.trim().parse()?)
}

fn read(text: &str) -> BTreeMap<String, u64> {
    let lines = text.lines().filter_map(|line| line.rsplit_once(": "));
    lines.filter_map(|(case, count)| Some((case.to_owned(), count.parse().ok()?))).collect()
}

fn compare(counted: &BTreeMap<String, u64>, known: &BTreeMap<String, u64>) -> Done {
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
