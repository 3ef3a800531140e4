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
    /// The time limit of one check.
    pub timeout: Duration,
    /// Failures in a row that make a healthy service unhealthy.
    pub retries: u32,
    /// Failures this soon after the launch do not count, unless it has been healthy before.
    pub start_period: Duration,
    /// Accepted HTTP statuses; empty: 200 to 299.
    pub status: Vec<u16>,
    /// The reaction to an unhealthy service.
    pub on_failure: OnFailure,
    /// The accepted owner of a checked local port.
    pub listener: Listener,
    /// The certificates that `https://` trusts instead of the machine's: a file in PEM, absolute or relative to the file's
    /// directory.
    #[serde(default)]
    pub ca_file: Option<String>,
    /// Whether `https://` accepts any certificate.
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

/// The reaction to an unhealthy service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum OnFailure {
    /// The failure is reported.
    #[default]
    Report,
    /// The service is stopped, and the restart policy applies as after a crash.
    Restart,
}

impl OnFailure {
    /// Every choice with its name in TOML.
    pub const ALL: [(&'static str, Self); 2] = [("report", Self::Report), ("restart", Self::Restart)];
}

/// The accepted owner of a checked local port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Listener {
    /// The service's own process tree.
    #[default]
    Own,
    /// Any process: the port is forwarded, or the service runs elsewhere.
    Any,
}

impl Listener {
    /// Every choice with its name in TOML.
    pub const ALL: [(&'static str, Self); 2] = [("own", Self::Own), ("any", Self::Any)];
}

/// The inherited environment and the privileges of a process.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct EnvironmentPolicy {
    /// Whether it inherits only the few variables that every program needs.
    pub env_clear: bool,
    /// Names of variables that it inherits in any case.
    pub pass_env: Vec<String>,
    /// Whether it cannot gain privileges by executing a program; absent: with `user`.
    pub no_new_privileges: Option<bool>,
}

/// The processes that receive the stop signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum KillMode {
    /// Every process of the service.
    #[default]
    Tree,
    /// The first process. After its end the others are killed.
    Main,
}

impl KillMode {
    /// Every choice with its name in TOML.
    pub const ALL: [(&'static str, Self); 2] = [("tree", Self::Tree), ("main", Self::Main)];
}

/// `[services.NAME.ready]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// Ready when a log line matches this regular expression.
    pub log: Option<String>,
    /// Ready when it sends `READY=1`, see `sd_notify(3)`.
    pub notify: bool,
    /// The time limit of a start; absent: [`START_TIMEOUT`], and no limit for a one-shot.
    pub timeout: Option<Duration>,
    /// Without endpoint, log and notify: ready after this time with a process.
    pub delay: Duration,
}

/// The default time limit of a start.
pub const START_TIMEOUT: Duration = Duration::from_mins(1);

impl Default for Ready {
    fn default() -> Self {
        Self { log: None, notify: false, timeout: None, delay: Duration::from_secs(1) }
    }
}

/// The sign that a start is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// The end, with success.
    Exit,
    /// A log line or `READY=1`.
    Notify,
    /// The first passed health check, or the start itself if its manager has no status.
    Probe,
    /// A process that has been alive for this time.
    Delay(Duration),
}

/// `[services.NAME.backoff]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Backoff {
    /// Pause before the first delayed restart.
    pub initial: Duration,
    /// The factor between successive delays.
    pub factor: f64,
    /// Longest pause.
    pub max: Duration,
    /// A service that has been ready for this time has its count cleared.
    pub reset_after: Duration,
    /// The number of restarts in `window` after which it has failed; 0 for no limit.
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
    /// The number of rotated files beside the current one.
    pub max_files: u32,
}

impl Default for Log {
    fn default() -> Self {
        Self { max_size: 10_000_000, max_files: 5 }
    }
}

/// The resource limits of all processes of a service together; absent for no limit.
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
