//! `cargo xtask dist`: creates the files of a release in `target/dist`: an archive with the three programs and the
//! Nushell modules, a Debian package if `cargo deb` is installed, and their checksums. `--tag v1.2.3` fails if the
//! version differs.

use crate::command::{self, TaskResult, cargo};
use crate::paths;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

const PACKAGES: [&str; 3] = ["orchestratord", "service-shim", "nu_plugin_service"];
const PROGRAMS: [&str; 3] = ["orchestratord", "service-shim", "nu_plugin_service"];
/// Further files of the archive. `install.nu` reads the Nushell version of the plugin from `Cargo.lock`.
const FILES: [&str; 9] = [
    "install.nu",
    "nu/managers",
    "nu/service",
    "nu/service-http",
    "Cargo.lock",
    "CHANGELOG.md",
    "LICENSE",
    "README.md",
    "docs",
];

pub(crate) fn run(arguments: &[String]) -> TaskResult {
    let version = env!("CARGO_PKG_VERSION");
    match arguments {
        [] => {}
        [option, tag] if option == "--tag" && *tag == format!("v{version}") => {}
        [option, tag] if option == "--tag" => {
            return Err(format!("cannot release {tag}: the version in Cargo.toml is {version}").into());
        }
        _ => return Err("usage: cargo xtask dist [--tag TAG]".into()),
    }
    let mut build = cargo(&["build", "--release", "--locked"]);
    for package in PACKAGES {
        build.args(["--package", package]);
    }
    command::run(&mut build)?;
    let release = paths::target()?.join("release");
    let dist = paths::target()?.join("dist");
    if dist.exists() {
        fs::remove_dir_all(&dist)?;
    }
    let name = format!("service-orchestrator-{version}-{}-linux", std::env::consts::ARCH);
    pack(&dist, &name, &release)?;
    if has_cargo_deb() {
        let mut deb = cargo(&["deb", "--no-build", "--package", PACKAGES[0], "--output"]);
        command::run(deb.arg(&dist))?;
    } else {
        eprintln!("SKIPPED: no Debian package: `cargo install --locked cargo-deb`");
    }
    sum(&dist)
}

/// Copies programs and files into a directory of this name, and packs the directory.
fn pack(dist: &Path, name: &str, release: &Path) -> TaskResult {
    let top = dist.join(name);
    fs::create_dir_all(top.join("bin"))?;
    fs::create_dir_all(top.join("nu"))?;
    for program in PROGRAMS {
        fs::copy(release.join(program), top.join("bin").join(program))?;
    }
    for file in FILES {
        command::run(Command::new("cp").arg("-R").arg(paths::root().join(file)).arg(top.join(file)))?;
    }
    let archive = dist.join(format!("{name}.tar.gz"));
    let mut tar = Command::new("tar");
    tar.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "-czf"]).arg(archive);
    command::run(tar.arg("-C").arg(dist).arg(name))?;
    Ok(fs::remove_dir_all(top)?)
}

fn has_cargo_deb() -> bool {
    let mut version = cargo(&["deb", "--version"]);
    version.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// Writes one `FILE.sha256` for each file, in the format of `sha256sum --check`.
fn sum(dist: &Path) -> TaskResult {
    let mut names: Vec<_> = fs::read_dir(dist)?.flatten().map(|entry| entry.file_name()).collect();
    names.sort();
    for name in names {
        let sum = Command::new("sha256sum").arg(&name).current_dir(dist).output()?;
        if !sum.status.success() {
            return Err(String::from_utf8_lossy(&sum.stderr).into_owned().into());
        }
        let mut file = name.clone();
        file.push(".sha256");
        fs::write(dist.join(file), sum.stdout)?;
        println!("{}", dist.join(name).display());
    }
    Ok(())
}
