//! Checks whether `cargo nextest` is installed.

use crate::command::cargo;
use std::process::Stdio;

pub(crate) fn is_installed() -> bool {
    let mut version = cargo(&["nextest", "--version"]);
    version.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}
