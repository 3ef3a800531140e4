//! What a reader sees: one type per kind of row.

use serde::{Deserialize, Serialize};

/// A service as it is defined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Service {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// What it needs.
    pub dependencies: Vec<Dependency>,
    /// Who runs it: `process`, `command`, `systemd`, or the path of a Nushell module.
    pub manager: String,
    /// Its command line.
    pub start_command: String,
    /// The command line that stops it, where it is not simply signalled.
    pub stop_command: Option<String>,
    /// Where its health is asked; `null` is a process check.
    pub health_check_endpoint: Option<String>,
    /// Where its definition comes from: `file`, `added` or `transient`.
    #[serde(default)]
    pub origin: String,
    /// Whether a shell that enters the project's directory may start it.
    #[serde(default)]
    pub auto: bool,
}

/// One edge of the graph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Dependency {
    /// The service needed.
    pub name: String,
    /// `started`, `ready`, `healthy` or `completed`.
    pub condition: String,
    /// `keep`, `restart` or `stop`.
    pub when_lost: String,
}

/// One step of a start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Step {
    /// Place in the order, counted from 1.
    pub step: usize,
    /// The service.
    pub name: String,
    /// Services of one level do not need each other; level 0 needs nothing.
    pub level: usize,
    /// The names of what it needs.
    pub dependencies: Vec<String>,
}

/// What a changed `services.toml` would do with one service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Change {
    /// The service.
    pub service: String,
    /// `add`, `remove`, `restart`, `update` or `none`.
    pub change: String,
    /// The keys that differ.
    pub because: Vec<String>,
    /// The dependents that would be started anew along with it.
    pub affects: Vec<String>,
    /// What an apply would be refused for: what a start needs and is not there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// One service in the graph of all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Node {
    /// The service.
    pub name: String,
    /// Services of one level do not need each other; level 0 needs nothing.
    pub level: usize,
    /// What it needs, and how.
    pub dependencies: Vec<Dependency>,
    /// The names of those that need it.
    pub dependents: Vec<String>,
    /// Its fine state. Without a daemon: `stopped`, or `unknown` where something may run that nobody watches.
    pub state: String,
}

/// The state of one service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Status {
    /// Its name.
    pub name: String,
    /// Coarse: `running`, `stopped`, `failed` or `unknown`.
    pub status: String,
    /// Fine: `stopped`, `waiting`, `starting`, `ready`, `stopping`, `backoff`, `completed`, `failed` or `unknown`.
    pub state: String,
    /// `healthy`, `unhealthy`, `alive` (no check is defined: its process is there), `pending` (not known yet) or `none`
    /// (nothing runs).
    pub health: String,
    /// Process id of the service itself.
    pub pid: Option<u32>,
    /// How long this process has been running.
    pub uptime_ms: Option<f64>,
    /// Resident memory of its whole process tree, in bytes.
    pub memory: Option<u64>,
    /// How often it was started again: by its restart policy since it was last asked for, and by its manager.
    pub restarts: u32,
    /// The columns that `long` adds.
    #[serde(flatten)]
    #[cfg_attr(feature = "openapi", schema(value_type = Details))]
    pub details: Option<Details>,
}

/// What `long` adds to a `Status`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Details {
    /// Share of one core that its process tree used since the last sample, in percent.
    pub cpu: Option<f64>,
    /// Since when it is in this state.
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub since: Option<String>,
    /// Exit code of its last process.
    pub exit_code: Option<i32>,
    /// Signal that ended its last process, for example `SIGKILL`.
    pub exit_signal: Option<String>,
    /// Its command line.
    #[cfg_attr(feature = "openapi", schema(required = false))]
    pub command: String,
    /// Its working directory.
    #[cfg_attr(feature = "openapi", schema(required = false))]
    pub cwd: String,
    /// Path of its log.
    pub log: Option<String>,
    /// The names of what it needs.
    #[cfg_attr(feature = "openapi", schema(required = false))]
    pub dependencies: Vec<String>,
    /// What all its processes together may use of memory, in bytes.
    #[serde(default)]
    pub memory_limit: Option<u64>,
    /// What they may use of processors, in cores.
    #[serde(default)]
    pub cpu_limit: Option<f64>,
    /// What keeps it within its limits while it runs: `cgroup`, `rlimit` or `none`, or one for each limit; `unknown` where
    /// that cannot be read. `reason` says why not better.
    #[serde(default)]
    pub limits: Option<String>,
    /// Why it is in this state, in words.
    pub reason: Option<String>,
    /// What its manager calls it, such as the id of a container.
    #[serde(default)]
    pub id: Option<String>,
    /// Path of the project's `services.toml`.
    #[cfg_attr(feature = "openapi", schema(required = false))]
    pub project: String,
}

/// The result of a health check made now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Health {
    /// The service.
    pub name: String,
    /// Whether the check passed; `null` of what nobody wants to run, and of a one-shot that has done its work.
    pub healthy: Option<bool>,
    /// `http`, `https`, `tcp`, `unix`, `dns`, `exec`, `process` or `manager`.
    pub kind: String,
    /// What the check saw.
    pub message: String,
    /// How long the check took.
    pub latency_ms: f64,
    /// When.
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub checked: String,
    /// What was asked; `null` for a process check.
    pub endpoint: Option<String>,
}

/// Why a service is as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Why {
    /// The service.
    pub name: String,
    /// One sentence.
    pub summary: String,
    /// `up`, `down` or `restart`.
    pub goal: String,
    /// As in `Status`: `stopped`, `waiting`, `starting` and so on.
    pub state: String,
    /// As in `Status`: `healthy`, `unhealthy`, `alive`, `pending` or `none`.
    pub health: String,
    /// Since when it is in this state.
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub since: Option<String>,
    /// What it waits for before it may start.
    pub waits_for: Option<WaitsFor>,
    /// The last check of its present run.
    pub last_check: Option<LastCheck>,
    /// How its last process ended, with what that usually means.
    pub exit: Option<String>,
    /// Who holds the port it wants.
    pub port_holder: Option<PortHolder>,
    /// When it is started again.
    pub next_retry: Option<NextRetry>,
    /// The end of its log.
    pub log: Vec<LogLine>,
    /// What would help.
    pub help: Option<String>,
}

/// The edge that holds a service back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WaitsFor {
    /// The service it waits for.
    pub service: String,
    /// `started`, `ready`, `healthy` or `completed`.
    pub condition: String,
    /// The state of that service.
    pub state: String,
    /// For how long it has waited.
    pub waiting_ms: f64,
}

/// A check that was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LastCheck {
    /// Whether it passed.
    pub healthy: bool,
    /// What it saw.
    pub message: String,
    /// How long it took.
    pub latency_ms: f64,
    /// When.
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub checked: String,
}

/// A process that listens on a port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PortHolder {
    /// The port.
    pub port: u16,
    /// The process; `null` if it is another user's.
    pub pid: Option<u32>,
    /// Its name.
    pub process: Option<String>,
}

/// The next try of a service that ended by itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NextRetry {
    /// When.
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub at: String,
    /// In how long.
    pub in_ms: f64,
}

/// One line of a service's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LogLine {
    /// When it was written; empty where only a manager knows, and does not say.
    pub time: String,
    /// The service.
    pub service: String,
    /// `stdout` or `stderr`; `shim` for a word of ours among them.
    pub stream: String,
    /// The text as a terminal would show it, without its line end: after a carriage return what follows overwrites. Bytes
    /// that are not UTF-8 are replaced by U+FFFD.
    pub line: String,
    /// It has not ended: more of it may come, in a row with `continues` where the log is followed.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub partial: bool,
    /// It goes on where the last row of this stream ended, which had `partial`.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub continues: bool,
}

/// Who can run services: a Nushell module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Manager {
    /// As it is written in a service's `manager`.
    pub name: String,
    /// Path of the module.
    pub module: String,
    /// The contract it follows; `null` if the module cannot be read.
    pub contract: Option<i64>,
    /// The commands it exports.
    pub commands: Vec<String>,
    /// Whether its program is there; `null` if it has no `check`.
    pub present: Option<bool>,
    /// The program it uses.
    pub program: Option<String>,
    /// The version of that program.
    pub version: Option<String>,
    /// How many services have this manager.
    pub services: usize,
    /// What is wrong with it, or what its `check` says.
    pub message: Option<String>,
}

/// Versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Version {
    /// Version of the daemon.
    pub version: String,
    /// Version of the API: the number of these words.
    pub api: u32,
}

/// The daemon itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Daemon {
    /// Version of the daemon.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// Path of its socket.
    pub socket: String,
    /// Path of the project's `services.toml`.
    pub project: String,
    /// Path of its own log; of a unit of systemd, the command that shows it.
    pub log: String,
    /// How long it has been running.
    pub uptime_ms: f64,
    /// How many services run.
    pub services_running: usize,
    /// How many services are defined.
    pub services: usize,
    /// Where it answers over TCP, as a URL, or why it does not; `null` where nobody asked for it.
    #[serde(default)]
    pub listen: Option<String>,
    /// How many of its own tasks are alive. It does not grow with time, only with services and requests under way.
    #[serde(default)]
    pub tasks: usize,
    /// How many descriptors it has open.
    #[serde(default)]
    pub descriptors: usize,
    /// The unit of systemd that runs it, if one does.
    #[serde(default)]
    pub unit: Option<String>,
}

/// A services.toml that was written to begin with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    /// Its path.
    pub path: String,
    /// Whether there was one before.
    pub replaced: bool,
    /// What other files there speak of.
    pub suggestions: Vec<Suggestion>,
}

/// A service that another file speaks of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suggestion {
    /// The file.
    pub source: String,
    /// What the service may be called.
    pub name: String,
    /// How it may be started.
    pub start_command: String,
    /// The shell whose command line that is, if it is one.
    pub shell: Option<String>,
    /// What it may need.
    pub dependencies: Vec<String>,
}

/// A project that something runs of, as its state directory tells without asking anybody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    /// Path of its `services.toml`; `null` where no daemon has written it down.
    pub path: Option<String>,
    /// Its state directory.
    pub state_dir: String,
    /// Whether a daemon has it.
    pub daemon: bool,
    /// The daemon's process.
    pub pid: Option<u32>,
    /// Where the daemon listens.
    pub socket: Option<String>,
    /// How many services are kept by a shim.
    pub kept: usize,
    /// How many of its containers run, where there is no daemon to ask; `null` where their engine did not answer.
    pub containers: Option<usize>,
    /// How many others, run by managers, were up when its daemon ended.
    #[serde(default)]
    pub managed: usize,
    /// Whether its `services.toml` is there: `present`, `gone`, or `unknown` where that cannot be told.
    #[serde(default)]
    pub file: Option<String>,
}
