//! The definition of an added service: the keys of `services.toml`, in the same form as `load/definition.rs` reads
//! them.

use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// Services to add.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Definitions {
    /// All services are added, or none.
    #[schema(required = false)]
    services: Vec<Definition>,
    /// Whether the services are deleted some time after their runs.
    #[schema(required = false, default = false)]
    transient: bool,
}

/// One service, by the keys of `services.toml`; docs/config.md has their meanings and defaults.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// The name; optional for a transient service, with a default from the program.
    #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length = 64)]
    name: Option<String>,
    /// The command of the service: a program and its arguments, as a text that is split like in a shell, or as a list.
    start_command: Option<CommandLine>,
    /// The purpose.
    description: Option<String>,
    /// The dependencies, by name, or with a condition.
    #[schema(required = false)]
    dependencies: Vec<Need>,
    /// The endpoint of the health check: `http://`, `https://`, `tcp://`, `unix://`, `dns://` or `exec:`.
    #[schema(
        pattern = r"^(https?://[^/]|tcp://.+:[0-9]{1,5}/*$|unix:///|dns://[^:/][^/]*/[\s\S]|exec:\s*\S)",
        example = "http://127.0.0.1:8080/health"
    )]
    health_check_endpoint: Option<String>,
    /// Run `start_command` as `<shell> -c <command>`.
    #[schema(pattern = r"\S")]
    shell: Option<String>,
    /// The command line that stops the service.
    stop_command: Option<String>,
    /// For the manager `command`: exit code 0 means that the service runs.
    status_command: Option<String>,
    /// The manager: `process`, `command`, `systemd`, `podman`, `docker`, or the path of a Nushell module.
    #[schema(example = "process")]
    manager: Option<String>,
    /// A table for the manager.
    with: Option<BTreeMap<String, serde_json::Value>>,
    /// Image of the container.
    #[schema(pattern = r"^[^\s-]\S*$", example = "docker.io/library/postgres:16")]
    image: Option<String>,
    /// When the image is fetched.
    pull: Option<Pull>,
    /// Ports of the container, as `[[address:]port:]port[/protocol]`.
    ports: Option<Words>,
    /// Mounts of the container, as `[source:]target[:options]`.
    volumes: Option<Words>,
    /// Networks of the container.
    networks: Option<Words>,
    /// The working directory.
    working_dir: Option<String>,
    /// Variables added to the environment of the daemon.
    #[schema(required = false)]
    env: BTreeMap<String, String>,
    /// Files of `NAME=value` lines.
    env_file: Option<Words>,
    /// Whether the service gets only the basic variables of the daemon.
    env_clear: Option<bool>,
    /// Variables of the daemon that the service gets in spite of `env_clear`.
    pass_env: Option<Words>,
    /// Whether the service cannot gain privileges by executing a program; absent: if `user` is set.
    no_new_privileges: Option<bool>,
    /// User to run as.
    user: Option<String>,
    /// Group to run as; needs `user`.
    group: Option<String>,
    /// Maximum memory.
    memory_limit: Option<Size>,
    /// Maximum number of cores, or a share of one, such as `50%`.
    cpu_limit: Option<Share>,
    /// Whether the service does its work and exits.
    #[schema(required = false, default = false)]
    oneshot: bool,
    /// Whether a shell that enters the project's directory may start the service.
    auto: Option<bool>,
    /// The restart policy.
    restart: Option<Restart>,
    /// The signal that asks the service to end.
    #[schema(example = "TERM")]
    stop_signal: Option<String>,
    /// Recipients of the stop signal: `tree` (all processes), or `main` (the main process; the others are killed after
    /// its exit).
    kill_mode: Option<KillMode>,
    /// Timeout of a stop.
    #[schema(example = "10s")]
    stop_timeout: Option<String>,
    /// Settings of the health check.
    health: Option<HealthKeys>,
    /// When the service is ready.
    ready: Option<ReadyKeys>,
    /// The delays between restarts.
    backoff: Option<BackoffKeys>,
    /// Retention of the log.
    log: Option<LogKeys>,
}

/// A program and its arguments.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum CommandLine {
    Line(Line),
    Words(Vec<String>),
}

/// Text that is not empty.
#[derive(Serialize, ToSchema)]
#[schema(pattern = r"\S", min_length = 1)]
pub struct Line(String);

/// One text, or a list of texts.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum Words {
    One(String),
    Many(Vec<String>),
}

/// Bytes, or text such as `512MB`.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum Size {
    Bytes(u64),
    Written(String),
}

/// A number of cores, or a share of one core such as `50%`.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum Share {
    Cores(f64),
    Written(String),
}

/// A dependency: its name, or a table.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum Need {
    Name(String),
    Edge(Edge),
}

/// A dependency and its condition.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Edge {
    /// The name.
    name: String,
    /// The condition.
    condition: Option<Condition>,
    /// The reaction when the dependency is lost.
    when_lost: Option<WhenLost>,
}

/// The required state of a dependency.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    Started,
    Ready,
    Healthy,
    Completed,
}

/// The reaction of a service to a lost dependency.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhenLost {
    Keep,
    Restart,
    Stop,
}

/// When an image is fetched.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Pull {
    Missing,
    Always,
    Never,
}

/// Recipients of a stop signal.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum KillMode {
    Tree,
    Main,
}

/// The restart policy.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    No,
    OnFailure,
    Always,
    UnlessStopped,
}

/// Settings of a health check.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HealthKeys {
    /// The time from the end of a check to the next check.
    #[schema(example = "10s")]
    interval: Option<String>,
    /// Timeout of a check.
    #[schema(example = "3s")]
    timeout: Option<String>,
    /// The number of consecutive failures that make the service unhealthy.
    #[schema(minimum = 1)]
    retries: Option<u32>,
    /// The time after the launch in which failures do not count.
    #[schema(example = "30s")]
    start_period: Option<String>,
    /// Accepted HTTP statuses.
    #[schema(required = false)]
    status: Vec<u16>,
    /// `own`: a process of the service must listen. `any`: any process may listen.
    #[schema(example = "own")]
    listener: Option<String>,
    /// The file of certificates (PEM) that `https://` trusts instead of the machine's certificates.
    #[schema(example = "certificates/local.pem")]
    ca_file: Option<String>,
    /// Whether any certificate is trusted.
    insecure: Option<bool>,
    /// `report`, or `restart`: an unhealthy service is stopped and started again.
    #[schema(example = "report")]
    on_failure: Option<String>,
}

/// When a service is ready.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReadyKeys {
    /// The service is ready when a line of its output matches this regular expression.
    log: Option<String>,
    /// The service is ready when it sends `READY=1` to `$NOTIFY_SOCKET`.
    notify: Option<bool>,
    /// Timeout of a start.
    #[schema(example = "60s")]
    timeout: Option<String>,
    /// The service is ready when it has been alive for this time.
    #[schema(example = "100ms")]
    delay: Option<String>,
}

/// The delays between restarts.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BackoffKeys {
    /// The first delay.
    #[schema(example = "500ms")]
    initial: Option<String>,
    /// Factor from one delay to the next.
    #[schema(minimum = 1)]
    factor: Option<f64>,
    /// The maximum delay.
    #[schema(example = "30s")]
    max: Option<String>,
    /// The time of being ready after which the count is reset.
    #[schema(example = "30s")]
    reset_after: Option<String>,
    /// The maximum number of restarts within `window`. With more, the service fails; 0: no limit.
    limit: Option<u32>,
    /// The time in which restarts count for `limit`.
    #[schema(example = "60s")]
    window: Option<String>,
}

/// Retention of a log.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LogKeys {
    /// Size at which the log is rotated.
    max_size: Option<Size>,
    /// Number of rotated files.
    #[schema(maximum = 1000)]
    max_files: Option<u32>,
}
