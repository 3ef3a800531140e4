//! [`ManagerError`]: why a manager has not replied, or its reply cannot be used.

use super::author::Author;
use super::reply::ReplyError;
use serde_json::Value;
use service_core::explain::with_step;
use service_host::acceptance::NOT_ASKED;
use service_host::environment::EnvironmentError;
use service_host::text::readable;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

/// The limit of a log, which is written to a file.
pub(super) const MAX_LOG_BYTES: usize = 8 << 20;

/// Why a manager has not replied, or its reply cannot be used. Cheap to clone: the services of one call share it.
#[derive(Debug, Clone, Error)]
pub enum ManagerError {
    /// The definition has not been accepted, so the module is not called.
    #[error("{NOT_ASKED}")]
    NotAccepted,
    /// The module or the input of the call.
    #[error(transparent)]
    Module(#[from] ModuleError),
    /// The call.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The module raised an error.
    #[error(transparent)]
    Raised(#[from] RaisedError),
    /// The log is larger than allowed.
    #[error("it is larger than {} MiB", MAX_LOG_BYTES >> 20)]
    TooMuch,
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// After a stop the service runs, for the reason that the manager gives.
    #[error("{}", reason.as_deref().unwrap_or("it still runs, according to its manager"))]
    StillRuns {
        /// The text of the manager.
        reason: Option<String>,
    },
}

/// Why a module cannot be called.
#[derive(Debug, Clone, Error)]
pub enum ModuleError {
    /// The file cannot be read.
    #[error("cannot read its manager `{}`: {error}", module.display())]
    Read {
        /// The file.
        module: PathBuf,
        /// The cause.
        error: Arc<io::Error>,
    },
    /// A modified built-in module cannot be restored.
    #[error("its manager `{}` cannot be written: {error}", module.display())]
    Restore {
        /// The file.
        module: PathBuf,
        /// The cause.
        error: Arc<io::Error>,
    },
    /// Nushell cannot inspect the module.
    #[error("its manager `{}` cannot be read: {error}", module.display())]
    Inspect {
        /// The file.
        module: PathBuf,
        /// The cause.
        error: Arc<io::Error>,
    },
    /// The inspection takes longer than a call may.
    #[error("its manager `{}` cannot be read: it takes too long", module.display())]
    InspectTimeout {
        /// The file.
        module: PathBuf,
    },
    /// `WITH` has another type.
    #[error("its manager `{}` should export WITH as a list of strings", module.display())]
    With {
        /// The file.
        module: PathBuf,
    },
    /// The module is written for another version of the contract.
    #[error(
        "its manager `{}` uses contract {contract}, and this orchestrator supports {supported}",
        module.display()
    )]
    Contract {
        /// The file.
        module: PathBuf,
        /// The version that the module exports.
        contract: Value,
        /// The supported version.
        supported: i64,
    },
    /// The module lacks a command.
    #[error("its manager `{}` does not export `{command}`; it exports {exports}", module.display())]
    NoCommand {
        /// The file.
        module: PathBuf,
        /// The command.
        command: String,
        /// The existing commands, as text.
        exports: String,
    },
    /// The module does not read a key of `with`.
    #[error("its manager has no key `{key}` of `with` ({help})")]
    UnknownKey {
        /// The key.
        key: String,
        /// The keys that the module reads, as text.
        help: String,
    },
    /// The keys of `with` are no JSON.
    #[error("`with` cannot be passed on: {0}")]
    InvalidWith(Arc<serde_json::Error>),
    /// The variables of the service cannot be read.
    #[error(transparent)]
    Environment(Arc<EnvironmentError>),
    /// The task that reads the env files did not end.
    #[error("cannot read its env files: {0}")]
    EnvFiles(Arc<io::Error>),
    /// The input cannot be encoded.
    #[error(transparent)]
    Encode(#[from] Arc<serde_json::Error>),
}

/// Why a call has no usable reply.
#[derive(Debug, Clone, Error)]
pub enum CallError {
    /// The Nushell of the call failed.
    #[error("its manager returned no result of `{command}`: {error}")]
    Io {
        /// The command of the module.
        command: String,
        /// The cause.
        error: Arc<io::Error>,
    },
    /// Nushell printed no reply.
    #[error("its manager `{}` failed: {output}", module.display())]
    NoReply {
        /// The file of the module.
        module: PathBuf,
        /// The output of Nushell instead, as text.
        output: String,
    },
    /// The reply has another form.
    #[error("its manager `{}` returned an invalid result of `{command}`: {error}", module.display())]
    InvalidReply {
        /// The file of the module.
        module: PathBuf,
        /// The command of the module.
        command: String,
        /// The cause.
        error: ReplyError,
    },
    /// A start command of `manager = "command"` keeps running.
    #[error(
        "`start_command` did not exit within {limit:?} and was killed: with `manager = \"command\"` it has to \
         exit; for a program that keeps running set `manager = \"process\"`"
    )]
    StartCommandRuns {
        /// The time limit of a call.
        limit: Duration,
    },
    /// The call takes too long.
    #[error("its manager did not finish `{command}` within {limit:?}")]
    Timeout {
        /// The command of the module.
        command: String,
        /// The time limit of a call.
        limit: Duration,
    },
    /// The rows of `status all` lack the service.
    #[error("`status all` of its manager returned no row for it")]
    NoRow,
    /// The row of the service has another form.
    #[error("`status all` of its manager returned an invalid row: {0}")]
    InvalidRow(ReplyError),
}

/// An error that a module raised; the text is the module's.
#[derive(Debug, Clone, Error)]
#[error("{}", self.describe())]
pub struct RaisedError {
    /// The message; `None` if the module gave none.
    pub(super) message: Option<String>,
    pub(super) help: Option<String>,
    pub(super) author: Author,
}

/// Why the log of a manager cannot be read.
#[derive(Debug, Clone, Error)]
pub enum LogError {
    /// There is no room for a temporary file.
    #[error("there is no space for it in {}: {error}", directory.display())]
    NoSpace {
        /// The directory of the file.
        directory: PathBuf,
        /// The cause.
        error: Arc<io::Error>,
    },
    /// The temporary file cannot be written or read.
    #[error("its log cannot be stored: {0}")]
    Store(Arc<io::Error>),
    /// The temporary file cannot be read.
    #[error("its log cannot be read: {0}")]
    Read(Arc<io::Error>),
    /// The call printed no lines.
    #[error("its manager failed: {output}")]
    NoReply {
        /// The output of the call instead.
        output: String,
    },
    /// The call printed another reply than lines.
    #[error("{output}")]
    OtherReply {
        /// The reply.
        output: String,
    },
    /// The call ended before the last line.
    #[error("its manager ended in the middle of its result")]
    Incomplete,
    /// A line is no JSON.
    #[error("a line should be JSON, not {line}")]
    NotJson {
        /// The line.
        line: String,
    },
    /// A line has another form.
    #[error(transparent)]
    InvalidLine(#[from] ReplyError),
}

impl ManagerError {
    /// The error without the prefix "cannot start `web`:" in the message of a module. The caller adds it.
    pub(super) fn without_prefix(self, command: &str, service: &str) -> Self {
        match self {
            Self::Raised(RaisedError { message: Some(message), help, author }) => {
                let message = Some(strip_prefix(command, service, &message).to_owned());
                Self::Raised(RaisedError { message, help, author })
            }
            other => other,
        }
    }
}

impl ModuleError {
    pub(super) fn read(module: &Path, error: io::Error) -> Self {
        Self::Read { module: module.to_path_buf(), error: Arc::new(error) }
    }
}

impl From<EnvironmentError> for ModuleError {
    fn from(error: EnvironmentError) -> Self {
        Self::Environment(Arc::new(error))
    }
}

impl RaisedError {
    /// Reads a module's `{error: {msg, help}}`. An empty message counts as a missing one.
    pub(super) fn read(error: &Value, author: Author) -> Self {
        let word = |key: &str| error["error"][key].as_str().map(readable);
        let message = word("msg").filter(|message| !message.trim().is_empty());
        Self { message, help: word("help"), author }
    }

    fn describe(&self) -> String {
        match (&self.message, self.help.as_ref().filter(|help| !help.is_empty())) {
            (None, _) => "its manager failed without a message".to_owned(),
            (Some(message), Some(help)) => self.author.mark(with_step(message, help)),
            (Some(message), None) => self.author.mark(message.clone()),
        }
    }
}

/// Removes the prefix that the caller adds.
pub(super) fn strip_prefix<'m>(doing: &str, service: &str, message: &'m str) -> &'m str {
    message.strip_prefix(&format!("cannot {doing} `{service}`: ")).unwrap_or(message)
}
