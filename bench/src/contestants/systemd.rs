//! systemd as a user's manager, with a runtime directory and a cgroup of its own, asked with `systemctl`. A service with a port says
//! that it is ready over `$NOTIFY_SOCKET`.

use super::version;
use crate::stage::{Contestant, Part, Stage};
use service_tests::Systemd as Manager;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

pub(crate) struct Systemd;

impl Contestant for Systemd {
    fn name(&self) -> &'static str {
        "systemd"
    }

    fn version(&self) -> Option<String> {
        version("systemctl", "--version")
    }

    fn raise(&self, parts: &[Part], directory: &Path) -> Option<Box<dyn Stage>> {
        if parts.iter().any(|part| part.check.is_some()) {
            return None;
        }
        let (run, config) = (directory.join("run"), directory.join("config"));
        let units = config.join("systemd/user");
        fs::create_dir_all(&units).ok()?;
        fs::create_dir(&run).ok()?;
        for part in parts {
            fs::write(units.join(&part.name).with_extension("service"), unit(part, parts, directory)).ok()?;
        }
        let environment = [
            ("XDG_RUNTIME_DIR", run.clone()),
            ("XDG_CONFIG_HOME", config),
            ("DBUS_SESSION_BUS_ADDRESS", format!("unix:path={}/bus", run.display()).into()),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.into_os_string())).into();
        let manager = Manager::within(&run, &units, environment)?;
        let names = parts.iter().map(|part| format!("{}.service", part.name)).collect();
        Some(Box::new(User { directory: directory.to_owned(), names, manager }))
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

struct User {
    directory: PathBuf,
    names: Vec<String>,
    manager: Manager,
}

impl User {
    fn ask(&self, word: &str) {
        let names = self.names.iter().map(String::as_str);
        self.manager.systemctl(&[word, "--no-block"].into_iter().chain(names).collect::<Vec<_>>());
    }
}

impl Stage for User {
    fn start(&mut self) {
        self.ask("start");
    }

    fn stop(&mut self) {
        self.ask("stop");
    }

    fn log(&self, part: &Part) -> Option<PathBuf> {
        Some(log(&self.directory, part))
    }
}
