//! The tables of a service: `health`, `ready`, `backoff` and `log`, each with its defaults; and its limits.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;
use serde::{Deserialize, Serialize};

/// `[services.NAME.health]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// From the end of one check to the start of the next, once ready.
    pub interval: Duration,
    /// How long one check may take.
    pub timeout: Duration,
    /// Failures in a row that make a healthy service unhealthy.
    pub retries: u32,
    /// Failures this soon after the launch do not count, unless it has been healthy before.
    pub start_period: Duration,
    /// Accepted HTTP statuses; empty: 200 to 299.
    pub status: Vec<u16>,
    /// What to do with an unhealthy service.
    pub on_failure: OnFailure,
    /// Whose listener a check of a local port may find.
    pub listener: Listener,
    /// The certificates that `https://` trusts instead of the machine's: a file in PEM, absolute or relative to the file's
    /// directory.
    #[serde(default)]
    pub ca_file: Option<String>,
    /// Whether `https://` trusts anybody.
    #[serde(default)]
    pub insecure: bool,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(3),
            retries: 3,
            start_period: Duration::from_secs(30),
            status: Vec::new(),
            on_failure: OnFailure::Report,
            listener: Listener::Own,
            ca_file: None,
            insecure: false,
        }
    }
}

/// What to do with an unhealthy service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum OnFailure {
    /// Say so.
    #[default]
    Report,
    /// End it; the restart policy takes it from there, as after a crash.
    Restart,
}

impl OnFailure {
    /// Every choice with its word in TOML.
    pub const ALL: [(&'static str, Self); 2] = [("report", Self::Report), ("restart", Self::Restart)];
}

/// Whose listener a check of a local port may find.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Listener {
    /// One of the service's own process tree.
    #[default]
    Own,
    /// Anybody's: it is handed on, or run elsewhere.
    Any,
}

impl Listener {
    /// Every choice with its word in TOML.
    pub const ALL: [(&'static str, Self); 2] = [("own", Self::Own), ("any", Self::Any)];
}

/// What a process of ours gets of what surrounds the daemon, and what it may become.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct EnvironmentPolicy {
    /// Whether it gets only the few variables of the daemon that every program needs.
    pub env_clear: bool,
    /// Names of variables of the daemon that it gets all the same.
    pub pass_env: Vec<String>,
    /// Whether it can gain no rights by executing a program; absent: with `user`.
    pub no_new_privileges: Option<bool>,
}

/// Whom the stop signal goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum KillMode {
    /// Every process of the service.
    #[default]
    Tree,
    /// The process that was started; when it has ended the rest is killed.
    Main,
}

impl KillMode {
    /// Every choice with its word in TOML.
    pub const ALL: [(&'static str, Self); 2] = [("tree", Self::Tree), ("main", Self::Main)];
}

/// `[services.NAME.ready]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// Ready when a log line matches this regular expression.
    pub log: Option<String>,
    /// Ready when it says `READY=1`, see `sd_notify(3)`.
    pub notify: bool,
    /// How long a start may take; absent: [`START_TIMEOUT`], and for a one-shot as long as it likes.
    pub timeout: Option<Duration>,
    /// Without endpoint, log and notify: ready when alive for so long.
    pub delay: Duration,
}

/// How long a start may take where nothing else is said.
pub const START_TIMEOUT: Duration = Duration::from_mins(1);

impl Default for Ready {
    fn default() -> Self {
        Self { log: None, notify: false, timeout: None, delay: Duration::from_secs(1) }
    }
}

/// What tells that a start has come to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// Its end, with success.
    Exit,
    /// A log line or `READY=1`.
    Notify,
    /// The first health check that passes, or for a manager that cannot tell, the start itself.
    Probe,
    /// Being alive for so long.
    Delay(Duration),
}

/// `[services.NAME.backoff]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Backoff {
    /// Pause before the first delayed restart.
    pub initial: Duration,
    /// By how much each pause is longer than the one before.
    pub factor: f64,
    /// Longest pause.
    pub max: Duration,
    /// Being ready for so long clears the count.
    pub reset_after: Duration,
    /// Restarts in `window` after which it has failed for good; 0: never.
    pub limit: u32,
    /// See `limit`.
    pub window: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            initial: Duration::from_millis(500),
            factor: 2.0,
            max: Duration::from_secs(30),
            reset_after: Duration::from_secs(30),
            limit: 5,
            window: Duration::from_mins(1),
        }
    }
}

/// `[services.NAME.log]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    /// Bytes after which the log is rotated.
    pub max_size: u64,
    /// Rotated files kept beside the current one.
    pub max_files: u32,
}

impl Default for Log {
    fn default() -> Self {
        Self { max_size: 10_000_000, max_files: 5 }
    }
}

/// What all processes of a service together may use; absent: as much as there is.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Limits {
    /// `memory_limit`, in bytes.
    pub memory: Option<u64>,
    /// `cpu_limit`, in cores.
    pub cpu: Option<f64>,
}

impl Limits {
    /// Whether there is none.
    pub fn is_none(&self) -> bool {
        self.memory.is_none() && self.cpu.is_none()
    }
}
