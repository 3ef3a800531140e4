//! [`Event`]: one thing that happened, with its number; and the rows that are made of events: [`Past`] and [`Start`].

use serde::{Deserialize, Serialize};

/// What an event can be about.
pub mod kind {
    /// A service went from one state to another.
    pub const STATE: &str = "state";
    /// A service was found healthy or unhealthy. One that is healthy the moment it gets ready has no event of its own.
    pub const HEALTH: &str = "health";
    /// The stop command of a service `failed`, or it was `killed` because it had not ended in time.
    pub const STOP: &str = "stop";
    /// A service is defined that was not.
    pub const DEFINED: &str = "defined";
    /// A service is defined differently.
    pub const CHANGED: &str = "changed";
    /// A service is not defined any more.
    pub const REMOVED: &str = "removed";
    /// The daemon began or ended.
    pub const DAEMON: &str = "daemon";
    /// Events before this one could not be written down.
    pub const JOURNAL: &str = "journal";
    /// Not an event: the result of a health check, in a [`Past`](super::Past).
    pub const CHECK: &str = "check";
}

/// One thing that happened. In the journal's file each is one line of JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Event {
    /// Its number: one more than that of the event before, from 1, over every daemon of the project.
    pub seq: u64,
    /// When.
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub time: String,
    /// The same in milliseconds since boot, for spans that a clock set anew must not spoil.
    pub since_boot_ms: f64,
    /// The service; `null` for a word about the daemon.
    pub service: Option<String>,
    /// What it is about: `state`, `health`, `stop`, `defined`, `changed`, `removed`, `daemon` or `journal`.
    pub event: String,
    /// How it was before, where that is known.
    pub from: Option<String>,
    /// How it is now.
    pub to: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// Who brought it about: the first word is `user`, `hook`, `token`, `policy`, `program` or `daemon`; absent where the
    /// service came to it by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Number of the service's run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<u64>,
    /// Exit code, where this is the end of a run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Signal that ended it, where this is the end of a run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_signal: Option<String>,
    /// The service that it waits for, or for which it has waited last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub need: Option<String>,
    /// The kernel's id of this boot, where a daemon begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
}

impl Event {
    /// Whether somebody of this kind (`user`, `policy` and so on) brought it about, or somebody whose words have this in them.
    pub fn is_by(&self, who: &str) -> bool {
        let Some(by) = &self.by else { return false };
        let kind = by.split(' ').next().unwrap_or_default();
        if KINDS.contains(&who) { kind == who } else { by.contains(who) }
    }
}

/// Who can bring something about: the first words of [`Event::by`].
pub const KINDS: [&str; 6] = ["user", "hook", "token", "policy", "program", "daemon"];

/// A row of history: an event of a service, or the result of one health check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Past {
    /// When.
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub time: String,
    /// The service.
    pub service: String,
    /// What it is about: a word of an event, or `check` for a health check.
    pub kind: String,
    /// How it was before.
    pub from: Option<String>,
    /// How it is since then.
    pub to: Option<String>,
    /// Number of the service's run.
    pub run: Option<u64>,
    /// Whether a check passed.
    pub healthy: Option<bool>,
    /// How long a check took.
    pub latency_ms: Option<f64>,
    /// Exit code, where this is the end of a run.
    pub exit_code: Option<i32>,
    /// Signal that ended it, where this is the end of a run.
    pub exit_signal: Option<String>,
    /// Why, or what a check that failed said.
    pub message: Option<String>,
}

/// One start of one service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Start {
    /// The service.
    pub service: String,
    /// Number of its run; `null` as long as it waits.
    pub run: Option<u64>,
    /// When it was wanted.
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub began: String,
    /// The need that was satisfied last; `null` if it waited for none.
    pub waited_for: Option<String>,
    /// From the wish to the launch.
    pub waited_ms: f64,
    /// From the launch to the result; `null` as long as there is none.
    pub took_ms: Option<f64>,
    /// `ready`, `completed`, `failed`, `stopped`; `waiting` or `starting` as long as it is not known.
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
