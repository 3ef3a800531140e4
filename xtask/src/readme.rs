//! `cargo xtask readme`: updates the output of the five commands in the README, so that it cannot become outdated.
//!
//! Process ids, times and sizes differ between runs, and so do the widths of columns. Texts are compared without them,
//! and the README is written only if the rest differs.

use crate::command::TaskResult;
use crate::{demo, paths};
use std::fs;
use std::process::{Command, Stdio};

const OPENS: &str = "## Five commands\n\n```nu\n";
const CLOSES: &str = "```\n\n## All commands";

/// Rewrites the section if it is outdated.
pub(crate) fn run() -> TaskResult {
    let (before, old, after) = split()?;
    let new = run_commands()?;
    if without_numbers(&old) == without_numbers(&new) {
        eprintln!("the README is up to date");
        return Ok(());
    }
    fs::write(paths::root().join("README.md"), [before, new, after].concat())?;
    eprintln!("rewrote README.md");
    Ok(())
}

/// Fails if the section is outdated.
pub(crate) fn check() -> TaskResult {
    let (_, old, _) = split()?;
    if without_numbers(&old) == without_numbers(&run_commands()?) {
        return Ok(());
    }
    Err("the output of the five commands in README.md is outdated: run `cargo xtask readme`".into())
}

/// The README before the section, the section, and the rest.
fn split() -> TaskResult<(String, String, String)> {
    let readme = fs::read_to_string(paths::root().join("README.md"))?;
    let unknown = || format!("cannot find the section of `{}` in README.md", OPENS.trim());
    let (before, rest) = readme.split_once(OPENS).ok_or_else(unknown)?;
    let (section, after) = rest.split_once(CLOSES).ok_or_else(unknown)?;
    Ok((format!("{before}{OPENS}"), section.to_owned(), format!("{CLOSES}{after}")))
}

fn run_commands() -> TaskResult<String> {
    let capture = |command: &mut Command| -> TaskResult<String> {
        let output = command.stderr(Stdio::inherit()).output()?;
        match output.status.success() {
            true => Ok(String::from_utf8(output.stdout)?),
            false => Err(format!("cannot run the five commands: nu ended with {}", output.status).into()),
        }
    };
    let text = demo::run_script("readme", "readme.nu", capture)?;
    Ok(format!("{}\n", text.trim_end()))
}

/// A text without its numbers, their units, and the widths of its columns.
fn without_numbers(text: &str) -> String {
    let words = |line: &str| {
        let words = line.split_whitespace().map(strip_number).filter(|word| !word.is_empty());
        words.collect::<Vec<_>>().join(" ")
    };
    text.lines().map(words).collect::<Vec<_>>().join("\n")
}

fn strip_number(word: &str) -> String {
    const UNITS: [&str; 9] = ["ns", "µs", "ms", "sec", "B", "kB", "MB", "now", "ago"];
    let without: String = word.chars().filter(|c| !c.is_ascii_digit() && !matches!(c, '.' | '─')).collect();
    if UNITS.contains(&without.as_str()) || without.starts_with("second") { String::new() } else { without }
}

#[cfg(test)]
mod tests {
    use super::without_numbers;

    #[test]
    fn numbers_and_widths_make_no_difference_and_words_do() {
        let one = "│ 0 │ db │ 14ms │ 2.3 MB │ now │\n╰───┴──╯";
        assert_eq!(
            without_numbers(one),
            without_numbers("│ 0 │ db │ 1sec 214ms │   12.3 kB │ 2 seconds ago │\n╰─────┴──╯")
        );
        assert_ne!(without_numbers(one), without_numbers(&one.replace("db", "web")));
    }
}
