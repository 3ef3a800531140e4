//! systemd as a user's manager, with a runtime directory of its own, asked with `systemctl`. A service with a port says that
//! it is ready over `$NOTIFY_SOCKET`.

use super::{Kept, version};
use crate::stage::{Contestant, Part, Stage};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const MANAGER: [&str; 2] = ["/lib/systemd/systemd", "/usr/lib/systemd/systemd"];

pub(crate) struct Systemd;

/// Lets a systemd run below this process where the machine was not booted with one: it wants to see a directory in
/// `/run`, which gets one that no other process sees. For root only; everybody else has systemd or does without.
pub(crate) fn pretend() -> nix::Result<()> {
    use nix::mount::{MsFlags, mount};
    use nix::sched::{CloneFlags, unshare};
    if Path::new(BOOTED).is_dir() || !nix::unistd::Uid::effective().is_root() {
        return Ok(());
    }
    let nothing = None::<&str>;
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing)?;
    mount(Some("none"), "/run", Some("tmpfs"), MsFlags::empty(), nothing)?;
    fs::create_dir_all(BOOTED).map_err(|error| nix::errno::Errno::from_raw(error.raw_os_error().unwrap_or(0)))
}

const BOOTED: &str = "/run/systemd/system";

impl Contestant for Systemd {
    fn name(&self) -> &'static str {
        "systemd"
    }

    fn version(&self) -> Option<String> {
        let there = Path::new(BOOTED).is_dir() && MANAGER.iter().any(|path| Path::new(path).is_file());
        version("systemctl", "--version").filter(|_| there)
    }

    fn raise(&self, parts: &[Part], directory: &Path) -> Option<Box<dyn Stage>> {
        if parts.iter().any(|part| part.check.is_some()) {
            return None;
        }
        let units = directory.join("config/systemd/user");
        fs::create_dir_all(&units).ok()?;
        fs::create_dir(directory.join("run")).ok()?;
        for part in parts {
            fs::write(units.join(&part.name).with_extension("service"), unit(part, parts, directory)).ok()?;
        }
        let manager = MANAGER.iter().find(|path| Path::new(path).is_file())?;
        let mut command = Command::new(manager);
        command.arg("--user").stdout(Stdio::null()).stderr(Stdio::null());
        let process = within(&mut command, directory).spawn().ok()?;
        let names = parts.iter().map(|part| format!("{}.service", part.name)).collect();
        let user = User { directory: directory.to_owned(), names, process: Kept(process) };
        service_tests::eventually("systemd is up", || {
            user.says("is-system-running").contains("running").then_some(())
        });
        Some(Box::new(user))
    }
}

fn unit(part: &Part, parts: &[Part], directory: &Path) -> String {
    let mut text = "[Unit]\n".to_owned();
    for need in &part.needs {
        let _ = writeln!(text, "Requires={0}.service\nAfter={0}.service", parts[*need].name);
    }
    let kind = if part.port.is_some() { "notify" } else { "simple" };
    let restart = if part.ends { "no" } else { "on-failure" };
    let (command, log) = (part.command.join(" "), log(directory, part));
    let _ = writeln!(
        text,
        "[Service]\nType={kind}\nExecStart={command}\nRestart={restart}\nNotifyAccess=all\nStandardOutput=append:{}",
        log.display()
    );
    text
}

fn log(directory: &Path, part: &Part) -> PathBuf {
    directory.join(&part.name).with_extension("log")
}

fn within<'a>(command: &'a mut Command, directory: &Path) -> &'a mut Command {
    command
        .env("XDG_RUNTIME_DIR", directory.join("run"))
        .env("XDG_CONFIG_HOME", directory.join("config"))
        .env("DBUS_SESSION_BUS_ADDRESS", format!("unix:path={}/run/bus", directory.display()))
}

struct User {
    directory: PathBuf,
    names: Vec<String>,
    process: Kept,
}

impl User {
    fn ask(&self, words: &[&str], names: &[String]) -> String {
        let mut command = Command::new("systemctl");
        command.args(["--user", "--no-pager"]).args(words).args(names).stderr(Stdio::null());
        let said = within(&mut command, &self.directory).output().expect("systemctl can be run");
        String::from_utf8_lossy(&said.stdout).into_owned()
    }

    fn says(&self, word: &str) -> String {
        self.ask(&[word], &[])
    }
}

impl Stage for User {
    fn start(&mut self) {
        self.ask(&["start", "--no-block"], &self.names);
    }

    fn stop(&mut self) {
        self.ask(&["stop", "--no-block"], &self.names);
    }

    fn log(&self, part: &Part) -> Option<PathBuf> {
        Some(log(&self.directory, part))
    }
}

impl Drop for User {
    fn drop(&mut self) {
        self.ask(&["stop"], &self.names);
        self.says("exit");
        service_tests::eventually("systemd is down", || self.process.0.try_wait().ok().flatten());
    }
}
