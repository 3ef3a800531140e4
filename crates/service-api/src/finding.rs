//! [`Finding`]: one thing that a check of `services.toml` found.

use serde::{Deserialize, Serialize};

/// What is wrong, or doubtful, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Whether anything can be started in spite of it.
    pub severity: Severity,
    /// The service it is about.
    pub service: Option<String>,
    /// The key, below the service where it is about one: `health.interval`.
    pub key: Option<String>,
    /// One sentence without a full stop.
    pub message: String,
    /// The file.
    pub file: String,
    /// Line, counted from 1.
    pub line: Option<usize>,
    /// Column in characters, counted from 1.
    pub column: Option<usize>,
    /// The remedy, if there is one.
    pub help: Option<String>,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Nothing can be started with this file, or the service cannot.
    Error,
    /// The file is valid, but what it says will not work here and now, or does not do what it seems to.
    Warning,
}

impl Severity {
    /// The word as it stands in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}
