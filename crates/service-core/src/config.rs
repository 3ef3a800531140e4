//! [`Config`]: the user's configuration, typed and complete, with all defaults.
//!
//! The crate `service-config` reads it from TOML. [`Plan`](crate::Plan) validates relations between services.

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
    /// `idle_timeout`: the time after which an unused daemon that a command has started exits; zero for never.
    pub idle_timeout: Duration,
    /// `services.manager_enabled`: whether services may be started and stopped.
    pub manager_enabled: bool,
    /// `services.auto_start_dependencies`: whether a start includes dependencies.
    pub auto_start_dependencies: bool,
    /// `services.forget_transient`: how long an inactive transient service is retained.
    pub forget_transient: Duration,
    /// `managers.nu`: the Nushell that runs manager modules; absent: the one that started the daemon, else `nu` on
    /// `PATH`.
    pub nu: Option<String>,
    /// `managers.timeout`: the time limit of a manager's call.
    pub manager_timeout: Duration,
    /// `managers.parallel`: the maximum number of concurrent calls of a manager that use the processor.
    pub manager_parallel: u32,
    /// `api`: the TCP listener of the API; absent: only the Unix socket.
    pub api: Option<Box<Api>>,
}

/// `[orchestrator.api]` with a `listen`.
#[derive(Debug, Clone, PartialEq)]
pub struct Api {
    /// The address of the listener.
    pub listen: SocketAddr,
    /// Accepted values of `Host`, in addition to names of this machine.
    pub hosts: Vec<String>,
    /// Web pages with access, as `https://host:port`.
    pub origins: Vec<String>,
    /// The files of the listener's certificate; absent: plain HTTP.
    pub tls: Option<Tls>,
}

/// Files in PEM, absolute or relative to the file's directory.
#[derive(Debug, Clone, PartialEq)]
pub struct Tls {
    /// The certificate, with intermediate certificates.
    pub certificate: String,
    /// The private key.
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

/// A range of bytes in the file.
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
    /// The name.
    pub name: Name,
    /// The span of the name.
    pub span: Span,
    /// The origin of the definition.
    #[serde(default)]
    pub origin: Origin,
    /// The purpose.
    pub description: String,
    /// The manager.
    pub manager: Manager,
    /// The start command; for a container, the replacement of the image's command.
    pub start_command: Command,
    /// The keys of a container: `image`, `pull`, `ports`, `volumes` and `networks`.
    #[serde(default)]
    pub container: Option<Container>,
    /// The stop command of a manager.
    pub stop_command: Option<String>,
    /// The status command of `manager = "command"`. Exit code 0 means that the service runs.
    pub status_command: Option<String>,
    /// Options for the manager, as JSON.
    #[serde(default)]
    pub with: Option<String>,
    /// The dependencies.
    pub dependencies: Vec<Dependency>,
    /// The endpoint of the health checks; `None` for a process check.
    pub endpoint: Option<Endpoint>,
    /// The working directory, absolute or relative to the file's directory; absent: the file's directory.
    pub working_dir: Option<String>,
    /// Variables on top of the daemon's environment.
    pub env: Vec<(String, String)>,
    /// Files of `NAME=value` lines, read at each start. `env` takes precedence.
    pub env_file: Vec<String>,
    /// The user of the process; requires root.
    pub user: Option<String>,
    /// The group of the process; absent: the user's own.
    pub group: Option<String>,
    /// `env_clear`, `pass_env` and `no_new_privileges`.
    #[serde(default)]
    pub environment: EnvironmentPolicy,
    /// `memory_limit` and `cpu_limit`.
    #[serde(default)]
    pub limits: Limits,
    /// Whether the service does its work and exits.
    pub oneshot: bool,
    /// Whether a shell that enters the project's directory may start the service, if the user allows that.
    #[serde(default)]
    pub auto: bool,
    /// The policy after the service has ended by itself.
    pub restart: Restart,
    /// The signal that requests the end (a number of `signal(7)`).
    pub stop_signal: i32,
    /// The processes that receive the signal.
    #[serde(default)]
    pub kill_mode: KillMode,
    /// How long the service may take to end before it is killed.
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
    /// A service with all defaults, without a command.
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

    /// Whether the service cannot gain privileges by executing a program.
    pub fn has_no_new_privileges(&self) -> bool {
        self.environment.no_new_privileges.unwrap_or(self.user.is_some())
    }

    /// The condition that completes a start.
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

    /// The time limit of a start; `None` for no limit.
    pub fn start_timeout(&self) -> Option<Duration> {
        self.ready.timeout.or((!self.oneshot).then_some(START_TIMEOUT))
    }

    /// Whether a probe determines the end of a start. This also holds for a one-shot of a manager, whose exit the
    /// daemon cannot see.
    pub fn has_startup_probe(&self) -> bool {
        match self.readiness() {
            Readiness::Probe => true,
            Readiness::Exit => self.manager != Manager::Process,
            Readiness::Notify | Readiness::Delay(_) => false,
        }
    }

    /// Whether both services have the same health check with the same expectations.
    pub fn same_probe(&self, other: &Self) -> bool {
        self.endpoint == other.endpoint
            && self.health.status == other.health.status
            && self.health.listener == other.health.listener
            && self.health.ca_file == other.health.ca_file
            && self.health.insecure == other.health.insecure
    }

    /// Whether the service may be started externally in a way that its manager detects. `manager = "command"` needs a
    /// `status_command` for this.
    pub fn may_start_externally(&self) -> bool {
        match &self.manager {
            Manager::Process => false,
            Manager::BuiltIn(name) if name == "command" => self.status_command.is_some(),
            Manager::BuiltIn(_) | Manager::Module(_) => true,
        }
    }

    /// Whether the health is probed. A process without an endpoint is only checked for existence.
    pub fn is_probed(&self) -> bool {
        self.endpoint.is_some() || self.manager != Manager::Process
    }

    /// Whether a manager runs the service, instead of a shim.
    pub fn is_managed(&self) -> bool {
        self.manager != Manager::Process
    }
}

/// The origin of a definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The definition is in `services.toml`.
    #[default]
    File,
    /// The service was added, and remains until it is removed.
    Added,
    /// The service was added for one run, and is removed some time afterwards.
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

/// A command line as text and as words.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Command {
    /// The text of the user (the words of an array joined by spaces).
    pub text: String,
    /// Program and arguments.
    pub argv: Vec<String>,
}

/// The manager of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Manager {
    /// No manager: the start command is the service, supervised by a shim.
    Process,
    /// A built-in Nushell module: `command`, `systemd` ...
    BuiltIn(String),
    /// A Nushell module of the user's own.
    Module(String),
}

impl Manager {
    /// The names of the built-in modules.
    pub const BUILT_IN: [&str; 4] = ["command", "systemd", "podman", "docker"];

    /// The name in a definition.
    pub fn name(&self) -> &str {
        match self {
            Self::Process => "process",
            Self::BuiltIn(name) => name,
            Self::Module(path) => path,
        }
    }
}

/// One edge of the dependency graph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    /// The dependency.
    pub name: Name,
    /// The span of the dependency in the file.
    pub span: Span,
    /// The condition on the dependency before this service starts.
    pub condition: Condition,
    /// The policy when the dependency is lost.
    pub when_lost: WhenLost,
}

/// The condition of an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Condition {
    /// The process of the dependency runs.
    Started,
    /// The dependency has become ready; a one-shot has completed.
    #[default]
    Ready,
    /// The dependency is healthy now.
    Healthy,
    /// The dependency has ended with success.
    Completed,
}

impl Condition {
    /// Every condition with its name in TOML.
    pub const ALL: [(&'static str, Self); 4] = [
        ("started", Self::Started),
        ("ready", Self::Ready),
        ("healthy", Self::Healthy),
        ("completed", Self::Completed),
    ];
}

/// The policy of a running service after the loss of a dependency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum WhenLost {
    /// The dependent continues.
    #[default]
    Keep,
    /// The dependent is stopped, and started again when the dependency is back.
    Restart,
    /// The dependent is stopped.
    Stop,
}

impl WhenLost {
    /// Every policy with its name in TOML.
    pub const ALL: [(&'static str, Self); 3] =
        [("keep", Self::Keep), ("restart", Self::Restart), ("stop", Self::Stop)];
}

/// The policy after the end of a service by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Restart {
    /// The service is not restarted.
    No,
    /// The service is restarted unless it ended with code 0.
    #[default]
    OnFailure,
    /// The service is restarted.
    Always,
    /// Equal to [`Always`](Self::Always), because a requested stop always persists.
    UnlessStopped,
}

impl Restart {
    /// Every policy with its name in TOML.
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
