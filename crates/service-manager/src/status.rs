//! [`ReportedStatus`]: the status of a service, as a manager returns it.

use super::author::Author;
use super::reply::{ManagerReply, RecordReader, ReplyError, text};
use jiff::Timestamp;
use serde_json::Value;
use service_core::health::ProbeResult;
use service_core::service::{Event, Exit};
use service_host::clock;
use service_host::report::CheckResult;
use service_host::report::ManagerInfo;
use service_host::report::ManagerReport;
use service_host::text::single_line;
use std::time::Duration;

/// The highest real-time signal.
const MAX_SIGNAL: i32 = 64;

/// The status of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ReportedStatus {
    pub(super) state: ReportedState,
    /// The health, if the manager checks it.
    healthy: Option<bool>,
    pid: Option<u32>,
    id: Option<String>,
    pub(super) message: Option<String>,
    since: Option<Timestamp>,
    exit_code: Option<i32>,
    /// The signal that ended the service, if known.
    exit_signal: Option<i32>,
    memory: Option<u64>,
    restarts: Option<u32>,
}

/// The state of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReportedState {
    Running,
    /// Starting.
    Starting,
    Stopped,
    Failed,
    Completed,
    /// Unknown to the manager.
    Unknown,
}

impl ReportedState {
    const ALL: [(&str, Self); 6] = [
        ("running", Self::Running),
        ("starting", Self::Starting),
        ("stopped", Self::Stopped),
        ("failed", Self::Failed),
        ("completed", Self::Completed),
        ("unknown", Self::Unknown),
    ];

    fn read(word: &Value) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| word == known).map(|(_, state)| *state)
    }
}

impl ManagerReply for ReportedStatus {
    fn read(answer: Value, author: Author) -> Result<Self, ReplyError> {
        let row = RecordReader::read(&answer)?;
        let states = ReportedState::ALL.map(|(word, _)| format!("\"{word}\"")).join(", ");
        Ok(Self {
            state: row.required_field("state", &format!("one of {states}"), ReportedState::read)?,
            healthy: row.optional_field("healthy", "true or false", Value::as_bool)?,
            pid: row.optional_field("pid", "an int", number)?,
            id: row.optional_field("id", "a string", text)?,
            message: row
                .optional_field("message", "a string", text)?
                .map(|message| author.mark(single_line(&message))),
            since: row.optional_field("since", "a datetime", datetime)?,
            exit_code: row.optional_field("exit_code", "an int", |code| code.as_i64()?.try_into().ok())?,
            exit_signal: row.optional_field("exit_signal", "the number or the name of a signal", signal)?,
            memory: row.optional_field("memory", "a filesize", Value::as_u64)?,
            restarts: row.optional_field("restarts", "an int", number)?,
        })
    }
}

fn number(value: &Value) -> Option<u32> {
    value.as_u64()?.try_into().ok()
}

/// Reads a signal: its number, or its name with or without `SIG`.
fn signal(value: &Value) -> Option<i32> {
    let Some(name) = value.as_str() else {
        return value.as_i64()?.try_into().ok().filter(|number| (1..=MAX_SIGNAL).contains(number));
    };
    let full = if name.starts_with("SIG") { name.to_owned() } else { format!("SIG{name}") };
    full.parse::<nix::sys::signal::Signal>().ok().map(|signal| signal as i32)
}

/// The result of a manager's status query.
pub(super) fn checked(healthy: bool, message: String, latency: Duration) -> CheckResult {
    CheckResult { healthy, kind: "manager", message, fault: None, latency, at: clock::today() }
}

impl ReportedStatus {
    /// The event for a service that counts as running.
    pub(super) fn event(&self) -> Event {
        match self.state {
            ReportedState::Running if self.healthy == Some(false) => {
                Event::Probed(ProbeResult::ConfirmedFailure)
            }
            ReportedState::Running => Event::Probed(ProbeResult::Success),
            ReportedState::Starting => Event::Probed(ProbeResult::Failure),
            ReportedState::Completed | ReportedState::Stopped | ReportedState::Failed => {
                Event::TreeExited(self.ending())
            }
            ReportedState::Unknown => Event::Probed(ProbeResult::Unknown),
        }
    }

    /// The exit status, if reported. A signal takes precedence over an exit code, which a shell may have derived from
    /// the signal.
    pub(super) fn exit(&self) -> Option<Exit> {
        self.exit_signal.map(Exit::Signal).or(self.exit_code.map(Exit::Code))
    }

    /// The exit status of an ended service. A completed service without exit status counts as successful.
    pub(super) fn ending(&self) -> Exit {
        match (self.state, self.exit()) {
            (ReportedState::Completed, Some(Exit::Signal(signal))) => Exit::AcceptedSignal(signal),
            (ReportedState::Completed, None) => Exit::Code(0),
            (_, exit) => exit.unwrap_or(Exit::Unreported),
        }
    }

    pub(super) fn is_healthy(&self) -> bool {
        match self.state {
            ReportedState::Running => self.healthy != Some(false),
            ReportedState::Completed => self.exit().is_none_or(Exit::is_success),
            ReportedState::Starting
            | ReportedState::Stopped
            | ReportedState::Failed
            | ReportedState::Unknown => false,
        }
    }

    /// Whether the service runs or is starting.
    pub(super) fn exists(&self) -> bool {
        matches!(self.state, ReportedState::Running | ReportedState::Starting)
    }

    /// The status as the result of a check with this latency.
    pub(super) fn checked(&self, latency: Duration) -> CheckResult {
        checked(self.is_healthy(), self.describe(), latency)
    }

    /// Converts the status to a report for the engine.
    pub(super) fn to_report(&self, latency: Duration) -> ManagerReport {
        ManagerReport { info: self.to_info(), check: self.checked(latency), event: self.event() }
    }

    /// The status as text.
    pub(super) fn describe(&self) -> String {
        let words = match self.state {
            ReportedState::Running if self.healthy == Some(false) => "it is running, but unhealthy",
            ReportedState::Running => "it is running",
            ReportedState::Starting => "it is starting",
            ReportedState::Stopped => "it is stopped",
            ReportedState::Failed => "it has failed",
            ReportedState::Completed => "it has done its work",
            ReportedState::Unknown => "its manager does not know its state",
        };
        let message = self.message.clone().filter(|message| !message.is_empty());
        message.unwrap_or_else(|| words.to_owned())
    }

    pub(super) fn to_info(&self) -> ManagerInfo {
        ManagerInfo {
            pid: self.pid,
            id: self.id.clone(),
            since: self.since,
            memory: self.memory,
            restarts: self.restarts.unwrap_or_default(),
            is_module_changed: false,
        }
    }
}

/// Reads a time of Nushell's JSON. Nushell 0.109 writes a space before the offset.
pub(super) fn datetime(value: &Value) -> Option<Timestamp> {
    let text = value.as_str()?;
    text.parse().or_else(|_| text.replacen(" +", "+", 1).replacen(" -", "-", 1).parse()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<ReportedStatus, String> {
        ReportedStatus::read(serde_json::from_str(json).unwrap(), Author::Us)
            .map_err(|error| error.to_string())
    }

    fn status(json: &str) -> ReportedStatus {
        read(json).unwrap()
    }

    #[test]
    fn what_runs_and_is_not_well_is_unhealthy_and_not_gone() {
        let sick = status(r#"{"state":"running","healthy":false,"id":"c0ffee","pid":null}"#);
        assert_eq!(sick.event(), Event::Probed(ProbeResult::ConfirmedFailure));
        assert!(!sick.is_healthy());
        assert_eq!(sick.to_info().id.as_deref(), Some("c0ffee"));
    }

    #[test]
    fn what_ended_without_a_code_has_not_succeeded() {
        assert_eq!(status(r#"{"state":"stopped"}"#).event(), Event::TreeExited(Exit::Unreported));
        assert_eq!(status(r#"{"state":"completed"}"#).event(), Event::TreeExited(Exit::Code(0)));
        assert_eq!(status(r#"{"state":"failed","exit_code":3}"#).event(), Event::TreeExited(Exit::Code(3)));
    }

    #[test]
    fn a_signal_that_ended_it_is_read_by_number_and_by_name() {
        for said in ["9", "\"SIGKILL\"", "\"KILL\""] {
            let status = status(&format!(r#"{{"state":"failed","exit_code":137,"exit_signal":{said}}}"#));
            assert_eq!(status.event(), Event::TreeExited(Exit::Signal(9)), "{said}");
        }
        let asked = status(r#"{"state":"completed","exit_signal":15}"#);
        assert_eq!(asked.event(), Event::TreeExited(Exit::AcceptedSignal(15)));
        for wrong in ["0", "65", "\"SIGNAL\"", "true"] {
            let said = read(&format!(r#"{{"state":"failed","exit_signal":{wrong}}}"#)).unwrap_err();
            assert!(said.starts_with("`exit_signal` should be the number or the name of a signal"), "{said}");
        }
    }

    #[test]
    fn a_datetime_is_read_as_every_nushell_writes_it() {
        let meant = datetime(&Value::from("2026-01-01T00:00:01Z")).unwrap();
        for text in ["2026-01-01T01:00:01+01:00", "2026-01-01 01:00:01 +01:00", "2025-12-31 23:00:01 -01:00"]
        {
            assert_eq!(datetime(&Value::from(text)), Some(meant), "{text}");
        }
        assert_eq!(datetime(&Value::from("soon")), None);
    }

    #[test]
    fn an_answer_of_the_wrong_kind_is_told_in_plain_words() {
        let said = |json: &str| read(json).unwrap_err();
        assert_eq!(said("[1]"), "it should be a record, not a list");
        assert_eq!(said("null"), "it should be a record, not nothing");
        assert_eq!(said(r#"{"state":"running","pid":"x"}"#), "`pid` should be an int, not “x”");
        assert_eq!(said(r#"{"state":"running","since":5}"#), "`since` should be a datetime, not 5");
        let error = said(r#"{"state":"up"}"#);
        assert!(error.contains("\"running\"") && error.ends_with("not “up”"), "{error}");
        assert!(said("{}").starts_with("`state` is missing: it should be one of"));
    }

    #[test]
    fn a_message_is_what_people_can_read() {
        let told = status(r#"{"state":"failed","message":" It \u001b[31mbroke.\n\n  See the log. \n"}"#);
        assert_eq!(told.describe(), "It broke. See the log.");
        assert_eq!(status(r#"{"state":"failed","message":" "}"#).describe(), "it has failed");
    }
}
