//! dinit, asked with `dinitctl`. The parts are what a service `all` waits for. One with a port says that it is ready over
//! the pipe that dinit gives it; the logs are files that the services write themselves.

use super::{Kept, version};
use crate::stage::{Contestant, Part, Stage};
use service_tests::installed;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub(crate) struct Dinit;

impl Contestant for Dinit {
    fn name(&self) -> &'static str {
        "dinit"
    }

    fn version(&self) -> Option<String> {
        installed("dinitctl")?;
        version("dinit", "--version")
    }

    fn raise(&self, parts: &[Part], directory: &Path) -> Option<Box<dyn Stage>> {
        if parts.iter().any(|part| part.check.is_some()) {
            return None;
        }
        let services = directory.join("services");
        fs::create_dir(&services).ok()?;
        let mut all = "type = internal\n".to_owned();
        for part in parts {
            let _ = writeln!(all, "waits-for = {}", part.name);
            fs::write(services.join(&part.name), description(part, parts, directory)).ok()?;
        }
        fs::write(services.join("all"), all).ok()?;
        fs::write(services.join("boot"), "type = internal\n").ok()?;
        let socket = directory.join("socket");
        let process = Command::new(installed("dinit")?)
            .args(["--user", "--quiet", "--services-dir"])
            .arg(&services)
            .arg("--socket-path")
            .arg(&socket)
            .env("BENCH_STAGE", directory.join("dinit"))
            .stdout(Stdio::null())
            .spawn()
            .ok()?;
        service_tests::eventually("dinit listens", || socket.exists().then_some(()));
        let control = installed("dinitctl")?;
        Some(Box::new(User { directory: directory.to_owned(), control, socket, process: Kept(process) }))
    }
}

fn description(part: &Part, parts: &[Part], directory: &Path) -> String {
    let (command, log) = (part.command.join(" "), log(directory, part));
    let again = !part.ends;
    let mut text =
        format!("type = process\ncommand = {command}\nrestart = {again}\nlogfile = {}\n", log.display());
    for need in &part.needs {
        let _ = writeln!(text, "depends-on = {}", parts[*need].name);
    }
    if part.port.is_some() {
        text.push_str("ready-notification = pipevar:READY_FD\n");
    }
    text
}

fn log(directory: &Path, part: &Part) -> PathBuf {
    directory.join(&part.name).with_extension("log")
}

struct User {
    directory: PathBuf,
    control: PathBuf,
    socket: PathBuf,
    process: Kept,
}

impl User {
    fn ask(&self, words: &[&str]) {
        let mut command = Command::new(&self.control);
        let command = command.arg("--quiet").arg("--socket-path").arg(&self.socket).args(words);
        assert!(command.status().is_ok_and(|status| status.success()), "dinitctl {words:?}");
    }
}

impl Stage for User {
    fn start(&mut self) {
        self.ask(&["start", "--no-wait", "all"]);
    }

    fn stop(&mut self) {
        self.ask(&["stop", "--no-wait", "all"]);
    }

    fn log(&self, part: &Part) -> Option<PathBuf> {
        Some(log(&self.directory, part))
    }
}

impl Drop for User {
    fn drop(&mut self) {
        self.ask(&["shutdown"]);
        service_tests::eventually("dinit is down", || self.process.0.try_wait().ok().flatten());
    }
}
