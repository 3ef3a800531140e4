//! [`ManagerError`]: why a manager has not replied.

use super::author::Author;
use serde_json::Value;
use service_core::explain::with_step;
use service_host::text::readable;

/// The limit of a log, which is written to a file.
pub(super) const MAX_LOG_BYTES: usize = 8 << 20;

/// Why a manager has not replied.
#[derive(Debug)]
pub(super) enum ManagerError {
    /// The module raised an error.
    Raised { msg: String, help: Option<String>, author: Author },
    /// The log is larger than allowed.
    TooMuch,
    /// Any other error, with the daemon's message.
    Failed(String),
}

impl ManagerError {
    /// The message without the prefix "cannot start `web`:", which the caller adds.
    pub(super) fn without_prefix(self, command: &str, service: &str) -> String {
        match self {
            Self::Raised { msg, help, author } => {
                author.mark(with_help(strip_prefix(command, service, &msg).to_owned(), help))
            }
            other => other.message(),
        }
    }

    /// The message as the manager returned it.
    pub(super) fn message(self) -> String {
        match self {
            Self::Failed(message) => message,
            Self::TooMuch => format!("it is larger than {} MiB", MAX_LOG_BYTES >> 20),
            Self::Raised { msg, help, author } => author.mark(with_help(msg, help)),
        }
    }

    /// Reads a module's `{error: {msg, help}}`.
    pub(super) fn read(error: &Value, author: Author) -> Self {
        let word = |key: &str| error["error"][key].as_str().map(readable);
        match word("msg") {
            // An empty message counts as a missing one.
            Some(msg) if !msg.trim().is_empty() => Self::Raised { msg, help: word("help"), author },
            _ => Self::Failed("its manager failed without a message".to_owned()),
        }
    }
}

/// Removes the prefix that the caller adds.
pub(super) fn strip_prefix<'m>(doing: &str, service: &str, message: &'m str) -> &'m str {
    message.strip_prefix(&format!("cannot {doing} `{service}`: ")).unwrap_or(message)
}

fn with_help(msg: String, help: Option<String>) -> String {
    match help.filter(|help| !help.is_empty()) {
        Some(help) => with_step(&msg, &help),
        None => msg,
    }
}
