//! [`Project`]: one `services.toml`, used through the real Nushell as a user would.

use crate::process::{alive, describe, marked, signal};
use crate::programs::{program, skip};
use crate::wait::{WAIT_TIMEOUT, eventually};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::ffi::OsString;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The ready delay of services without a check.
const QUICK: &str = "\n[orchestrator.service_defaults.ready]\ndelay = \"100ms\"\n";

/// The project of one test. Dropping it stops its processes and fails the test if one is left.
pub struct Project {
    directory: tempfile::TempDir,
    nu: PathBuf,
    env: Vec<(String, String)>,
    /// Kills the project's processes if the test's process is killed, for example because it hangs.
    guard: Child,
}

/// The output of a Nushell, and its result.
#[derive(Debug)]
pub struct Answer {
    /// Whether the exit code was 0.
    pub success: bool,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Project {
    /// Creates a project with this `services.toml`, in which `TEST_SERVICE` is replaced by the path of the test
    /// program. `None`, after a message, if no Nushell is installed.
    pub fn new(services: &str) -> Option<Self> {
        let Some(nu) = nu() else {
            skip("there is no nu 0.115: run `cargo xtask test`, which gets one, or set SERVICE_TEST_NU");
            return None;
        };
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        for private in ["state", "run", "home"] {
            fs::create_dir(directory.path().join(private)).expect("the directory is ours");
        }
        // The guard has its own process group, because the group of a hanging test is killed.
        let guard = Command::new(program("test_service"))
            .arg("guard")
            .arg(directory.path())
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the test program can be run");
        let project = Self { directory, nu, env: Vec::new(), guard };
        project.define(services);
        Some(project)
    }

    /// Sets an environment variable for every program of this project.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Replaces `services.toml`. Unless the file sets defaults, services without a check become ready sooner than a
    /// user's would.
    pub fn define(&self, services: &str) {
        let test_service = format!("'{}'", program("test_service").display());
        let has_own = services.contains("service_defaults") || !services.contains("[services.");
        let defaults = if has_own { "" } else { QUICK };
        self.write(
            "services.toml",
            &format!("{}{defaults}", services.replace("TEST_SERVICE", &test_service)),
        );
    }

    /// Writes a file of the project.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a file lies in a directory"))
            .expect("the directory is ours");
        fs::write(&path, text).expect("the directory is ours");
        path
    }

    /// Copies the contents of a directory into the project's.
    pub fn copy(&self, from: &Path) {
        let copied = Command::new("cp").arg("-r").arg(from.join(".")).arg(self.directory.path()).status();
        assert!(copied.is_ok_and(|status| status.success()), "cannot copy {}", from.display());
    }

    /// The text of a file of the project; empty if there is none.
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// A path inside the project's directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A program in the project's directory and environment.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.directory.path())
            .env_remove("SERVICES_CONFIG")
            .envs(self.surroundings())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// The environment of the project: private directories, and no bus unless a test starts one.
    pub fn surroundings(&self) -> Vec<(String, OsString)> {
        let run = self.path("run");
        let mut bus = OsString::from("unix:path=");
        bus.push(run.join("bus"));
        let own = [
            ("HOME", self.path("home").into()),
            ("XDG_STATE_HOME", self.path("state").into()),
            ("XDG_RUNTIME_DIR", run.into()),
            ("XDG_CONFIG_HOME", self.path("home/.config").into()),
            ("DBUS_SESSION_BUS_ADDRESS", bus),
            ("SERVICE_SHIM", crate::programs::program("service-shim").into()),
        ];
        let own = own.into_iter().map(|(name, value): (&str, OsString)| (name.to_owned(), value));
        own.chain(self.env.iter().map(|(name, value)| (name.clone(), value.into()))).collect()
    }

    /// The command line of a Nushell with the plugin.
    pub fn shell(&self) -> [PathBuf; 4] {
        [self.nu.clone(), "--no-config-file".into(), "--plugins".into(), program("nu_plugin_service")]
    }

    /// Starts a Nushell line without waiting for it.
    pub fn spawn(&self, line: &str) -> Child {
        let [nu, options @ ..] = self.shell();
        let mut command = self.command(&nu);
        command.args(options).args(["--no-std-lib", "--commands", line]);
        command.spawn().expect("nu can be run")
    }

    /// Runs a Nushell line to its end.
    pub fn nu(&self, line: &str) -> Answer {
        Answer::wait_for(self.spawn(line))
    }

    /// The value of a line that must succeed. Durations are nanoseconds, sizes bytes.
    #[track_caller]
    pub fn value(&self, line: &str) -> Value {
        self.nu(&format!("{line} | to json --raw")).value()
    }

    /// The error of a line that must fail: `{ code, msg, help, rendered }`.
    #[track_caller]
    pub fn error(&self, line: &str) -> Value {
        let caught = "{code: $e.details.code msg: $e.msg help: $e.details.help rendered: $e.rendered}";
        self.nu(&format!("try {{ {line} | ignore; null }} catch {{|e| {caught} }} | to json --raw"))
            .value()
            .some(line)
    }

    /// Trusts the current `services.toml`, so that read-only commands call managers too.
    pub fn trust(&self) {
        let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("../nu/service");
        self.value(&format!("use {}; service trust", module.display()));
    }

    /// The row of one service in `service status --long`.
    #[track_caller]
    pub fn status(&self, name: &str) -> Value {
        self.value(&format!("service status {name} --long")).row(name).clone()
    }

    /// The process of a running service.
    #[track_caller]
    pub fn pid(&self, name: &str) -> u32 {
        let status = self.status(name);
        let pid = status["pid"].as_u64().unwrap_or_else(|| panic!("`{name}` does not run: {status}"));
        u32::try_from(pid).expect("process ids are small")
    }

    /// The daemon's process.
    #[track_caller]
    pub fn daemon(&self) -> u32 {
        let daemon = self.value("service daemon status");
        u32::try_from(daemon["pid"].as_u64().expect("a running daemon has a pid"))
            .expect("process ids are small")
    }

    /// The daemon's socket.
    #[track_caller]
    pub fn socket(&self) -> PathBuf {
        self.value("service daemon status")["socket"].as_str().expect("a running daemon has a socket").into()
    }

    /// The state directory of this project.
    pub fn state_dir(&self) -> PathBuf {
        let inside = self.path("state/service-orchestrator");
        let mut projects = fs::read_dir(inside).expect("a daemon has run").flatten();
        projects.next().expect("this project has one").path()
    }

    /// The record of a service's last run.
    pub fn run_json(&self, name: &str) -> PathBuf {
        self.state_dir().join("run").join(name).join("run.json")
    }

    /// The process ids in [`Project::run_json`]: of the shim, and of its service.
    pub fn run_of(&self, name: &str) -> (u32, u32) {
        let records =
            fs::read_to_string(self.run_json(name)).expect("a service that was started has a record");
        let last = records.lines().last().expect("there is one");
        let record: Value = serde_json::from_str(last).expect("a record is JSON");
        let pid = |process: &Value| {
            process["pid"].as_u64().and_then(|pid| pid.try_into().ok()).expect("it has a pid")
        };
        (pid(&record["shim"]), pid(&record["phase"]["running"]["leader"]))
    }

    /// Kills the daemon and waits until it has exited.
    pub fn kill_daemon(&self) {
        let daemon = self.daemon();
        signal(daemon, Signal::SIGKILL);
        eventually("the daemon is gone", || (!alive(daemon)).then_some(()));
    }

    /// The running processes of this project.
    pub fn processes(&self) -> Vec<u32> {
        marked(self.directory.path())
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        self.stop();
        self.guard.stdin = None;
        let _ = self.guard.wait();
    }
}

impl Project {
    /// Stops every process. Fails the test if one is left.
    fn stop(&self) {
        if self.processes().is_empty() {
            return;
        }
        let stopped = self.nu("try { service daemon stop --services } catch { service daemon stop }");
        let deadline = Instant::now() + Duration::from_secs(5);
        while !self.processes().is_empty() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        let left = self.processes();
        let described: Vec<String> = left.iter().map(|pid| describe(*pid)).collect();
        // Killing one process may end or start others, so repeat until none is left.
        let deadline = Instant::now() + WAIT_TIMEOUT;
        while let Some(pid) = self.processes().into_iter().find(|pid| alive(*pid))
            && Instant::now() < deadline
        {
            signal(pid, Signal::SIGKILL);
        }
        if std::thread::panicking() {
            eprintln!("{}", daemon_log(&self.path("state/service-orchestrator")));
        } else {
            assert!(left.is_empty(), "left running after {stopped:?}:\n{}", described.join("\n"));
        }
    }
}

/// The last lines of the daemon's log, for the report of a failed test.
fn daemon_log(states: &Path) -> String {
    let logs = fs::read_dir(states).into_iter().flatten().flatten();
    logs.map(|project| fs::read_to_string(project.path().join("orchestratord.log")).unwrap_or_default())
        .collect()
}

impl Answer {
    /// Waits for a Nushell to exit.
    pub fn wait_for(nu: Child) -> Self {
        let output = nu.wait_with_output().expect("nu was started");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { success: output.status.success(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    /// The JSON on standard output.
    #[track_caller]
    pub fn value(&self) -> Value {
        assert!(self.success, "{}{}", self.stdout, self.stderr);
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }
}

/// Accessors of a table of services.
pub trait ServiceTable {
    /// The row of this service.
    fn row(&self, name: &str) -> &Value;
    /// One column of all rows, as text.
    fn column(&self, name: &str) -> Vec<String>;
    /// The value, which must not be null.
    fn some(self, what: &str) -> Value;
}

impl ServiceTable for Value {
    #[track_caller]
    fn row(&self, name: &str) -> &Value {
        let mut rows = self.as_array().into_iter().flatten();
        rows.find(|row| row["name"] == name).unwrap_or_else(|| panic!("no row of `{name}` in {self}"))
    }

    #[track_caller]
    fn column(&self, name: &str) -> Vec<String> {
        let rows = self.as_array().unwrap_or_else(|| panic!("not a table: {self}"));
        rows.iter()
            .map(|row| row[name].as_str().map_or_else(|| row[name].to_string(), String::from))
            .collect()
    }

    #[track_caller]
    fn some(self, what: &str) -> Value {
        assert!(!self.is_null(), "`{what}` succeeded");
        self
    }
}

/// `$SERVICE_TEST_NU`; without it, a matching `nu` on `PATH`, or the `nu` that `cargo xtask` has installed in the
/// target directory.
fn nu() -> Option<PathBuf> {
    if let Some(nu) = std::env::var_os("SERVICE_TEST_NU") {
        return Some(nu.into());
    }
    let got = crate::programs::programs().join("../nu");
    let packages = fs::read_dir(got.join("node_modules/@nushell")).into_iter().flatten().flatten();
    let from_npm = packages.map(|package| package.path().join("bin/nu"));
    let fits = |nu: &PathBuf| {
        let said = Command::new(nu).arg("--version").output();
        said.is_ok_and(|said| said.stdout.starts_with(b"0.115."))
    };
    crate::programs::installed("nu").into_iter().chain(from_npm).chain([got.join("bin/nu")]).find(fits)
}
