//! `cargo xtask bench`: measures release builds and other systems on the same machine, in one run.

use crate::command::{self, TaskResult, cargo};
use crate::{nu, paths};
use std::path::PathBuf;
use std::process::{Command, Stdio};

const PACKAGES: [&str; 4] = ["service-bench", "orchestratord", "service-shim", "nu_plugin_service"];

/// The service of all systems is a static program, so that its own start costs almost nothing.
const PAYLOAD: [&str; 9] = [
    "rustc",
    "--release",
    "--package=service-bench",
    "--bin=payload",
    "--",
    "-C",
    "target-feature=+crt-static",
    "-C",
    "relocation-model=static",
];

/// The markers around the text of the bench.
const MARKS: [&str; 2] = ["<!-- measured -->\n", "<!-- measured until here -->\n"];

pub(crate) fn run(arguments: &[String]) -> TaskResult {
    let mut build = cargo(&["build", "--release"]);
    for package in PACKAGES {
        build.args(["--package", package]);
    }
    command::run(&mut build)?;
    command::run(&mut cargo(&PAYLOAD))?;
    let programs = paths::programs()?.with_file_name("release");
    let mut bench = Command::new(programs.join("service-bench"));
    bench.env("SERVICE_TEST_PROGRAMS", &programs).current_dir(paths::root());
    if !arguments.is_empty() {
        return command::run(bench.args(arguments));
    }
    let measured = bench.args(["--growth", "docs/growth.svg"]).stderr(Stdio::inherit()).output()?;
    let text = String::from_utf8(measured.stdout)?;
    print!("{text}");
    if !measured.status.success() {
        return Err("the bench has failed; nothing is written".into());
    }
    write(&text)?;
    command::run(cargo(&["bench", "--package", "service-tests"]).env("SERVICE_TEST_NU", nu::get()?))
}

fn write(measured: &str) -> TaskResult {
    let path: PathBuf = paths::root().join("docs/performance.md");
    let page = std::fs::read_to_string(&path)?;
    let [from, to] = MARKS;
    let parts = page.split_once(from).and_then(|(before, rest)| Some((before, rest.split_once(to)?.1)));
    let (before, after) = parts.ok_or_else(|| format!("{} has lost its marks", path.display()))?;
    Ok(std::fs::write(path, format!("{before}{from}{measured}{to}{after}"))?)
}
