//! [`Unit`]: the systemd unit of a project's daemon, after a change.

use serde::{Deserialize, Serialize};

/// The result of `orchestratord enable` and `disable`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    /// The name of the unit, for `systemctl --user`.
    pub unit: String,
    /// The unit file.
    pub path: String,
    /// Whether systemd starts the daemon.
    pub enabled: bool,
    /// When systemd starts the daemon: `login`, `boot` or `never`.
    pub at: String,
    /// The present state in systemd: `active`, `inactive`, `failed` …
    pub state: String,
    /// The services that the daemon starts when systemd has started it: `auto`, `all`, or names with commas.
    pub services: String,
    /// A note, with a remedy.
    pub note: Option<String>,
}
