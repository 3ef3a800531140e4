//! [`Systemd`]: a `systemd --user` for one test, with its own bus, even on a machine without systemd.

use crate::process;
use crate::programs::{installed, skip};
use crate::project::Project;
use crate::wait::eventually;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const MANAGER: &str = "/lib/systemd/systemd";
/// The path by which systemd and its libraries detect whether systemd runs the machine.
const BOOTED: &str = "/run/systemd/system";
/// Enters a new cgroup first, so that two managers do not clean up each other's cgroups.
const SCRIPT: &str = r#"
for root in /sys/fs/cgroup/systemd /sys/fs/cgroup/unified /sys/fs/cgroup; do
    [ -e "$root/cgroup.procs" ] && mkdir "$root/$1" && echo $$ > "$root/$1/cgroup.procs"
done 2> /dev/null
exec "$2" --user --log-target=console
"#;

/// A user manager for the project of a test. Dropping it ends the manager with its services; it must be dropped before
/// the project.
pub struct Systemd {
    bus: Child,
    manager: Child,
    units: PathBuf,
    command: Box<dyn Fn(&str) -> Command>,
}

impl Systemd {
    /// Starts systemd; `None`, after a message, if it cannot run. The calling thread gets a private `/run` if needed.
    pub fn start(project: &Project) -> Option<Self> {
        Self::within(&project.path("run"), &project.path("home/.config/systemd/user"), project.surroundings())
    }

    /// Like [`Self::start`], with these directories for sockets and units, and this environment.
    pub fn within(run: &Path, units: &Path, environment: Vec<(String, OsString)>) -> Option<Self> {
        let missing = ["systemctl", "dbus-daemon"]
            .into_iter()
            .find(|name| installed(name).is_none())
            .or_else(|| (!Path::new(MANAGER).exists()).then_some(MANAGER));
        if let Some(missing) = missing {
            skip(&format!("there is no {missing}"));
            return None;
        }
        if !Path::new(BOOTED).is_dir()
            && let Err(error) = pretend_that_it_booted()
        {
            skip(&format!("systemd does not run this machine, and mounting needs root: {error}"));
            return None;
        }
        let command = move |name: &str| {
            let mut command = Command::new(name);
            command.envs(environment.iter().map(|(name, value)| (name, value))).stdin(Stdio::null());
            command
        };
        let bus = command("dbus-daemon")
            .args(["--session", "--nofork", "--nopidfile", "--address"])
            .arg(format!("unix:path={}", bus(run).display()))
            .stderr(Stdio::null())
            .spawn()
            .expect("dbus-daemon can be run");
        eventually("the bus is there", || bus_is_there(run).then_some(()));
        let log = fs::File::create(run.join("systemd.log")).expect("the directory is ours");
        let cgroup = format!("service-test-{}", std::process::id());
        let manager = command("sh")
            .args(["-c", SCRIPT, "sh", &cgroup, MANAGER])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("systemd can be run");
        fs::create_dir_all(units).expect("the directory is ours");
        let systemd = Self { bus, manager, units: units.to_owned(), command: Box::new(command) };
        eventually("the manager runs", || {
            ["running", "degraded"]
                .contains(&systemd.systemctl(&["is-system-running"]).as_str())
                .then_some(())
        });
        Some(systemd)
    }

    /// The output of `systemctl --user`.
    pub fn systemctl(&self, words: &[&str]) -> String {
        let output = (self.command)("systemctl").arg("--user").args(words).stderr(Stdio::null()).output();
        String::from_utf8_lossy(&output.expect("systemctl can be run").stdout).trim().to_owned()
    }

    /// Defines a unit.
    pub fn unit(&self, name: &str, text: &str) {
        fs::write(self.units.join(name), text).expect("the directory is ours");
        self.systemctl(&["daemon-reload"]);
    }

    /// The process of systemd itself.
    pub fn pid(&self) -> u32 {
        self.manager.id()
    }

    /// One property of a unit.
    pub fn property(&self, unit: &str, name: &str) -> String {
        self.systemctl(&["show", "--property", name, "--value", unit])
    }

    /// Ends the manager like a logout, and returns when none of its processes runs.
    pub fn end(mut self) {
        self.stop();
    }

    fn stop(&mut self) {
        if self.manager.try_wait().is_ok_and(|ended| ended.is_none()) {
            process::signal(self.manager.id(), Signal::SIGTERM);
            let _ = self.manager.wait();
        }
        let _ = self.bus.kill();
        let _ = self.bus.wait();
        for root in ["/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified", "/sys/fs/cgroup"] {
            let ours = Path::new(root).join(format!("service-test-{}", std::process::id()));
            for inner in ["init.scope", "app.slice", ""] {
                let _ = fs::remove_dir(ours.join(inner));
            }
        }
    }
}

impl Drop for Systemd {
    fn drop(&mut self) {
        self.stop();
    }
}

fn bus(run: &Path) -> PathBuf {
    run.join("bus")
}

fn bus_is_there(run: &Path) -> bool {
    std::os::unix::net::UnixStream::connect(bus(run)).is_ok()
}

fn pretend_that_it_booted() -> nix::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
    mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), None::<&str>)?;
    fs::create_dir_all(BOOTED).map_err(|_| nix::Error::EIO)
}
