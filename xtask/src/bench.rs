//! `cargo xtask bench`: release builds, measured beside others on the same machine in the same run.

use crate::{Done, cargo, nu};

const PACKAGES: [&str; 3] = ["service-orchestrator", "service-shim", "nu_plugin_service"];

pub(crate) fn run() -> Done {
    let mut build = cargo(&["build", "--release"]);
    for package in PACKAGES {
        build.args(["--package", package]);
    }
    crate::run(&mut build)?;
    crate::run(cargo(&["bench", "--package", "service-tests"]).env("SERVICE_TEST_NU", nu::get()?))
}
