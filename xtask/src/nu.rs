//! Finds the Nushell that the plugin was built for, or gets it.

use crate::{Done, cargo, place, run};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What is got where there is none.
const VERSION: &str = "0.115.1";
/// What a plugin of this version can be loaded into.
const FITTING: &str = "0.115.";

/// A fitting `nu`: `$SERVICE_TEST_NU`, else the one on `PATH`, else one in the target directory: from npm, or built.
pub(crate) fn get() -> Done<PathBuf> {
    let home = place::target()?.join("nu");
    if let Some(nu) = std::env::var_os("SERVICE_TEST_NU").map(PathBuf::from).or_else(|| found(&home)) {
        return Ok(nu);
    }
    eprintln!("no Nushell {FITTING}x on PATH; getting {VERSION} into {}", home.display());
    std::fs::create_dir_all(&home)?;
    let from_npm = run(Command::new("npm")
        .args(["install", "--no-audit", "--no-fund", "--prefix"])
        .arg(&home)
        .arg(format!("nushell@{VERSION}")));
    if let Some(nu) = found(&home) {
        return Ok(nu);
    }
    if let Err(error) = from_npm {
        eprintln!("{error}");
    }
    eprintln!("npm has none for this machine; building it, which takes some ten minutes");
    run(cargo(&["install", "nu", "--version", VERSION, "--locked", "--root"]).arg(&home))?;
    found(&home).ok_or_else(|| format!("cannot find a Nushell {FITTING}x: put one on PATH").into())
}

fn found(home: &Path) -> Option<PathBuf> {
    // The npm package `nushell` is a script around the binary of one of these packages, called by system.
    let packages = std::fs::read_dir(home.join("node_modules/@nushell")).into_iter().flatten().flatten();
    let got = packages.map(|package| package.path().join("bin/nu")).chain([home.join("bin/nu")]);
    on_path().chain(got).find(|nu| fits(nu))
}

fn on_path() -> impl Iterator<Item = PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|directory| directory.join("nu")).collect::<Vec<_>>().into_iter()
}

fn fits(nu: &Path) -> bool {
    let said = Command::new(nu).arg("--version").output();
    said.is_ok_and(|said| said.stdout.starts_with(FITTING.as_bytes()))
}
