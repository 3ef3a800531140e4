//! [`Unit`]: the systemd unit of a project's daemon, and the change that was made to it.

use serde::{Deserialize, Serialize};

/// The result of `orchestratord enable` and `disable`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    /// The name, for `systemctl --user`.
    pub unit: String,
    /// The unit file.
    pub path: String,
    /// Whether systemd starts it.
    pub enabled: bool,
    /// When systemd starts it: `login`, `boot` or `never`.
    pub at: String,
    /// The present state in systemd: `active`, `inactive`, `failed` …
    pub state: String,
    /// The services that it starts: `auto`, `all`, or names with commas.
    pub services: String,
    /// A note, and a remedy.
    pub note: Option<String>,
}
