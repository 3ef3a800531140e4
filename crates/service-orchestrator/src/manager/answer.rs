//! What a manager answers: the state of a service ([`Status`]), and lines that it wrote ([`Line`]).

use crate::board::Checked;
use crate::clock;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer};
use service_api::view;
use service_core::Name;
use service_core::health::Verdict;
use service_core::service::{Event, Exit};
use std::time::Duration;

/// What a manager says of a service.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Status {
    pub(super) state: State,
    /// Where the manager checks it too: whether it is well.
    #[serde(default)]
    healthy: Option<bool>,
    #[serde(default)]
    pid: Option<u32>,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    pub(super) message: Option<String>,
    #[serde(default, deserialize_with = "datetime")]
    since: Option<Timestamp>,
    #[serde(default)]
    pub(super) exit_code: Option<i32>,
    #[serde(default)]
    memory: Option<u64>,
    #[serde(default)]
    restarts: Option<u32>,
}

/// Where the service is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    Running,
    /// It is on its way up.
    Starting,
    Stopped,
    Failed,
    Completed,
    /// The manager cannot tell.
    Unknown,
}

/// A datetime as Nushell writes it in JSON.
fn datetime<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    let read = |text: String| text.parse::<Timestamp>();
    text.map(read).transpose().map_err(|_| serde::de::Error::custom("`since` should be a datetime"))
}

/// What is shown of an answer beside the state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) pid: Option<u32>,
    /// What the manager calls it, such as the id of a container.
    pub(crate) id: Option<String>,
    pub(crate) since: Option<Timestamp>,
    pub(crate) memory: Option<u64>,
    /// How often the manager itself has started it again.
    pub(crate) restarts: u32,
}

/// What a manager said of a service of which nobody was sure.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    pub(crate) told: Told,
    pub(crate) check: Checked,
    /// What it means for a service that is thought to run.
    pub(crate) event: Event,
}

/// The result of asking a manager.
pub(super) fn checked(healthy: bool, message: String, latency: Duration) -> Checked {
    Checked { healthy, kind: "manager", message, latency, at: clock::today() }
}

impl Status {
    /// What it means for a service that is thought to run.
    pub(super) fn event(&self) -> Event {
        match self.state {
            State::Running if self.healthy == Some(false) => Event::Probed(Verdict::Condemned),
            State::Running => Event::Probed(Verdict::Healthy),
            State::Starting => Event::Probed(Verdict::Unhealthy),
            State::Completed => Event::Gone(self.exit_code.map_or(Exit::Code(0), Exit::Code)),
            State::Stopped | State::Failed => Event::Gone(self.exit_code.map_or(Exit::Untold, Exit::Code)),
            State::Unknown => Event::Probed(Verdict::Unknown),
        }
    }

    pub(super) fn is_well(&self) -> bool {
        match self.state {
            State::Running => self.healthy != Some(false),
            State::Completed => self.exit_code.is_none_or(|code| code == 0),
            State::Starting | State::Stopped | State::Failed | State::Unknown => false,
        }
    }

    /// Whether it runs, or is about to.
    pub(super) fn is_there(&self) -> bool {
        matches!(self.state, State::Running | State::Starting)
    }

    /// It as the result of a check that took so long.
    pub(super) fn checked(&self, latency: Duration) -> Checked {
        checked(self.is_well(), self.said(), latency)
    }

    /// All of it, for the owner of the fleet.
    pub(super) fn heard(&self, latency: Duration) -> Heard {
        Heard { told: self.told(), check: self.checked(latency), event: self.event() }
    }

    /// It in words.
    pub(super) fn said(&self) -> String {
        let word = match self.state {
            State::Running if self.healthy == Some(false) => "running, but not well",
            State::Running => "running",
            State::Starting => "starting",
            State::Stopped => "stopped",
            State::Failed => "failed",
            State::Completed => "completed",
            State::Unknown => "in a state it does not know",
        };
        let message = self.message.clone().filter(|message| !message.trim().is_empty());
        message.unwrap_or_else(|| format!("its manager says that it is {word}"))
    }

    pub(super) fn told(&self) -> Told {
        Told {
            pid: self.pid,
            id: self.id.clone(),
            since: self.since,
            memory: self.memory,
            restarts: self.restarts.unwrap_or_default(),
        }
    }
}

/// A line of a service's log: a row, or its text alone.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Line {
    Text(String),
    Row {
        #[serde(default)]
        time: Option<String>,
        #[serde(default)]
        stream: Option<String>,
        line: String,
    },
}

impl Line {
    /// As it crosses the wire. A line without time has none.
    pub(super) fn view(self, service: &Name) -> Result<view::LogLine, String> {
        let (time, stream, line) = match self {
            Self::Text(line) => (None, None, line),
            Self::Row { time, stream, line } => (time, stream, line),
        };
        let time = match time {
            Some(time) => time
                .parse::<Timestamp>()
                .map_err(|error| format!("its manager should give `time` as a datetime: {error}"))?
                .to_string(),
            None => String::new(),
        };
        Ok(view::LogLine {
            time,
            service: service.to_string(),
            stream: stream.unwrap_or_else(|| "stdout".to_owned()),
            line,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(json: &str) -> Status {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn what_runs_and_is_not_well_is_unhealthy_and_not_gone() {
        let sick = status(r#"{"state":"running","healthy":false,"id":"c0ffee","pid":null}"#);
        assert_eq!(sick.event(), Event::Probed(Verdict::Condemned));
        assert!(!sick.is_well());
        assert_eq!(sick.told().id.as_deref(), Some("c0ffee"));
    }

    #[test]
    fn what_ended_without_a_code_has_not_succeeded() {
        assert_eq!(status(r#"{"state":"stopped"}"#).event(), Event::Gone(Exit::Untold));
        assert_eq!(status(r#"{"state":"completed"}"#).event(), Event::Gone(Exit::Code(0)));
        assert_eq!(status(r#"{"state":"failed","exit_code":3}"#).event(), Event::Gone(Exit::Code(3)));
    }

    #[test]
    fn a_state_that_is_none_is_refused_with_those_that_are() {
        let error = serde_json::from_str::<Status>(r#"{"state":"up"}"#).unwrap_err().to_string();
        assert!(error.contains("`up`") && error.contains("`running`"), "{error}");
    }
}
