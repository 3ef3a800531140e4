//! Finds the Nushell that the plugin is built for, or installs it.

use crate::command::{TaskResult, cargo, run};
use crate::paths;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The version to install if there is none.
const VERSION: &str = "0.115.1";
/// The versions that can load the plugin.
const FITTING: &str = "0.115.";
/// The oldest version of the plain front.
const OLDEST: &str = "0.109.1";

/// A matching `nu`: `$SERVICE_TEST_NU`; without it, the `nu` on `PATH`, or a `nu` in the target directory, from npm or
/// built.
pub(crate) fn get() -> TaskResult<PathBuf> {
    let home = paths::target()?.join("nu");
    if let Some(nu) = std::env::var_os("SERVICE_TEST_NU").map(PathBuf::from).or_else(|| find_fitting(&home)) {
        return Ok(nu);
    }
    eprintln!("no Nushell {FITTING}x on PATH; getting {VERSION} into {}", home.display());
    let from_npm = from_npm(&home, VERSION);
    if let Some(nu) = find_fitting(&home) {
        return Ok(nu);
    }
    if let Err(error) = from_npm {
        eprintln!("{error}");
    }
    eprintln!("npm has none for this machine; building it, which takes some ten minutes");
    run(cargo(&["install", "nu", "--version", VERSION, "--locked", "--root"]).arg(&home))?;
    find_fitting(&home).ok_or_else(|| format!("cannot find a Nushell {FITTING}x: put one on PATH").into())
}

/// The oldest `nu` of the plain front, in the target directory; `None`, after a message, if npm has none.
pub(crate) fn oldest() -> TaskResult<Option<PathBuf>> {
    let home = paths::target()?.join("nu-oldest");
    let got = || got(&home).find(|nu| is(nu, OLDEST));
    if let Some(nu) = got() {
        return Ok(Some(nu));
    }
    if let Err(error) = from_npm(&home, OLDEST) {
        eprintln!("{error}");
    }
    let nu = got();
    if nu.is_none() {
        eprintln!("npm has no Nushell {OLDEST} for this machine: the plain front is not tried in it");
    }
    Ok(nu)
}

fn from_npm(home: &Path, version: &str) -> TaskResult {
    std::fs::create_dir_all(home)?;
    run(Command::new("npm")
        .args(["install", "--no-audit", "--no-fund", "--prefix"])
        .arg(home)
        .arg(format!("nushell@{version}")))
}

fn find_fitting(home: &Path) -> Option<PathBuf> {
    on_path().chain(got(home)).chain([home.join("bin/nu")]).find(|nu| is(nu, FITTING))
}

/// The binary that npm has installed. The npm package `nushell` is a script; the binary is in one of these packages,
/// which are named by system.
fn got(home: &Path) -> impl Iterator<Item = PathBuf> {
    let packages = std::fs::read_dir(home.join("node_modules/@nushell")).into_iter().flatten().flatten();
    packages.map(|package| package.path().join("bin/nu"))
}

fn on_path() -> impl Iterator<Item = PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|directory| directory.join("nu")).collect::<Vec<_>>().into_iter()
}

fn is(nu: &Path, version: &str) -> bool {
    let said = Command::new(nu).arg("--version").output();
    said.is_ok_and(|said| said.stdout.starts_with(version.as_bytes()))
}
