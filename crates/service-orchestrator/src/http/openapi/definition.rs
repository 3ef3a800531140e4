//! A service as it is added: the keys of `services.toml`, which are read by `load/definition.rs`. Durations and sizes are
//! written as there.
#![expect(dead_code, reason = "they are described and never made")]

use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// Services to add.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Definitions {
    /// All of them are added, or none.
    #[schema(required = false)]
    services: Vec<Definition>,
    /// Forget them some time after they have run.
    #[schema(required = false, default = false)]
    transient: bool,
}

/// One service, by the keys of `services.toml`; docs/config.md has what each means, and its default.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Definition {
    /// Its name; of a transient service it may be left out, and is then made from the program.
    #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length = 64)]
    name: Option<String>,
    /// The service itself: a program and its arguments, split as a shell would, or a list of them.
    start_command: Option<CommandLine>,
    /// What it is for.
    description: Option<String>,
    /// The services that have to be ready first, by their names, or with what is asked of them.
    #[schema(required = false)]
    dependencies: Vec<Need>,
    /// Where its health is asked: `http://`, `https://`, `tcp://`, `unix://`, `dns://` or `exec:`.
    #[schema(
        pattern = r"^(https?://[^/]|tcp://.+:[0-9]{1,5}/*$|unix:///|dns://[^:/][^/]*/[\s\S]|exec:\s*\S)",
        example = "http://127.0.0.1:8080/health"
    )]
    health_check_endpoint: Option<String>,
    /// Run `start_command` as `<shell> -c <command>`.
    #[schema(pattern = r"\S")]
    shell: Option<String>,
    /// The command line that stops it.
    stop_command: Option<String>,
    /// For the manager `command`: exit code 0 says that it runs.
    status_command: Option<String>,
    /// Who runs it: `process`, `command`, `systemd`, `podman`, `docker`, or the path of a Nushell module.
    #[schema(example = "process")]
    manager: Option<String>,
    /// What its manager alone reads.
    with: Option<BTreeMap<String, serde_json::Value>>,
    /// What its container is made of.
    #[schema(pattern = r"^[^\s-]\S*$", example = "docker.io/library/postgres:16")]
    image: Option<String>,
    /// When the image is fetched.
    pull: Option<Pull>,
    /// Ports of the container, as `[[address:]port:]port[/protocol]`.
    ports: Option<Words>,
    /// What the container sees, as `[source:]target[:options]`.
    volumes: Option<Words>,
    /// Networks of the container.
    networks: Option<Words>,
    /// Where it runs.
    working_dir: Option<String>,
    /// Variables on top of the environment of the daemon.
    #[schema(required = false)]
    env: BTreeMap<String, String>,
    /// Files of `NAME=value` lines.
    env_file: Option<Words>,
    /// Whether it gets only the few variables of the daemon that every program needs.
    env_clear: Option<bool>,
    /// Variables of the daemon that it gets all the same.
    pass_env: Option<Words>,
    /// Whether it can gain no rights by executing a program; absent: with `user`.
    no_new_privileges: Option<bool>,
    /// User to run as.
    user: Option<String>,
    /// Group to run as; needs `user`.
    group: Option<String>,
    /// How much memory it may use.
    memory_limit: Option<Size>,
    /// How many cores it may use, or a share of one, such as `50%`.
    cpu_limit: Option<Share>,
    /// It does its work and ends.
    #[schema(required = false, default = false)]
    oneshot: bool,
    /// Whether a shell that enters the project's directory may start it.
    auto: Option<bool>,
    /// What to do when it ends by itself.
    restart: Option<Restart>,
    /// The signal that asks it to end.
    #[schema(example = "TERM")]
    stop_signal: Option<String>,
    /// Whom that signal goes to: `tree`, every process of it; `main`, the first one, and the rest is killed after it.
    kill_mode: Option<KillMode>,
    /// How long it may take to end.
    #[schema(example = "10s")]
    stop_timeout: Option<String>,
    /// How its health is watched.
    health: Option<HealthKeys>,
    /// When it is ready.
    ready: Option<ReadyKeys>,
    /// How it is started again.
    backoff: Option<BackoffKeys>,
    /// How much of its log is kept.
    log: Option<LogKeys>,
}

/// A program and its arguments.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum CommandLine {
    Line(Line),
    Words(Vec<String>),
}

/// Text that is not empty.
#[derive(Serialize, ToSchema)]
#[schema(pattern = r"\S", min_length = 1)]
pub(crate) struct Line(String);

/// One, or a list of them.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Words {
    One(String),
    Many(Vec<String>),
}

/// Bytes, or text such as `512MB`.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Size {
    Bytes(u64),
    Written(String),
}

/// A number, or a share of one such as `50%`.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Share {
    Cores(f64),
    Written(String),
}

/// A service that is needed: its name, or with more about it.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Need {
    Name(String),
    Edge(Edge),
}

/// A service that is needed, and how.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Edge {
    /// Its name.
    name: String,
    /// What is asked of it.
    condition: Option<Condition>,
    /// What happens when that ceases to be true.
    when_lost: Option<WhenLost>,
}

/// What is asked of a service that is needed.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Condition {
    Started,
    Ready,
    Healthy,
    Completed,
}

/// What happens to a service that lost what it needs.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WhenLost {
    Keep,
    Restart,
    Stop,
}

/// When an image is fetched.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Pull {
    Missing,
    Always,
    Never,
}

/// Whom a stop signal goes to.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum KillMode {
    Tree,
    Main,
}

/// What to do when a service ends by itself.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Restart {
    No,
    OnFailure,
    Always,
    UnlessStopped,
}

/// How health is watched.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct HealthKeys {
    /// From the end of a check to the next.
    #[schema(example = "10s")]
    interval: Option<String>,
    /// How long a check may take.
    #[schema(example = "3s")]
    timeout: Option<String>,
    /// Failures in a row that make it unhealthy.
    #[schema(minimum = 1)]
    retries: Option<u32>,
    /// Failures this soon after the launch do not count.
    #[schema(example = "30s")]
    start_period: Option<String>,
    /// Statuses of HTTP that are accepted.
    #[schema(required = false)]
    status: Vec<u16>,
    /// `own`: a process of the service has to listen. `any`: whoever listens will do.
    #[schema(example = "own")]
    listener: Option<String>,
    /// Certificates in PEM that `https://` trusts instead of those of the machine.
    #[schema(example = "certificates/local.pem")]
    ca_file: Option<String>,
    /// Trust any certificate.
    insecure: Option<bool>,
    /// `report`, or `restart`: an unhealthy one is ended.
    #[schema(example = "report")]
    on_failure: Option<String>,
}

/// When a service is ready.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReadyKeys {
    /// When a line of its output matches this regular expression.
    log: Option<String>,
    /// When it says `READY=1` on `$NOTIFY_SOCKET`.
    notify: Option<bool>,
    /// How long a start may take.
    #[schema(example = "60s")]
    timeout: Option<String>,
    /// When it has been alive for so long.
    #[schema(example = "100ms")]
    delay: Option<String>,
}

/// How a service is started again.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BackoffKeys {
    /// The first pause.
    #[schema(example = "500ms")]
    initial: Option<String>,
    /// By how much each is longer than the one before.
    #[schema(minimum = 1)]
    factor: Option<f64>,
    /// The longest.
    #[schema(example = "30s")]
    max: Option<String>,
    /// Having been ready for so long clears the count.
    #[schema(example = "30s")]
    reset_after: Option<String>,
    /// More restarts than this within `window`, and it has failed; 0: never.
    limit: Option<u32>,
    /// See `limit`.
    #[schema(example = "60s")]
    window: Option<String>,
}

/// How much of a log is kept.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogKeys {
    /// The log is rotated when it has grown to this.
    max_size: Option<Size>,
    /// Rotated files that are kept.
    #[schema(maximum = 1000)]
    max_files: Option<u32>,
}
