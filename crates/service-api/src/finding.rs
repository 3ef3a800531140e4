//! [`Finding`]: an error or a warning about `services.toml`.

use serde::{Deserialize, Serialize};

/// An error or a warning, and its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The severity.
    pub severity: Severity,
    /// The service with the error or warning.
    pub service: Option<String>,
    /// The key, relative to the service if there is one: `health.interval`.
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

/// The severity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// No service of this file can be started, or this service cannot.
    Error,
    /// The file is valid, but a value does not work on this machine or has an unexpected meaning.
    Warning,
}

impl Severity {
    /// The name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}
