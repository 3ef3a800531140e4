//! The rows of the API.

use serde::{Deserialize, Serialize};

/// The definition of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Service {
    /// The name.
    pub name: String,
    /// The purpose.
    pub description: String,
    /// The dependencies.
    pub dependencies: Vec<Dependency>,
    /// The manager: `process`, `command`, `systemd`, or the path of a Nushell module.
    pub manager: String,
    /// The command line.
    pub start_command: String,
    /// The command line that stops the service, instead of a signal.
    pub stop_command: Option<String>,
    /// The endpoint of the health check; `null` for a process check.
    pub health_check_endpoint: Option<String>,
    /// The origin of the definition: `file`, `added` or `transient`.
    #[serde(default)]
    pub origin: String,
    /// Whether a shell that enters the project's directory may start the service.
    #[serde(default)]
    pub auto: bool,
}

/// One edge of the graph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Dependency {
    /// The dependency.
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
    /// Position in the order, counted from 1.
    pub step: usize,
    /// The service.
    pub name: String,
    /// Services of one level do not depend on each other; level 0 has no dependencies.
    pub level: usize,
    /// The names of its dependencies.
    pub dependencies: Vec<String>,
}

/// The effect of a changed `services.toml` on one service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Change {
    /// The service.
    pub service: String,
    /// `add`, `remove`, `restart`, `update` or `none`.
    pub change: String,
    /// The changed keys.
    pub because: Vec<String>,
    /// The dependents that would restart too.
    pub affects: Vec<String>,
    /// The reasons why an apply would be refused: missing requirements of a start.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// One service in the graph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Node {
    /// The service.
    pub name: String,
    /// Services of one level do not depend on each other; level 0 has no dependencies.
    pub level: usize,
    /// The dependencies and their conditions.
    pub dependencies: Vec<Dependency>,
    /// The names of its dependents.
    pub dependents: Vec<String>,
    /// The detailed state. Without a daemon: `stopped`, or `unknown` if the service may run.
    pub state: String,
}

/// The state of one service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Status {
    /// The name.
    pub name: String,
    /// Coarse: `running`, `stopped`, `failed` or `unknown`.
    pub status: String,
    /// Detailed: `stopped`, `waiting`, `starting`, `ready`, `stopping`, `backoff`, `completed`, `failed` or `unknown`.
    pub state: String,
    /// `healthy`, `unhealthy`, `alive` (its process runs without a health check), `pending` (not known yet) or `none`
    /// (it does not run).
    pub health: String,
    /// Process id of the service itself.
    pub pid: Option<u32>,
    /// How long the process has been running.
    pub uptime_ms: Option<f64>,
    /// Resident memory of the whole process tree, in bytes.
    pub memory: Option<u64>,
    /// Number of restarts: by the restart policy since the last request, and by the manager.
    pub restarts: u32,
    /// The columns that `long` adds.
    #[serde(flatten)]
    #[cfg_attr(feature = "openapi", schema(value_type = Details))]
    pub details: Option<Details>,
}

/// The fields that `long` adds to a `Status`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Details {
    /// Share of one core that the process tree used since the last sample, in percent.
    pub cpu: Option<f64>,
    /// When the service entered this state.
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub since: Option<String>,
    /// Exit code of the last process.
    pub exit_code: Option<i32>,
    /// Signal that ended the last process, for example `SIGKILL`.
    pub exit_signal: Option<String>,
    /// The command line.
    #[cfg_attr(feature = "openapi", schema(required = false))]
    pub command: String,
    /// The working directory.
    #[cfg_attr(feature = "openapi", schema(required = false))]
    pub cwd: String,
    /// Path of the log.
    pub log: Option<String>,
    /// The names of its dependencies.
    #[cfg_attr(feature = "openapi", schema(required = false))]
    pub dependencies: Vec<String>,
    /// Memory limit of all processes together, in bytes.
    #[serde(default)]
    pub memory_limit: Option<u64>,
    /// CPU limit, in cores.
    #[serde(default)]
    pub cpu_limit: Option<f64>,
    /// How the limits of the running service are enforced: `cgroup`, `rlimit` or `none`; one for each limit if they
    /// differ; `unknown` if this cannot be read. `reason` explains a limit that is not fully enforced.
    #[serde(default)]
    pub limits: Option<String>,
    /// The reason of the state, as text.
    pub reason: Option<String>,
    /// The manager's identifier, such as the id of a container.
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
    /// Whether the check passed; `null` for a service with goal down, and for a completed one-shot.
    pub healthy: Option<bool>,
    /// `http`, `https`, `tcp`, `unix`, `dns`, `exec`, `process` or `manager`.
    pub kind: String,
    /// The result as text.
    pub message: String,
    /// How long the check took.
    pub latency_ms: f64,
    /// When.
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub checked: String,
    /// The endpoint; `null` for a process check.
    pub endpoint: Option<String>,
}

/// An explanation of a service's state.
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
    /// When the service entered this state.
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub since: Option<String>,
    /// The dependency that the service waits for.
    pub waits_for: Option<WaitsFor>,
    /// The last health check of the present run.
    pub last_check: Option<LastCheck>,
    /// The exit status of the last process, with its usual meaning.
    pub exit: Option<String>,
    /// The owner of the port.
    pub port_holder: Option<PortHolder>,
    /// The next retry.
    pub next_retry: Option<NextRetry>,
    /// The last lines of the log.
    pub log: Vec<LogLine>,
    /// The remedy.
    pub help: Option<String>,
}

/// The dependency that blocks a service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WaitsFor {
    /// The dependency.
    pub service: String,
    /// `started`, `ready`, `healthy` or `completed`.
    pub condition: String,
    /// The state of the dependency.
    pub state: String,
    /// How long the service has waited.
    pub waiting_ms: f64,
}

/// A completed health check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LastCheck {
    /// Whether the service passed.
    pub healthy: bool,
    /// The result as text.
    pub message: String,
    /// How long the check took.
    pub latency_ms: f64,
    /// When.
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub checked: String,
}

/// The owner of a port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PortHolder {
    /// The port.
    pub port: u16,
    /// The process; `null` if it is another user's.
    pub pid: Option<u32>,
    /// The name.
    pub process: Option<String>,
}

/// The next retry of a service that has failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NextRetry {
    /// When.
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub at: String,
    /// The time until then.
    pub in_ms: f64,
}

/// One line of a service's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LogLine {
    /// When the line was written; empty if the manager does not return the time.
    pub time: String,
    /// The service.
    pub service: String,
    /// `stdout` or `stderr`; `shim` for a message of the shim.
    pub stream: String,
    /// The text as a terminal would show it, without the line end: text after a carriage return overwrites the text
    /// before. Bytes that are not UTF-8 are replaced by U+FFFD.
    pub line: String,
    /// Whether the line is incomplete. If the log is followed, its continuation may follow in a row with `continues`.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub partial: bool,
    /// Whether the line continues the last row of this stream, which had `partial`.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub continues: bool,
}

/// A manager: a Nushell module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Manager {
    /// The value of a service's `manager`.
    pub name: String,
    /// Path of the module.
    pub module: String,
    /// The version of its contract; `null` if the module cannot be read.
    pub contract: Option<i64>,
    /// The exported commands.
    pub commands: Vec<String>,
    /// Whether the program of the manager exists; `null` without a `check`.
    pub present: Option<bool>,
    /// The program that the manager uses.
    pub program: Option<String>,
    /// The version of that program.
    pub version: Option<String>,
    /// Number of services with this manager.
    pub services: usize,
    /// The problem, or the message of `check`.
    pub message: Option<String>,
}

/// Versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Version {
    /// Version of the daemon.
    pub version: String,
    /// Version of the API.
    pub api: u32,
}

/// The daemon itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Daemon {
    /// Version of the daemon.
    pub version: String,
    /// The process id.
    pub pid: u32,
    /// Path of its socket.
    pub socket: String,
    /// Path of the project's `services.toml`.
    pub project: String,
    /// Path of the daemon's log; for a systemd unit, the command that shows the log.
    pub log: String,
    /// How long the daemon has been running.
    pub uptime_ms: f64,
    /// Number of running services.
    pub services_running: usize,
    /// Number of defined services.
    pub services: usize,
    /// The TCP address as a URL, or the error; `null` without `listen`.
    #[serde(default)]
    pub listen: Option<String>,
    /// Number of live tokio tasks, which grows with services and running requests, but not with time.
    #[serde(default)]
    pub tasks: usize,
    /// Number of open descriptors.
    #[serde(default)]
    pub descriptors: usize,
    /// The systemd unit that runs the daemon, if any.
    #[serde(default)]
    pub unit: Option<String>,
}

/// The result of `service init`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InitResult {
    /// The path.
    pub path: String,
    /// Whether an existing file was replaced.
    pub replaced: bool,
    /// Suggestions from other files in the directory.
    pub suggestions: Vec<Suggestion>,
}

/// A service that another file mentions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suggestion {
    /// The file.
    pub source: String,
    /// The suggested name of the service.
    pub name: String,
    /// The suggested command.
    pub start_command: String,
    /// The shell for that command line, if it needs one.
    pub shell: Option<String>,
    /// The suggested dependencies.
    pub dependencies: Vec<String>,
}

/// A project with running services, according to its state directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectSummary {
    /// Path of its `services.toml`; `null` if no daemon has recorded it.
    pub path: Option<String>,
    /// The state directory.
    pub state_dir: String,
    /// Whether the project has a daemon.
    pub daemon: bool,
    /// The daemon's process.
    pub pid: Option<u32>,
    /// Where the daemon listens.
    pub socket: Option<String>,
    /// Number of services with a shim.
    pub kept: usize,
    /// Number of running containers of a project without a daemon; `null` if the engine did not respond.
    pub containers: Option<usize>,
    /// Number of services of other managers that were running when the daemon ended.
    #[serde(default)]
    pub managed: usize,
    /// Whether its `services.toml` exists: `present`, `gone`, or `unknown`.
    #[serde(default)]
    pub file: Option<String>,
    /// Why a part of the state directory could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}
