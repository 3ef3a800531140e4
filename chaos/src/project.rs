//! [`Project`]: the directories of one run, its daemon, and the records of all parts.

use crate::ask::{Answer, send_request};
use crate::graph::{Edit, Graph};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::time::{ClockId, clock_gettime};
use serde_json::Value;
use std::collections::BTreeSet;
use std::error::Error;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, mpsc};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

/// The time limit for a daemon's response, on a machine under load.
const RESPONSE_TIMEOUT: Duration = Duration::from_mins(1);
/// The maximum number of printed violations of one kind. All are in `chaos.log`.
const MAX_PRINTED: usize = 5;
/// The mount options of the state directory's disk, if it has one.
const DISK: &str = "size=160m,mode=700";

/// An injected fault, and its time.
#[derive(Debug, Clone)]
pub(crate) struct InjectedFault {
    pub(crate) at: i64,
    pub(crate) what: String,
    /// The target: `orchestratord`, `shim-template`, `service-shim`, `chaos-service`.
    pub(crate) whom: String,
    /// The service of the target.
    pub(crate) service: Option<String>,
}

/// A request and its result.
#[derive(Debug, Clone)]
pub(crate) struct ActionRecord {
    pub(crate) client: usize,
    pub(crate) what: String,
    pub(crate) sent: i64,
    pub(crate) answered: i64,
    pub(crate) rows: Vec<Value>,
    pub(crate) trouble: Option<String>,
}

/// The directories of one run.
pub(crate) struct Project {
    pub(crate) seed: u64,
    pub(crate) graph: Graph,
    pub(crate) root: PathBuf,
    pub(crate) programs: PathBuf,
    /// Whether the state directory has a disk of its own, and a reboot can be simulated.
    pub(crate) has_own_disk: bool,
    pub(crate) round: AtomicU64,
    /// The lock that is held for reading while a daemon is started, and for writing during a power loss.
    pub(crate) power: RwLock<()>,
    socket: Mutex<Option<PathBuf>>,
    faults: Mutex<Vec<InjectedFault>>,
    actions: Mutex<Vec<ActionRecord>>,
    violations: Mutex<Vec<String>>,
    /// Services that some file of this round did not define.
    removed: Mutex<BTreeSet<String>>,
    pub(crate) daemons: AtomicU64,
}

impl Project {
    /// Creates the directories. Must be called before the first thread, because the mounts are private to the process.
    pub(crate) fn new(seed: u64, programs: PathBuf) -> Result<Self, Box<dyn Error>> {
        let root = tempfile::Builder::new().prefix("chaos-").tempdir()?.keep();
        for name in ["books", "state", "run", "home"] {
            fs::create_dir(root.join(name))?;
        }
        let project = Self {
            seed,
            graph: Graph::new(seed),
            has_own_disk: own_disk(&root),
            root,
            programs,
            round: AtomicU64::new(0),
            power: RwLock::new(()),
            socket: Mutex::default(),
            faults: Mutex::default(),
            actions: Mutex::default(),
            violations: Mutex::default(),
            removed: Mutex::default(),
            daemons: AtomicU64::new(0),
        };
        project.define(&Edit::default())?;
        Ok(project)
    }

    pub(crate) fn books(&self) -> PathBuf {
        self.root.join("books")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.root.join("state")
    }

    /// The daemon's state directory.
    pub(crate) fn state_of_daemon(&self) -> Option<PathBuf> {
        let projects =
            fs::read_dir(self.state().join("service-orchestrator")).into_iter().flatten().flatten();
        projects.map(|entry| entry.path()).find(|path| path.is_dir())
    }

    /// Writes `services.toml` atomically.
    pub(crate) fn define(&self, edit: &Edit) -> std::io::Result<()> {
        let text = self.graph.to_toml(&self.programs.join("chaos-service"), &self.books(), edit);
        lock(&self.removed).extend(edit.missing.clone());
        let fresh = self.root.join("services.toml.new");
        fs::write(&fresh, text)?;
        fs::rename(fresh, self.root.join("services.toml"))
    }

    /// Sends a request to the daemon, and starts one if none runs.
    pub(crate) fn request(&self, method: &str, path: &str, body: &str, wait: Duration) -> Answer {
        let deadline = Instant::now() + RESPONSE_TIMEOUT;
        loop {
            let socket = lock(&self.socket).clone();
            if let Some(socket) = socket {
                let answer = send_request(&socket, method, path, body, wait);
                if !matches!(answer, Answer::Nobody) {
                    return answer;
                }
            }
            if Instant::now() > deadline {
                return Answer::Nobody;
            }
            if self.bring_up().is_none() {
                sleep(Duration::from_millis(50));
            }
        }
    }

    /// The data of a response that must succeed, because no fault is injected any more.
    pub(crate) fn data(&self, path: &str) -> Option<Value> {
        let deadline = Instant::now() + RESPONSE_TIMEOUT;
        while Instant::now() < deadline {
            match self.request("GET", path, "", Duration::from_secs(30)) {
                Answer::Told(200, mut value) => {
                    return Some(if value["data"].is_null() { value } else { value["data"].take() });
                }
                answer => {
                    self.log(&format!("GET {path}: {answer:?}"));
                    sleep(Duration::from_millis(200));
                }
            }
        }
        self.violation("answers", &format!("in calm nothing good comes back for GET {path}"));
        None
    }

    /// Starts a daemon, unless one already runs.
    fn bring_up(&self) -> Option<()> {
        let _power = self.power.read().unwrap_or_else(PoisonError::into_inner);
        let log = OpenOptions::new().create(true).append(true).open(self.root.join("daemon.err")).ok()?;
        let mut command = Command::new(self.programs.join("orchestratord"));
        command
            .args(["run", "--config"])
            .arg(self.root.join("services.toml"))
            .current_dir(&self.root)
            .env_remove("SERVICES_CONFIG")
            .env("HOME", self.root.join("home"))
            .env("XDG_STATE_HOME", self.state())
            .env("XDG_RUNTIME_DIR", self.root.join("run"))
            .env("XDG_CONFIG_HOME", self.root.join("home/.config"))
            .env("DBUS_SESSION_BUS_ADDRESS", format!("unix:path={}", self.root.join("run/bus").display()))
            .env("SERVICE_SHIM", self.programs.join("service-shim"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log);
        let mut child = command.spawn().ok()?;
        let stdout = child.stdout.take()?;
        let (send, greeting) = mpsc::channel();
        thread::spawn(move || {
            // The daemon may have been killed before its report.
            let line = BufReader::new(stdout).lines().next().and_then(Result::ok).unwrap_or_default();
            let _ = send.send(line);
            let _ = child.wait();
        });
        let line = greeting.recv_timeout(Duration::from_secs(10)).ok()?;
        let said: Value = serde_json::from_str(&line).ok()?;
        let socket = said["ready"]["socket"].as_str().or_else(|| said["taken"]["socket"].as_str());
        if said["ready"].is_object() {
            self.daemons.fetch_add(1, Ordering::Relaxed);
        } else if said["failed"].is_object() {
            self.log(&format!("no daemon: {line}"));
        }
        *lock(&self.socket) = Some(PathBuf::from(socket?));
        Some(())
    }

    /// Records a violation.
    pub(crate) fn violation(&self, which: &str, what: &str) {
        let round = self.round.load(Ordering::Relaxed);
        let text = format!("VIOLATION of {which} (seed {}, round {round}): {what}", self.seed);
        self.log(&text);
        let mut violations = lock(&self.violations);
        violations.push(text.clone());
        let same = violations.iter().filter(|one| one.starts_with(&format!("VIOLATION of {which} "))).count();
        if same <= MAX_PRINTED {
            println!("{text}");
        }
    }

    pub(crate) fn violations(&self) -> usize {
        lock(&self.violations).len()
    }

    /// A line of evidence.
    pub(crate) fn log(&self, what: &str) {
        let file = OpenOptions::new().create(true).append(true).open(self.root.join("chaos.log"));
        // A failed write of evidence does not end the run.
        let _ = file.and_then(|mut file: File| writeln!(file, "{} {what}", seconds(now())));
    }

    pub(crate) fn record_fault(&self, fault: InjectedFault) {
        let (at, service) = (seconds(fault.at), fault.service.as_deref().unwrap_or("-"));
        self.log(&format!("fault at {at}: {} {} of {service}", fault.what, fault.whom));
        lock(&self.faults).push(fault);
    }

    pub(crate) fn faults(&self) -> Vec<InjectedFault> {
        lock(&self.faults).clone()
    }

    pub(crate) fn record_action(&self, action: ActionRecord) {
        let rows: Vec<String> = action.rows.iter().map(Value::to_string).collect();
        let (sent, answered) = (seconds(action.sent), seconds(action.answered));
        let came = action.trouble.clone().unwrap_or_else(|| rows.join(" "));
        self.log(&format!("client {} {sent} to {answered}: {}: {came}", action.client, action.what));
        lock(&self.actions).push(action);
    }

    pub(crate) fn removed(&self) -> BTreeSet<String> {
        lock(&self.removed).clone()
    }

    pub(crate) fn actions(&self) -> Vec<ActionRecord> {
        lock(&self.actions).clone()
    }

    /// Forgets the judged requests and faults, except for kills that a shim may have outlived.
    pub(crate) fn forget(&self) {
        lock(&self.actions).clear();
        lock(&self.removed).clear();
        lock(&self.faults).retain(|fault| fault.service.is_none() && fault.what.starts_with("SIGKILL"));
    }
}

/// Locks a list, which is intact even if a thread has panicked while adding to it.
fn lock<T>(list: &Mutex<T>) -> MutexGuard<'_, T> {
    list.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Nanoseconds of the monotonic clock that the books use.
pub(crate) fn now() -> i64 {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |time| time.tv_sec() * 1_000_000_000 + time.tv_nsec())
}

/// Formats seconds for people.
pub(crate) fn seconds(nanoseconds: i64) -> String {
    format!("{:.4}", nanoseconds as f64 / 1e9)
}

/// Creates a private mount namespace, with a small disk for the state and a boot id that can be changed.
fn own_disk(root: &std::path::Path) -> bool {
    let boot = root.join("boot");
    let none = None::<&str>;
    let own = unshare(CloneFlags::CLONE_NEWNS)
        .and_then(|()| mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none))
        .and_then(|()| {
            mount(Some("tmpfs"), &root.join("state"), Some("tmpfs"), MsFlags::empty(), Some(DISK))
        });
    let named = own.map_err(std::io::Error::from).and_then(|()| {
        fs::write(&boot, boot_id(0))?;
        Ok(mount(Some(&boot), "/proc/sys/kernel/random/boot_id", none, MsFlags::MS_BIND, none)?)
    });
    if let Err(error) = &named {
        println!("SKIPPED: full disk, read-only disk and power loss need root: {error}");
    }
    named.is_ok()
}

/// A boot id.
pub(crate) fn boot_id(boot: u64) -> String {
    format!("11111111-2222-4333-8444-{boot:012}\n")
}
