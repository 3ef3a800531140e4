//! The tables of a service: `health`, `ready`, `backoff` and `log`, each with its defaults; and its limits.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;
use serde::{Deserialize, Serialize};

/// `[services.NAME.health]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// The time from the end of a check to the start of the next one, for a ready service.
    pub interval: Duration,
    /// The time limit of one check.
    pub timeout: Duration,
    /// The number of consecutive failures that make a healthy service unhealthy.
    pub retries: u32,
    /// The time after the launch in which failures do not count, unless the service has been healthy before.
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
    /// Any process, for example if the port is forwarded.
    Any,
}

impl Listener {
    /// Every choice with its name in TOML.
    pub const ALL: [(&'static str, Self); 2] = [("own", Self::Own), ("any", Self::Any)];
}

/// The inherited environment and the privileges of a process.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct EnvironmentPolicy {
    /// Whether the service inherits only the variables that every program needs.
    pub env_clear: bool,
    /// Names of variables that the service inherits in any case.
    pub pass_env: Vec<String>,
    /// Whether the service cannot gain privileges by executing a program; absent: if `user` is set.
    pub no_new_privileges: Option<bool>,
}

/// The processes that receive the stop signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum KillMode {
    /// Every process of the service.
    #[default]
    Tree,
    /// The service's own process. After its end the other processes are killed.
    Main,
}

impl KillMode {
    /// Every choice with its name in TOML.
    pub const ALL: [(&'static str, Self); 2] = [("tree", Self::Tree), ("main", Self::Main)];
}

/// `[services.NAME.ready]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// The service is ready when a log line matches this regular expression.
    pub log: Option<String>,
    /// Whether the service is ready when it sends `READY=1`, see `sd_notify(3)`.
    pub notify: bool,
    /// The time limit of a start; absent: [`START_TIMEOUT`], and no limit for a one-shot.
    pub timeout: Option<Duration>,
    /// Without endpoint, log and notify: the service is ready when its process has been alive for this time.
    pub delay: Duration,
}

/// The default time limit of a start.
pub const START_TIMEOUT: Duration = Duration::from_mins(1);

impl Default for Ready {
    fn default() -> Self {
        Self { log: None, notify: false, timeout: None, delay: Duration::from_secs(1) }
    }
}

/// The condition that completes a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// A successful exit.
    Exit,
    /// A log line or `READY=1`.
    Notify,
    /// The first passed health check; or the start itself, if the manager has no status.
    Probe,
    /// A process that has been alive for this time.
    Delay(Duration),
}

/// `[services.NAME.backoff]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Backoff {
    /// The delay before the first delayed restart.
    pub initial: Duration,
    /// The factor between successive delays.
    pub factor: f64,
    /// The maximum delay.
    pub max: Duration,
    /// The time of being ready after which the count of restarts is reset.
    pub reset_after: Duration,
    /// The maximum number of restarts in `window`; 0 for no limit. With more, the service fails.
    pub limit: u32,
    /// The time in which restarts count for `limit`.
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
    /// Whether there is no limit.
    pub fn is_none(&self) -> bool {
        self.memory.is_none() && self.cpu.is_none()
    }
}
