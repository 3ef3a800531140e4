//! [`Systemd`]: a real `systemd --user` for one project, with a D-Bus and a cgroup of its own, also where systemd has not
//! booted the machine.

use crate::{Project, eventually, installed, skip};
use nix::unistd::geteuid;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// Where Debian puts it.
const PROGRAM: &str = "/lib/systemd/systemd";

/// Goes into a cgroup of its own before it becomes systemd, which takes the whole tree below it for its own. In a mount
/// namespace of its own there is nothing but that tree, and the directory that says that systemd has booted.
const BOOT: &str = r#"
set -e
tree=$(awk '$3 == "cgroup2" {print $2; exit}' /proc/self/mounts)
mkdir "$tree/$NAME"
echo $$ > "$tree/$NAME/cgroup.procs"
exec unshare --mount --cgroup sh -c '
    set -e
    mount -t tmpfs tmpfs /run
    mkdir -p /run/systemd/system
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    exec /lib/systemd/systemd --user --log-target=console'
"#;

/// A user's systemd. Dropping it ends it and all its units.
pub struct Systemd {
    bus: Child,
    itself: Child,
    cgroup: PathBuf,
    config: PathBuf,
    env: Vec<(&'static str, String)>,
}

impl Systemd {
    /// Boots one that the services of this project can be units of. `None`, said aloud, where that cannot be.
    pub fn of(project: Project) -> Option<(Project, Self)> {
        let present = Path::new(PROGRAM).is_file()
            && ["systemctl", "dbus-daemon"].map(installed).iter().all(Option::is_some);
        if !present {
            skip("there is no systemd or no dbus-daemon: install systemd and dbus");
            return None;
        }
        let tree = cgroup2();
        if !geteuid().is_root() || tree.is_none() {
            // Whether that can be is no matter of what is installed.
            eprintln!("SKIPPED: a systemd of one's own needs root and cgroups of version 2");
            return None;
        }
        let (run, config) = (project.path("run"), project.path("home/.config"));
        let units = config.join("systemd/user");
        fs::create_dir_all(&units).expect("the directory is ours");
        let address = format!("unix:path={}", run.join("bus").display());
        let name = format!("service-tests-{}", project.path("").file_name()?.to_string_lossy());
        let env = vec![
            ("PATH", std::env::var("PATH").unwrap_or_default()),
            ("HOME", project.path("home").display().to_string()),
            ("XDG_RUNTIME_DIR", run.display().to_string()),
            ("XDG_CONFIG_HOME", config.display().to_string()),
            ("DBUS_SESSION_BUS_ADDRESS", address.clone()),
            ("NAME", name.clone()),
        ];
        let log = fs::File::create(project.path("systemd.log")).expect("the directory is ours");
        let begin = |mut command: Command| {
            let both = || log.try_clone().expect("a descriptor can be copied");
            command.env_clear().envs(env.iter().map(|(name, value)| (name, value)));
            command.stdin(Stdio::null()).stdout(both()).stderr(both()).spawn().expect("it can be run")
        };
        let mut bus = Command::new("dbus-daemon");
        bus.args(["--session", "--nofork", "--nopidfile", "--address", &address]);
        let mut boot = Command::new("sh");
        boot.args(["-c", BOOT]);
        let (bus, itself) = (begin(bus), begin(boot));
        let cgroup = tree.unwrap_or_default().join(name);
        let mut systemd = Self { bus, itself, cgroup, config: units, env };
        let mut ended = None;
        eventually("systemd is up, or has given up", || {
            ended = systemd.itself.try_wait().expect("it is our child");
            // Asked for more, systemctl would look whether the machine was booted by systemd.
            let answers = systemd.systemctl(&["show", "--property", "Version"]).status.success();
            (ended.is_some() || answers).then_some(())
        });
        if ended.is_some() {
            eprintln!(
                "SKIPPED: this machine cannot run a systemd of one's own: {}",
                project.read("systemd.log")
            );
            return None;
        }
        Some((project.env("DBUS_SESSION_BUS_ADDRESS", address), systemd))
    }

    /// Defines a unit.
    pub fn unit(&self, name: &str, text: &str) {
        fs::write(self.config.join(name), text).expect("the directory is ours");
        assert!(self.systemctl(&["daemon-reload"]).status.success());
    }

    /// `systemctl --user`, as somebody else would call it.
    pub fn systemctl(&self, words: &[&str]) -> Output {
        let mut command = Command::new("systemctl");
        command.env_clear().envs(self.env.iter().map(|(name, value)| (name, value)));
        command.arg("--user").args(words).output().expect("systemctl can be run")
    }

    /// A property of a unit.
    pub fn property(&self, unit: &str, name: &str) -> String {
        let said = self.systemctl(&["show", "--value", "--property", name, unit]).stdout;
        String::from_utf8_lossy(&said).trim().to_owned()
    }

    /// The process of systemd itself.
    pub fn pid(&self) -> u32 {
        self.itself.id()
    }
}

impl Drop for Systemd {
    fn drop(&mut self) {
        let _ = fs::write(self.cgroup.join("cgroup.kill"), "1");
        for child in [&mut self.itself, &mut self.bus] {
            let _ = child.kill();
            let _ = child.wait();
        }
        eventually("the cgroup is empty", || remove(&self.cgroup).then_some(()));
    }
}

/// A cgroup goes when all within it have gone.
fn remove(cgroup: &Path) -> bool {
    for inner in fs::read_dir(cgroup).into_iter().flatten().flatten().filter(|inner| inner.path().is_dir()) {
        remove(&inner.path());
    }
    !cgroup.exists() || fs::remove_dir(cgroup).is_ok()
}

fn cgroup2() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let of_version_2 = |line: &str| {
        let mut words = line.split(' ').skip(1);
        let place = words.next()?;
        (words.next()? == "cgroup2").then(|| PathBuf::from(place))
    };
    mounts.lines().find_map(of_version_2)
}
