//! systemd as a user manager, with its own runtime directory and cgroup, controlled with `systemctl`. A service with a
//! port reports readiness over `$NOTIFY_SOCKET`.

use crate::harness::{Instance, Place, ServiceSpec, System, log_in};
use crate::systems::program::version;
use service_tests::Systemd as Manager;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

pub(crate) struct Systemd;

impl System for Systemd {
    fn name(&self) -> &'static str {
        "systemd"
    }

    fn version(&self) -> Option<String> {
        version("systemctl", "--version")
    }

    fn set_up(&self, services: &[ServiceSpec], place: &Place) -> Option<Box<dyn Instance>> {
        let directory = place.directory.as_path();
        if services.iter().any(|service| service.check.is_some()) {
            return None;
        }
        let (run, config) = (directory.join("run"), directory.join("config"));
        let units = config.join("systemd/user");
        fs::create_dir_all(&units).ok()?;
        fs::create_dir(&run).ok()?;
        for service in services {
            fs::write(
                units.join(&service.name).with_extension("service"),
                unit(service, services, directory),
            )
            .ok()?;
        }
        let environment = [
            ("XDG_RUNTIME_DIR", run.clone()),
            ("XDG_CONFIG_HOME", config),
            ("DBUS_SESSION_BUS_ADDRESS", format!("unix:path={}/bus", run.display()).into()),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.into_os_string())).into();
        let manager = Manager::within(&run, &units, environment)?;
        let names = services.iter().map(|service| format!("{}.service", service.name)).collect();
        Some(Box::new(User { directory: directory.to_owned(), names, manager }))
    }
}

fn unit(service: &ServiceSpec, services: &[ServiceSpec], directory: &Path) -> String {
    let mut text = "[Unit]\n".to_owned();
    for need in &service.needs {
        let _ = writeln!(text, "Requires={0}.service\nAfter={0}.service", services[*need].name);
    }
    let kind = if service.port.is_some() { "notify" } else { "simple" };
    let restart = if service.output.is_some() { "no" } else { "on-failure" };
    let (command, log) = (service.command.join(" "), log_in(directory, service));
    let _ = writeln!(
        text,
        "[Service]\nType={kind}\nExecStart={command}\nRestart={restart}\nNotifyAccess=all\nStandardOutput=append:{}",
        log.display()
    );
    text
}

struct User {
    directory: PathBuf,
    names: Vec<String>,
    manager: Manager,
}

impl User {
    fn run(&self, word: &str) {
        let names = self.names.iter().map(String::as_str);
        self.manager.systemctl(&[word, "--no-block"].into_iter().chain(names).collect::<Vec<_>>());
    }
}

impl Instance for User {
    fn start(&mut self) {
        self.run("start");
    }

    fn stop(&mut self) {
        self.run("stop");
    }

    fn log(&self, service: &ServiceSpec) -> Option<PathBuf> {
        Some(log_in(&self.directory, service))
    }
}
