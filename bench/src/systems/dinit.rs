//! dinit, controlled with `dinitctl`. A service `all` depends on every service. A service with a port reports readiness
//! over dinit's pipe. The services themselves write their logs to files.

use crate::harness::{Instance, Place, ServiceSpec, System, log_in};
use crate::systems::program::{ChildGuard, version};
use service_tests::installed;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub(crate) struct Dinit;

impl System for Dinit {
    fn name(&self) -> &'static str {
        "dinit"
    }

    fn version(&self) -> Option<String> {
        installed("dinitctl")?;
        version("dinit", "--version")
    }

    fn set_up(&self, services: &[ServiceSpec], place: &Place) -> Option<Box<dyn Instance>> {
        let directory = place.directory.as_path();
        if services.iter().any(|service| service.check.is_some()) {
            return None;
        }
        let definitions = directory.join("services");
        fs::create_dir(&definitions).ok()?;
        let mut all = "type = internal\n".to_owned();
        for service in services {
            let _ = writeln!(all, "waits-for = {}", service.name);
            fs::write(definitions.join(&service.name), description(service, services, directory)).ok()?;
        }
        fs::write(definitions.join("all"), all).ok()?;
        fs::write(definitions.join("boot"), "type = internal\n").ok()?;
        let socket = directory.join("socket");
        let process = Command::new(installed("dinit")?)
            .args(["--user", "--quiet", "--services-dir"])
            .arg(&definitions)
            .arg("--socket-path")
            .arg(&socket)
            .env("BENCH_INSTANCE", directory.join("dinit"))
            .stdout(Stdio::null())
            .spawn()
            .ok()?;
        service_tests::eventually("dinit listens", || socket.exists().then_some(()));
        let control = installed("dinitctl")?;
        Some(Box::new(User {
            directory: directory.to_owned(),
            control,
            socket,
            process: ChildGuard(process),
        }))
    }
}

fn description(service: &ServiceSpec, services: &[ServiceSpec], directory: &Path) -> String {
    let (command, log) = (service.command.join(" "), log_in(directory, service));
    let again = service.output.is_none();
    let mut text =
        format!("type = process\ncommand = {command}\nrestart = {again}\nlogfile = {}\n", log.display());
    for need in &service.needs {
        let _ = writeln!(text, "depends-on = {}", services[*need].name);
    }
    if service.port.is_some() {
        text.push_str("ready-notification = pipevar:READY_FD\n");
    }
    text
}

struct User {
    directory: PathBuf,
    control: PathBuf,
    socket: PathBuf,
    process: ChildGuard,
}

impl User {
    fn run(&self, words: &[&str]) {
        let mut command = Command::new(&self.control);
        let command = command.arg("--quiet").arg("--socket-path").arg(&self.socket).args(words);
        assert!(command.status().is_ok_and(|status| status.success()), "dinitctl {words:?}");
    }
}

impl Instance for User {
    fn start(&mut self) {
        self.run(&["start", "--no-wait", "all"]);
    }

    fn stop(&mut self) {
        self.run(&["stop", "--no-wait", "all"]);
    }

    fn log(&self, service: &ServiceSpec) -> Option<PathBuf> {
        Some(log_in(&self.directory, service))
    }
}

impl Drop for User {
    fn drop(&mut self) {
        self.run(&["shutdown"]);
        service_tests::eventually("dinit is down", || self.process.0.try_wait().ok().flatten());
    }
}
