//! [`Problem`]: one error with a message for people and a stable code for scripts.

use crate::ownership;
use crate::redact::{self, redact};
use nix::libc::{EMFILE, ENFILE};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io::{self, ErrorKind};
use std::ops::Range;

/// An error, with its location and a remedy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Problem {
    /// The stable code, for scripts.
    pub code: Code,
    /// One sentence without a full stop: the failed step, the service, the reason.
    pub message: String,
    /// The remedy, if there is one.
    #[serde(default)]
    pub help: Option<String>,
    /// The location of the error in the user's file, if any.
    #[serde(default)]
    pub place: Option<SourceLocation>,
    /// The cell of the request that caused the error, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cell: Option<Cell>,
    /// The last log lines of the service that caused the error: at most three; only of standard error, if there are
    /// any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<String>,
    /// Further problems found in the same step, for example in the same file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schema(no_recursion))]
    pub others: Vec<Problem>,
}

/// A position in a file, with the text of its line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SourceLocation {
    /// Path of the file.
    pub file: String,
    /// Line, counted from 1.
    pub line: usize,
    /// Column in characters, counted from 1.
    pub column: usize,
    /// The length of the error in characters, at least 1.
    pub width: usize,
    /// The line's text.
    pub snippet: String,
}

/// A cell of the rows in the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Cell {
    /// The number of the row, counted from 0.
    pub row: usize,
    /// The column, and the keys within its value; empty for the whole row.
    #[serde(default)]
    pub path: Vec<String>,
}

/// The kinds of errors that a caller can distinguish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// There is no service (or route) with this name.
    NotFound,
    /// `services.toml` cannot be read, or contains an error.
    BadDefinition,
    /// No `services.toml` was found.
    NoProject,
    /// The found `services.toml` belongs to another user, others can write to it, or its content is not trusted.
    UntrustedFile,
    /// No service may be started or stopped: `manager_enabled` is false.
    ManagerDisabled,
    /// A dependency is not running, and the start does not include dependencies.
    DependencyNotRunning,
    /// A dependency failed, so this service cannot start.
    DependencyFailed,
    /// The service could not be started.
    StartFailed,
    /// The service could not be stopped.
    StopFailed,
    /// The manager of a service does not respond, or its response is invalid.
    ManagerFailed,
    /// The response of a manager is too large.
    TooMuch,
    /// The action is not done within the timeout; the daemon continues it.
    Timeout,
    /// The awaited state cannot be reached without another request.
    Never,
    /// A later request for the opposite replaced this request.
    Cancelled,
    /// The name is already used.
    NameTaken,
    /// The file to write exists already.
    Exists,
    /// The request is malformed.
    BadRequest,
    /// The requested events have expired, or their numbers were never assigned.
    Gap,
    /// Events arrived faster than the client read them.
    TooSlow,
    /// The token is missing or wrong.
    Unauthorized,
    /// The token does not permit the request, or the client has no access.
    Forbidden,
    /// The body of a request is too large.
    TooLarge,
    /// Too many clients are connected, or too many files are open.
    Busy,
    /// The daemon cannot be reached or started.
    DaemonUnreachable,
    /// The daemon responds but cannot do its work.
    Unfit,
    /// The state directory cannot be written: the disk is full or read-only, or the directory belongs to another user.
    Storage,
    /// It is unknown whether the service runs, so it is neither started nor stopped.
    StateUnknown,
    /// The service runs under the former path of a renamed project directory.
    Moved,
    /// The user has no running systemd.
    NoSystemd,
    /// The daemon has another version of the API.
    VersionMismatch,
    /// An error of the daemon itself, or of the machine.
    #[serde(other)]
    Internal,
}

impl Code {
    /// The name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::BadDefinition => "bad_definition",
            Self::NoProject => "no_project",
            Self::UntrustedFile => "untrusted_file",
            Self::ManagerDisabled => "manager_disabled",
            Self::DependencyNotRunning => "dependency_not_running",
            Self::DependencyFailed => "dependency_failed",
            Self::StartFailed => "start_failed",
            Self::StopFailed => "stop_failed",
            Self::ManagerFailed => "manager_failed",
            Self::TooMuch => "too_much",
            Self::Timeout => "timeout",
            Self::Never => "never",
            Self::Cancelled => "cancelled",
            Self::NameTaken => "name_taken",
            Self::Exists => "exists",
            Self::BadRequest => "bad_request",
            Self::Gap => "gap",
            Self::TooSlow => "too_slow",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::TooLarge => "too_large",
            Self::Busy => "busy",
            Self::DaemonUnreachable => "daemon_unreachable",
            Self::Unfit => "unfit",
            Self::Storage => "storage",
            Self::StateUnknown => "state_unknown",
            Self::Moved => "moved",
            Self::NoSystemd => "no_systemd",
            Self::VersionMismatch => "version_mismatch",
            Self::Internal => "internal",
        }
    }

    /// The HTTP status of this code.
    pub fn http_status(self) -> u16 {
        match self {
            Self::NotFound | Self::NoProject => 404,
            Self::BadRequest => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::TooSlow => 408,
            Self::Gap => 410,
            Self::TooLarge => 413,
            Self::BadDefinition => 422,
            Self::UntrustedFile
            | Self::ManagerDisabled
            | Self::DependencyNotRunning
            | Self::Never
            | Self::Cancelled
            | Self::NameTaken
            | Self::Exists
            | Self::Moved
            | Self::VersionMismatch => 409,
            Self::DependencyFailed
            | Self::StartFailed
            | Self::StopFailed
            | Self::ManagerFailed
            | Self::TooMuch => 502,
            Self::DaemonUnreachable | Self::Unfit | Self::Busy | Self::NoSystemd | Self::StateUnknown => 503,
            Self::Timeout => 504,
            Self::Storage => 507,
            Self::Internal => 500,
        }
    }
}

/// The maximum length of a message. Longer messages are truncated, because text of other programs has no limit.
const MAX_MESSAGE_BYTES: usize = 8_000;

impl Problem {
    /// A problem without help and location.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            help: None,
            place: None,
            cell: None,
            log: Vec::new(),
            others: Vec::new(),
        }
    }

    /// The problem of a file that could not be written or locked: [`Code::Storage`] if the disk is the cause.
    pub fn from_io(error: &io::Error, message: impl Into<String>) -> Self {
        let is_disk = matches!(
            error.kind(),
            ErrorKind::StorageFull
                | ErrorKind::QuotaExceeded
                | ErrorKind::ReadOnlyFilesystem
                | ErrorKind::PermissionDenied
        );
        let mut problem = Self::new(if is_disk { Code::Storage } else { Code::Internal }, message);
        problem.help = ownership::remedy(error).map(str::to_owned);
        if matches!(error.raw_os_error(), Some(EMFILE | ENFILE)) {
            problem.code = Code::Busy;
            problem.help =
                Some("try again, or raise the limit of open files (`ulimit -n`) for the daemon".to_owned());
        }
        problem
    }

    /// Sets the help, unless the problem already has one.
    #[must_use]
    pub fn or_help(mut self, help: impl Into<String>) -> Self {
        self.help.get_or_insert_with(|| help.into());
        self
    }

    /// Sets the help.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Sets the cell in the user's rows.
    #[must_use]
    pub fn in_cell(mut self, row: usize, path: Vec<String>) -> Self {
        self.cell = Some(Cell { row, path });
        self
    }

    /// Sets the location in the user's file.
    #[must_use]
    pub fn at(mut self, place: SourceLocation) -> Self {
        self.place = Some(place);
        self
    }

    /// Removes secrets from the message and from the quoted line of the file.
    #[must_use]
    pub fn redacted(self) -> Self {
        let clean = |text: String| redact(&redact::cut(&text, MAX_MESSAGE_BYTES)).into_owned();
        Self {
            message: clean(self.message),
            help: self.help.map(clean),
            place: self.place.map(|place| {
                let hidden = redact::secrets(&place.snippet);
                place.hiding(&hidden)
            }),
            log: self.log.into_iter().map(clean).collect(),
            others: self.others.into_iter().map(Self::redacted).collect(),
            ..self
        }
    }
}

impl SourceLocation {
    /// Masks these parts of the quoted line (byte ranges, as from [`redact::secrets`]). The mark stays under the error.
    #[must_use]
    pub fn hiding(self, hidden: &[Range<usize>]) -> Self {
        let byte =
            |column: usize| self.snippet.char_indices().nth(column).map_or(self.snippet.len(), |(at, _)| at);
        let (start, end) = (byte(self.column - 1), byte(self.column - 1 + self.width));
        let [start, end] = [start, end].map(|at| redact::moved(&self.snippet, hidden, at));
        Self {
            column: start + 1,
            width: end.saturating_sub(start).max(1),
            snippet: redact::mask(&self.snippet, hidden),
            ..self
        }
    }
}

impl fmt::Display for Problem {
    /// Writes the message; then file, line and column, and the line with a mark under the error; then the help.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(place) = &self.place {
            write!(f, "\n{place}")?;
        }
        self.log.iter().try_for_each(|line| write!(f, "\n  | {line}"))?;
        if let Some(help) = &self.help {
            write!(f, "\nhelp: {help}")?;
        }
        self.others.iter().try_for_each(|other| write!(f, "\n\n{other}"))
    }
}

impl std::error::Error for Problem {}

impl fmt::Display for SourceLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.line.to_string();
        let gutter = " ".repeat(number.len());
        writeln!(f, "{gutter}--> {}:{}:{}", self.file, self.line, self.column)?;
        writeln!(f, "{number} | {}", self.snippet)?;
        let indent: String = self
            .snippet
            .chars()
            .take(self.column.saturating_sub(1))
            .map(|c| if c == '\t' { '\t' } else { ' ' })
            .collect();
        write!(f, "{gutter} | {indent}{}", "^".repeat(self.width.max(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_out_of_a_full_table_of_descriptors_is_not_that_of_a_full_disk() {
        let problem =
            |errno| Problem::from_io(&io::Error::from_raw_os_error(errno), "cannot").or_help("free space");
        assert_eq!(problem(EMFILE).code, Code::Busy);
        assert!(problem(EMFILE).help.is_some_and(|help| help.contains("open files")));
        assert_eq!(problem(nix::libc::ENOSPC).code, Code::Storage);
        assert_eq!(problem(nix::libc::ENOSPC).help.as_deref(), Some("free space"));
    }

    #[test]
    fn a_place_marks_the_cause_under_its_line() {
        let place = SourceLocation {
            file: "services.toml".into(),
            line: 12,
            column: 1,
            width: 4,
            snippet: "prot = 1".into(),
        };
        assert_eq!(place.to_string(), "  --> services.toml:12:1\n12 | prot = 1\n   | ^^^^");
    }
}
