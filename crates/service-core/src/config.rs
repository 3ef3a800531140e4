//! [`Config`]: what the user wrote, typed and complete, every default filled in.
//!
//! How it is written in TOML is the daemon's business (`load`); what can be wrong between services is [`Plan`](crate::Plan)'s.

mod container;
mod policy;

pub use container::{Container, Pull};
pub use policy::{
    Backoff, EnvironmentPolicy, Health, KillMode, Limits, Listener, Log, OnFailure, Readiness, Ready,
    START_TIMEOUT,
};

use crate::endpoint::Endpoint;
use crate::name::Name;
use alloc::{boxed::Box, string::String, vec::Vec};
use core::net::SocketAddr;
use core::time::Duration;
use serde::{Deserialize, Serialize};

/// A whole `services.toml`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Config {
    /// `[orchestrator]`.
    pub settings: Settings,
    /// `[services.*]`, in the order of the file.
    pub services: Vec<Service>,
}

/// `[orchestrator]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// `idle_timeout`: after how long a daemon that a command has started ends when nobody needs it; zero: never.
    pub idle_timeout: Duration,
    /// `services.manager_enabled`: whether anything may be started or stopped.
    pub manager_enabled: bool,
    /// `services.auto_start_dependencies`: whether a start takes dependencies along.
    pub auto_start_dependencies: bool,
    /// `services.forget_transient`: how long a transient service is remembered once it is at rest.
    pub forget_transient: Duration,
    /// `managers.nu`: the Nushell that runs manager modules; absent: the one that started the daemon, else `nu` on `PATH`.
    pub nu: Option<String>,
    /// `managers.timeout`: how long one call of a manager may take.
    pub manager_timeout: Duration,
    /// `managers.parallel`: how many calls of managers may be at work at once.
    pub manager_parallel: u32,
    /// `api`: where the API is answered beside the socket of this user; absent: nowhere.
    pub api: Option<Box<Api>>,
}

/// `[orchestrator.api]` with a `listen`.
#[derive(Debug, Clone, PartialEq)]
pub struct Api {
    /// Where.
    pub listen: SocketAddr,
    /// Names, beside those of this machine, by which it may be called: everything else in `Host` is refused.
    pub hosts: Vec<String>,
    /// Web pages that may ask, as `https://host:port`.
    pub origins: Vec<String>,
    /// The files of its certificate; absent: plain HTTP.
    pub tls: Option<Tls>,
}

/// Files in PEM, absolute or relative to the file's directory.
#[derive(Debug, Clone, PartialEq)]
pub struct Tls {
    /// The certificate, with those between it and its root.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            idle_timeout: Duration::from_mins(15),
            manager_enabled: true,
            auto_start_dependencies: true,
            forget_transient: Duration::from_mins(5),
            nu: None,
            manager_timeout: Duration::from_secs(30),
            manager_parallel: 8,
            api: None,
        }
    }
}

/// Where something stands in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

/// `[services.NAME]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// Its name.
    pub name: Name,
    /// Where the name stands.
    pub span: Span,
    /// Where its definition comes from.
    #[serde(default)]
    pub origin: Origin,
    /// What it is for.
    pub description: String,
    /// Who runs it.
    pub manager: Manager,
    /// How it is started; of a container, what is run in it in place of what the image says.
    pub start_command: Command,
    /// `image` and the keys beside it.
    #[serde(default)]
    pub container: Option<Container>,
    /// How a manager stops it.
    pub stop_command: Option<String>,
    /// How `manager = "command"` asks whether it runs: exit code 0 says yes.
    pub status_command: Option<String>,
    /// What only its manager understands, as JSON: a table of the user's own words.
    #[serde(default)]
    pub with: Option<String>,
    /// What it needs.
    pub dependencies: Vec<Dependency>,
    /// Where its health is asked; `None` is a process check.
    pub endpoint: Option<Endpoint>,
    /// Where it runs, absolute or relative to the file's directory; absent: the file's directory.
    pub working_dir: Option<String>,
    /// Variables on top of the daemon's environment.
    pub env: Vec<(String, String)>,
    /// Files of `NAME=value` lines, read at each start; `env` wins over them.
    pub env_file: Vec<String>,
    /// User to run as; needs root.
    pub user: Option<String>,
    /// Group to run as; absent: the user's own.
    pub group: Option<String>,
    /// `env_clear`, `pass_env` and `no_new_privileges`.
    #[serde(default)]
    pub environment: EnvironmentPolicy,
    /// `memory_limit` and `cpu_limit`.
    #[serde(default)]
    pub limits: Limits,
    /// Whether it does its work and ends, instead of staying.
    pub oneshot: bool,
    /// Whether a shell that enters the project's directory may start it, if its user wants that.
    #[serde(default)]
    pub auto: bool,
    /// What to do when it ends by itself.
    pub restart: Restart,
    /// The signal that asks it to end (a number of `signal(7)`).
    pub stop_signal: i32,
    /// Whom that signal goes to.
    #[serde(default)]
    pub kill_mode: KillMode,
    /// How long it may take to end before it is killed.
    pub stop_timeout: Duration,
    /// `health`.
    pub health: Health,
    /// `ready`.
    pub ready: Ready,
    /// `backoff`.
    pub backoff: Backoff,
    /// `log`.
    pub log: Log,
}

impl Service {
    /// A service with every default; only the command is missing.
    pub fn new(name: Name) -> Self {
        Self {
            name,
            span: Span::default(),
            origin: Origin::File,
            description: String::new(),
            manager: Manager::Process,
            start_command: Command::default(),
            container: None,
            stop_command: None,
            status_command: None,
            with: None,
            dependencies: Vec::new(),
            endpoint: None,
            working_dir: None,
            env: Vec::new(),
            env_file: Vec::new(),
            user: None,
            group: None,
            environment: EnvironmentPolicy::default(),
            limits: Limits::default(),
            oneshot: false,
            auto: false,
            restart: Restart::OnFailure,
            stop_signal: SIGTERM,
            kill_mode: KillMode::default(),
            stop_timeout: Duration::from_secs(10),
            health: Health::default(),
            ready: Ready::default(),
            backoff: Backoff::default(),
            log: Log::default(),
        }
    }

    /// Whether it can gain no rights by executing a program.
    pub fn has_no_new_privileges(&self) -> bool {
        self.environment.no_new_privileges.unwrap_or(self.user.is_some())
    }

    /// What tells that a start of this service has come to its end.
    pub fn readiness(&self) -> Readiness {
        if self.oneshot {
            Readiness::Exit
        } else if self.ready.log.is_some() || self.ready.notify {
            Readiness::Notify
        } else if self.is_probed() {
            Readiness::Probe
        } else {
            Readiness::Delay(self.ready.delay)
        }
    }

    /// How long a start may take; `None`: as long as it likes.
    pub fn start_timeout(&self) -> Option<Duration> {
        self.ready.timeout.or((!self.oneshot).then_some(START_TIMEOUT))
    }

    /// Whether the end of a start shows only when somebody is asked: a one-shot of a manager ends where we do not see it.
    pub fn has_startup_probe(&self) -> bool {
        match self.readiness() {
            Readiness::Probe => true,
            Readiness::Exit => self.manager != Manager::Process,
            Readiness::Notify | Readiness::Delay(_) => false,
        }
    }

    /// Whether both are asked the same way how they are, and the same answer is a good one.
    pub fn same_probe(&self, other: &Self) -> bool {
        self.endpoint == other.endpoint
            && self.health.status == other.health.status
            && self.health.listener == other.health.listener
            && self.health.ca_file == other.health.ca_file
            && self.health.insecure == other.health.insecure
    }

    /// Whether somebody else may start it, and can tell: what `command` runs is known to its `status_command` alone.
    pub fn may_start_externally(&self) -> bool {
        match &self.manager {
            Manager::Process => false,
            Manager::BuiltIn(name) if name == "command" => self.status_command.is_some(),
            Manager::BuiltIn(_) | Manager::Module(_) => true,
        }
    }

    /// Whether somebody must be asked how it is. Of a process of ours without endpoint only its life is looked at.
    pub fn is_probed(&self) -> bool {
        self.endpoint.is_some() || self.manager != Manager::Process
    }

    /// Whether a manager runs it, and not a shim.
    pub fn is_managed(&self) -> bool {
        self.manager != Manager::Process
    }
}

/// Where a definition comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// `services.toml`.
    #[default]
    File,
    /// It was added, and stays until it is removed.
    Added,
    /// It was added for one run, and is forgotten some time after that.
    Transient,
}

impl Origin {
    /// The name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Added => "added",
            Self::Transient => "transient",
        }
    }
}

/// `SIGTERM` on every Linux.
const SIGTERM: i32 = 15;

/// A command line as written and as words.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Command {
    /// As the user wrote it (the words of an array joined by spaces).
    pub text: String,
    /// Program and arguments.
    pub argv: Vec<String>,
}

/// Who runs a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Manager {
    /// We do: the start command is the service, kept by a shim.
    Process,
    /// One of the Nushell modules that come with us: `command`, `systemd` ...
    BuiltIn(String),
    /// A Nushell module of the user's own.
    Module(String),
}

impl Manager {
    /// The names of the modules that come with the orchestrator.
    pub const BUILT_IN: [&str; 4] = ["command", "systemd", "podman", "docker"];

    /// The name that a definition calls it by.
    pub fn name(&self) -> &str {
        match self {
            Self::Process => "process",
            Self::BuiltIn(name) => name,
            Self::Module(path) => path,
        }
    }
}

/// One edge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    /// The service needed.
    pub name: Name,
    /// Where that stands in the file.
    pub span: Span,
    /// What must be true of it before this service starts.
    pub condition: Condition,
    /// What happens to this service when that ceases to be true.
    pub when_lost: WhenLost,
}

/// What an edge asks of the service it points to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Condition {
    /// Its process runs.
    Started,
    /// It has become ready; a one-shot has completed.
    #[default]
    Ready,
    /// It is healthy now.
    Healthy,
    /// It has ended with success.
    Completed,
}

impl Condition {
    /// Every condition with its word in TOML.
    pub const ALL: [(&'static str, Self); 4] = [
        ("started", Self::Started),
        ("ready", Self::Ready),
        ("healthy", Self::Healthy),
        ("completed", Self::Completed),
    ];
}

/// What happens to a running service when a dependency is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum WhenLost {
    /// Nothing.
    #[default]
    Keep,
    /// It is stopped, and started again once the dependency is back.
    Restart,
    /// It is stopped and stays so.
    Stop,
}

impl WhenLost {
    /// Every policy with its word in TOML.
    pub const ALL: [(&'static str, Self); 3] =
        [("keep", Self::Keep), ("restart", Self::Restart), ("stop", Self::Stop)];
}

/// What to do when a service ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Restart {
    /// Leave it.
    No,
    /// Start it again unless it ended with code 0.
    #[default]
    OnFailure,
    /// Start it again.
    Always,
    /// The same as [`Always`](Self::Always): a stop that somebody asked for is remembered in either case.
    UnlessStopped,
}

impl Restart {
    /// Every policy with its word in TOML.
    pub const ALL: [(&'static str, Self); 4] = [
        ("no", Self::No),
        ("on-failure", Self::OnFailure),
        ("always", Self::Always),
        ("unless-stopped", Self::UnlessStopped),
    ];
}

/// The name of `value` in one of the `ALL` tables above.
pub fn name_of<T: PartialEq + Copy, const N: usize>(all: &[(&'static str, T); N], value: T) -> &'static str {
    all.iter().find(|(_, v)| *v == value).map_or("", |(word, _)| word)
}
