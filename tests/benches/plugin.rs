//! The overhead of the plugin: of a warm `service status` compared with a call without work, of a cold one compared
//! with a Nushell without work, of the status of 100 services, and of many log lines as rows compared with the same
//! lines as text. The two sides of a comparison are measured in turns.
//!
//! `cargo xtask bench` builds the required programs and runs this bench.

// A bench panics if a step fails.
#![allow(clippy::unwrap_used)]

use service_tests::{Project, program};
use std::fmt::Write as _;
use std::process::Command;
use std::time::{Duration, Instant};

const ROUNDS: usize = 30;
const LINES: usize = 100_000;

fn main() {
    let mut services = format!("[services.talker]\nstart_command = \"seq {LINES}\"\noneshot = true\n");
    for n in 0..9 {
        writeln!(services, "[services.s{n}]\nstart_command = \"sleep 1000\"\nready = {{ delay = \"0s\" }}")
            .unwrap();
    }
    let Some(project) = Project::new(&services) else { return };
    project.value("service start --all");
    warm(&project);
    cold(&project);
    logs(&project);
    drop(project);
    many_services();
}

/// The status of a hundred running services.
fn many_services() {
    let mut services = String::new();
    for n in 0..100 {
        writeln!(services, "[services.s{n}]\nstart_command = \"sleep 1000\"\nready = {{ delay = \"0s\" }}")
            .unwrap();
    }
    let Some(project) = Project::new(&services) else { return };
    project.value("service start --all");
    let [full, empty] = in_one_shell(&project, ROUNDS, ["service status", "[] | service status"]);
    println!("warm `service status` of 100 services: {full:?}; a call without work: {empty:?}");
}

/// The median times of lines that run in turns in one shell.
fn in_one_shell(project: &Project, rounds: usize, lines: [&str; 2]) -> [Duration; 2] {
    let [one, other] = lines;
    let medians = project.value(&format!(
        "let times = 1..{rounds} | each {{ {{one: (timeit {{ {one} | ignore }}) other: (timeit {{ {other} | ignore }})}} }}
         [($times.one | math median) ($times.other | math median)] | into int"
    ));
    [0, 1].map(|n| Duration::from_nanos(medians[n].as_u64().unwrap()))
}

fn warm(project: &Project) {
    let [full, empty] = in_one_shell(project, ROUNDS, ["service status", "[] | service status"]);
    let added = full.saturating_sub(empty);
    println!(
        "warm `service status` of 10 services: {full:?}; a call without work: {empty:?}; added: {added:?} (bound: 3 ms)"
    );
}

/// Measures a new Nushell. The plugin is registered like a user's, so Nushell starts it only for a call.
fn cold(project: &Project) {
    project.write("empty.nu", "");
    let [nu, ..] = project.shell();
    let shell = |line: &str| {
        let mut command: Command = project.command(&nu);
        command.args(["--no-std-lib", "--config", "empty.nu", "--env-config", "empty.nu"]);
        command.args(["--plugin-config", "plugins.msgpackz", "--commands", line]);
        let begun = Instant::now();
        let output = command.output().unwrap();
        let took = begun.elapsed();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        took
    };
    shell(&format!("plugin add {}", program("nu_plugin_service").display()));
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        with.push(shell("service status | ignore"));
        without.push(shell("null"));
    }
    let (with, without) = (median(&mut with), median(&mut without));
    let added = with.saturating_sub(without);
    println!(
        "cold `nu -c 'service status'`: {with:?}; `nu -c null`: {without:?}; added: {added:?} (bound: 15 ms)"
    );
}

fn logs(project: &Project) {
    let ask = format!("service logs talker --tail {LINES}");
    assert_eq!(project.value(&format!("{ask} | where stream == stdout | length")), LINES);
    let raw = format!("{ask} --raw | lines");
    let [rows, text] = in_one_shell(project, 5, [&ask, &raw]);
    let ratio = rows.as_secs_f64() / text.as_secs_f64();
    println!(
        "{LINES} log lines as rows: {rows:?} (bound: 0.5 s); as text, cut into lines: {text:?}; ratio {ratio:.1}"
    );
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
