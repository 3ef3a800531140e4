//! [`Event`]: a numbered event; and rows derived from events: [`HistoryEntry`] and [`StartRecord`].

use serde::{Deserialize, Serialize};

/// Kinds of events.
pub mod kind {
    /// The state of a service changed.
    pub const STATE: &str = "state";
    /// A service became healthy or unhealthy. If a service becomes healthy and ready at the same time, only the state
    /// event is recorded.
    pub const HEALTH: &str = "health";
    /// The stop command of a service has `failed`, or the service was `killed` because it had not ended in time.
    pub const STOP: &str = "stop";
    /// A service was defined.
    pub const DEFINED: &str = "defined";
    /// The definition of a service was changed.
    pub const CHANGED: &str = "changed";
    /// The definition of a service was removed.
    pub const REMOVED: &str = "removed";
    /// The daemon started or ended.
    pub const DAEMON: &str = "daemon";
    /// Events before this one could not be written.
    pub const JOURNAL: &str = "journal";
    /// The result of a health check, in a [`HistoryEntry`](super::HistoryEntry). This is not an event.
    pub const CHECK: &str = "check";
}

/// An event. In the journal file each event is one line of JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Event {
    /// The number of the event. Numbers are consecutive from 1, across all daemons of the project.
    pub seq: u64,
    /// When.
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub time: String,
    /// The time in milliseconds since boot, which a change of the clock does not affect.
    pub since_boot_ms: f64,
    /// The service; `null` for the daemon.
    pub service: Option<String>,
    /// The kind: `state`, `health`, `stop`, `defined`, `changed`, `removed`, `daemon` or `journal`.
    pub event: String,
    /// The former value, if known.
    pub from: Option<String>,
    /// The new value.
    pub to: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// The cause: the first word is `user`, `hook`, `token`, `policy`, `program` or `daemon`; absent if the service
    /// changed by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Number of the service's run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<u64>,
    /// Exit code, at the end of a run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Signal that ended the run, at the end of a run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_signal: Option<String>,
    /// The awaited dependency, or the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub need: Option<String>,
    /// The kernel's boot id, at the start of a daemon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
}

impl Event {
    /// Whether the actor is of this kind (`user`, `policy` and so on), or has this text in its description.
    pub fn is_by(&self, who: &str) -> bool {
        let Some(by) = &self.by else { return false };
        let kind = by.split(' ').next().unwrap_or_default();
        if KINDS.contains(&who) { kind == who } else { by.contains(who) }
    }
}

/// The kinds of actors: the first words of [`Event::by`].
pub const KINDS: [&str; 6] = ["user", "hook", "token", "policy", "program", "daemon"];

/// A row of the history: an event of a service, or the result of one health check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HistoryEntry {
    /// When.
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub time: String,
    /// The service.
    pub service: String,
    /// The kind of the event, or `check` for a health check.
    pub kind: String,
    /// The former value.
    pub from: Option<String>,
    /// The new value.
    pub to: Option<String>,
    /// Number of the service's run.
    pub run: Option<u64>,
    /// Whether a check passed.
    pub healthy: Option<bool>,
    /// How long a check took.
    pub latency_ms: Option<f64>,
    /// Exit code, at the end of a run.
    pub exit_code: Option<i32>,
    /// Signal that ended the run, at the end of a run.
    pub exit_signal: Option<String>,
    /// The reason, or the message of a failed check.
    pub message: Option<String>,
}

/// One start of one service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StartRecord {
    /// The service.
    pub service: String,
    /// Number of the run; `null` while the service waits.
    pub run: Option<u64>,
    /// Time of the request.
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub began: String,
    /// The dependency that was satisfied last; `null` if the service did not wait.
    pub waited_for: Option<String>,
    /// The time from the request to the launch.
    pub waited_ms: f64,
    /// The time from the launch to the result; `null` before the result.
    pub took_ms: Option<f64>,
    /// `ready`, `completed`, `failed` or `stopped` after the end of the start; `waiting` or `starting` before.
    pub result: String,
}

#[cfg(test)]
mod tests {
    use super::Event;

    #[test]
    fn events_are_found_by_the_kind_or_by_the_words_of_who_brought_them_about() {
        let json = r#"{"seq":1,"time":"","since_boot_ms":0,"service":null,"event":"state","from":null,"to":null,"reason":null,
            "by":"hook of user ann (uid 7, pid 9, nu)"}"#;
        let event: Event = serde_json::from_str(json).unwrap();
        assert!(event.is_by("hook") && event.is_by("ann") && event.is_by("pid 9"));
        assert!(!event.is_by("user") && !event.is_by("policy") && !event.is_by("bob"));
    }
}
