//! [`Unit`]: the unit of systemd that runs a project's daemon, and what was done with it.

use serde::{Deserialize, Serialize};

/// What `orchestratord enable` and `disable` answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    /// Its name, for `systemctl --user`.
    pub unit: String,
    /// The unit file.
    pub path: String,
    /// Whether systemd starts it.
    pub enabled: bool,
    /// When it does: `login`, `boot` or `never`.
    pub at: String,
    /// How it is now, in the words of systemd: `active`, `inactive`, `failed` …
    pub state: String,
    /// Which services it starts along: `auto`, `all`, or names with commas.
    pub services: String,
    /// What else should be known, and what would help.
    pub note: Option<String>,
}
