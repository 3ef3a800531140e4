//! `cargo xtask bench`: release builds, measured beside others on the same machine in the same run.

use crate::{Done, cargo};

pub(crate) fn run() -> Done {
    let build = ["build", "--release", "--package", "service-orchestrator", "--package", "service-shim"];
    crate::run(&mut cargo(&build))?;
    crate::run(&mut cargo(&["bench", "--package", "service-tests"]))
}
