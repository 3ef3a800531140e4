//! `cargo xtask chaos`: runs random graphs with eight clients and a fault injector, for a given time. It accepts the
//! options of `service-chaos`, and `--release` for release builds.

use crate::command::{self, TaskResult, cargo};
use crate::paths;
use std::process::Command;

pub(crate) fn run(options: &[String]) -> TaskResult {
    let is_release = |option: &String| option == "--release";
    let others: Vec<&String> = options.iter().filter(|option| !is_release(option)).collect();
    let programs = if options.iter().any(is_release) {
        command::run(&mut cargo(&["build", "--release", "--workspace", "--bins"]))?;
        paths::target()?.join("release")
    } else {
        command::run(&mut cargo(&["build", "--workspace", "--bins"]))?;
        paths::programs()?
    };
    command::run(Command::new(programs.join("service-chaos")).args(others))
}
