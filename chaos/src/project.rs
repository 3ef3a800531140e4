//! [`Project`]: where one play takes place, its daemon, and what all its parts write down.

use crate::ask::{Answer, ask};
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

/// How long a daemon may take to answer, on a machine under load.
const UP_WITHIN: Duration = Duration::from_mins(1);
/// So many violations of one kind are printed; the rest is in `chaos.log`.
const FEW: usize = 5;
/// How large the disk of the state directory is, where it has one of its own.
const DISK: &str = "size=160m,mode=700";

/// What was struck, and when.
#[derive(Debug, Clone)]
pub(crate) struct Strike {
    pub(crate) at: i64,
    pub(crate) what: String,
    /// What was hit: `orchestratord`, `shim-template`, `service-shim`, `chaos-service`.
    pub(crate) whom: String,
    /// The service that it belongs to.
    pub(crate) service: Option<String>,
}

/// What was wished for, and what came of it.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    pub(crate) client: usize,
    pub(crate) what: String,
    pub(crate) sent: i64,
    pub(crate) answered: i64,
    pub(crate) rows: Vec<Value>,
    pub(crate) trouble: Option<String>,
}

/// The place of one play.
pub(crate) struct Project {
    pub(crate) seed: u64,
    pub(crate) graph: Graph,
    pub(crate) root: PathBuf,
    pub(crate) programs: PathBuf,
    /// Whether the state directory has a disk of its own, and a reboot can be pretended.
    pub(crate) has_own_disk: bool,
    pub(crate) round: AtomicU64,
    /// Whoever brings a daemon up holds this to read, whoever takes the power away to write.
    pub(crate) power: RwLock<()>,
    socket: Mutex<Option<PathBuf>>,
    strikes: Mutex<Vec<Strike>>,
    wishes: Mutex<Vec<Wish>>,
    violations: Mutex<Vec<String>>,
    /// Services that a file did not define, in this round.
    removed: Mutex<BTreeSet<String>>,
    pub(crate) daemons: AtomicU64,
}

impl Project {
    /// Makes the directories. Must come before the first thread, because the mounts are this process's own.
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
            strikes: Mutex::default(),
            wishes: Mutex::default(),
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

    /// The daemon's own directory.
    pub(crate) fn state_of_daemon(&self) -> Option<PathBuf> {
        let projects =
            fs::read_dir(self.state().join("service-orchestrator")).into_iter().flatten().flatten();
        projects.map(|entry| entry.path()).find(|path| path.is_dir())
    }

    /// Writes `services.toml` in one step.
    pub(crate) fn define(&self, edit: &Edit) -> std::io::Result<()> {
        let text = self.graph.to_toml(&self.programs.join("chaos-service"), &self.books(), edit);
        lock(&self.removed).extend(edit.missing.clone());
        let fresh = self.root.join("services.toml.new");
        fs::write(&fresh, text)?;
        fs::rename(fresh, self.root.join("services.toml"))
    }

    /// Asks the daemon, and brings one up where there is none.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &str, wait: Duration) -> Answer {
        let deadline = Instant::now() + UP_WITHIN;
        loop {
            let socket = lock(&self.socket).clone();
            if let Some(socket) = socket {
                let answer = ask(&socket, method, path, body, wait);
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

    /// The data of an answer that must be there, in calm.
    pub(crate) fn data(&self, path: &str) -> Option<Value> {
        let deadline = Instant::now() + UP_WITHIN;
        while Instant::now() < deadline {
            match self.ask("GET", path, "", Duration::from_secs(30)) {
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

    /// Runs a daemon; there may be one already.
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
            // It may have been killed before it said a word.
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

    /// Writes down that something is not as it must be.
    pub(crate) fn violation(&self, which: &str, what: &str) {
        let round = self.round.load(Ordering::Relaxed);
        let text = format!("VIOLATION of {which} (seed {}, round {round}): {what}", self.seed);
        self.log(&text);
        let mut violations = lock(&self.violations);
        violations.push(text.clone());
        let same = violations.iter().filter(|one| one.starts_with(&format!("VIOLATION of {which} "))).count();
        if same <= FEW {
            println!("{text}");
        }
    }

    pub(crate) fn violations(&self) -> usize {
        lock(&self.violations).len()
    }

    /// A line of evidence.
    pub(crate) fn log(&self, what: &str) {
        let file = OpenOptions::new().create(true).append(true).open(self.root.join("chaos.log"));
        // Evidence that cannot be written is no reason to stop.
        let _ = file.and_then(|mut file: File| writeln!(file, "{} {what}", seconds(now())));
    }

    pub(crate) fn struck(&self, strike: Strike) {
        let (at, service) = (seconds(strike.at), strike.service.as_deref().unwrap_or("-"));
        self.log(&format!("strike at {at}: {} {} of {service}", strike.what, strike.whom));
        lock(&self.strikes).push(strike);
    }

    pub(crate) fn strikes(&self) -> Vec<Strike> {
        lock(&self.strikes).clone()
    }

    pub(crate) fn wished(&self, wish: Wish) {
        let rows: Vec<String> = wish.rows.iter().map(Value::to_string).collect();
        let (sent, answered) = (seconds(wish.sent), seconds(wish.answered));
        let came = wish.trouble.clone().unwrap_or_else(|| rows.join(" "));
        self.log(&format!("client {} {sent} to {answered}: {}: {came}", wish.client, wish.what));
        lock(&self.wishes).push(wish);
    }

    pub(crate) fn removed(&self) -> BTreeSet<String> {
        lock(&self.removed).clone()
    }

    pub(crate) fn wishes(&self) -> Vec<Wish> {
        lock(&self.wishes).clone()
    }

    /// What was wished and struck is judged: the next round begins with nothing, but for what a shim may have outlived.
    pub(crate) fn forget(&self) {
        lock(&self.wishes).clear();
        lock(&self.removed).clear();
        lock(&self.strikes).retain(|strike| strike.service.is_none() && strike.what.starts_with("SIGKILL"));
    }
}

/// A list is whole also when a thread that added to it has failed.
fn lock<T>(list: &Mutex<T>) -> MutexGuard<'_, T> {
    list.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Nanoseconds of the clock that never jumps; the books have the same.
pub(crate) fn now() -> i64 {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |time| time.tv_sec() * 1_000_000_000 + time.tv_nsec())
}

/// For people.
pub(crate) fn seconds(nanoseconds: i64) -> String {
    format!("{:.4}", nanoseconds as f64 / 1e9)
}

/// A view of the file system of our own, with a small disk for the state, and with a name of this boot that can be changed.
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

/// The name of a boot.
pub(crate) fn boot_id(boot: u64) -> String {
    format!("11111111-2222-4333-8444-{boot:012}\n")
}
