//! `cargo xtask check`: all checks that a change must pass.

use crate::command::{self, TaskResult, cargo};
use crate::{instructions, paths, readme, test};
use std::process::{Command, Stdio};

pub(crate) fn run() -> TaskResult {
    command::run(&mut cargo(&["fmt", "--all", "--check"]))?;
    command::run(&mut cargo(&["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]))?;
    // Alone, the library has no HTTP client: its features are not those of the daemon.
    command::run(&mut cargo(&["clippy", "--package", "service-orchestrator", "--", "--deny", "warnings"]))?;
    let mut documentation =
        cargo(&["doc", "--workspace", "--no-deps", "--document-private-items", "--quiet"]);
    command::run(
        documentation.env("RUSTDOCFLAGS", "--deny warnings --allow rustdoc::private_intra_doc_links"),
    )?;
    if is_installed(Command::new("typos"), "cargo install --locked typos-cli")? {
        command::run(Command::new("typos").current_dir(paths::root()))?;
    }
    if is_installed(cargo(&["deny"]), "cargo install --locked cargo-deny")? {
        command::run(&mut cargo(&["deny", "--log-level", "error", "check", "bans", "licenses", "sources"]))?;
    }
    test::run()?;
    instructions::run(&[])?;
    readme::check()
}

/// Whether a tool can be run. On CI it must be installed; elsewhere its check is skipped.
fn is_installed(mut tool: Command, install: &str) -> TaskResult<bool> {
    tool.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    if tool.status().is_ok_and(|status| status.success()) {
        return Ok(true);
    }
    if std::env::var_os("CI").is_some() {
        return Err(format!("a tool is missing: `{install}`").into());
    }
    eprintln!("SKIPPED: a tool is missing: `{install}`");
    Ok(false)
}
