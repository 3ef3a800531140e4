//! pitchfork, controlled with its command line, with default settings except for `retry`, without which no service is
//! started again. The bench does not wait for the command `start`, which waits for more than live processes. pitchfork
//! writes logs to a database.

use crate::harness::{Instance, Place, ServiceSpec, System};
use crate::systems::program::{ChildGuard, version};
use service_tests::installed;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// The time limit for its exit. pitchfork stops services layer by layer.
const EXIT_TIMEOUT: Duration = Duration::from_mins(2);

pub(crate) struct Pitchfork;

impl System for Pitchfork {
    fn name(&self) -> &'static str {
        "pitchfork"
    }

    fn version(&self) -> Option<String> {
        version("pitchfork", "--version")
    }

    fn set_up(&self, services: &[ServiceSpec], place: &Place) -> Option<Box<dyn Instance>> {
        let directory = place.directory.as_path();
        if services.iter().any(|service| service.output.is_some()) {
            return None;
        }
        fs::write(directory.join("pitchfork.toml"), definition(services)).ok()?;
        let home = directory.join("home");
        fs::create_dir(&home).ok()?;
        let process = command(directory)?.args(["supervisor", "run"]).spawn().ok()?;
        let socket = home.join(".local/state/pitchfork/sock/main.sock");
        service_tests::eventually("pitchfork listens", || socket.exists().then_some(()));
        Some(Box::new(Supervisor {
            directory: directory.to_owned(),
            asked: Vec::new(),
            process: ChildGuard(process),
        }))
    }
}

fn command(directory: &Path) -> Option<Command> {
    let mut command = Command::new(installed("pitchfork")?);
    command
        .current_dir(directory)
        .env("HOME", directory.join("home"))
        .env("BENCH_INSTANCE", directory.join("pitchfork"))
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Some(command)
}

fn definition(services: &[ServiceSpec]) -> String {
    let mut text = "namespace = \"bench\"\n".to_owned();
    for service in services {
        let needs: Vec<&str> = service.needs.iter().map(|need| services[*need].name.as_str()).collect();
        let (name, command) = (&service.name, service.command.join(" "));
        let _ = write!(text, "[daemons.{name}]\nrun = {command:?}\nretry = true\ndepends = {needs:?}\n");
        if let Some(port) = service.port {
            let _ = writeln!(text, "ready_port = {port}");
        }
        if let Some((url, every)) = &service.check {
            let _ =
                writeln!(text, "health_http = {{ url = {url:?}, interval = \"{}ms\" }}", every.as_millis());
        }
    }
    text
}

struct Supervisor {
    directory: PathBuf,
    asked: Vec<ChildGuard>,
    process: ChildGuard,
}

impl Supervisor {
    fn run(&mut self, words: &[&str]) {
        let asked = command(&self.directory).and_then(|mut command| command.args(words).spawn().ok());
        self.asked.push(ChildGuard(asked.expect("pitchfork can be run")));
    }
}

impl Instance for Supervisor {
    fn start(&mut self) {
        self.run(&["start", "--local", "--quiet"]);
    }

    fn stop(&mut self) {
        self.run(&["stop", "--local"]);
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.run(&["supervisor", "stop"]);
        service_tests::within(EXIT_TIMEOUT, "pitchfork is down", || self.process.0.try_wait().ok().flatten());
    }
}
