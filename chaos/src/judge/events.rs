//! Judges the events: consecutive numbers, and each service continues from its previous state.

use super::Round;
use crate::ask::Answer;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// One event.
#[derive(Debug, Clone)]
pub(super) struct Event {
    pub(super) seq: u64,
    /// The time in nanoseconds, on the clock of the books.
    pub(super) time: i64,
    pub(super) service: Option<String>,
    pub(super) kind: String,
    pub(super) from: Option<String>,
    pub(super) to: Option<String>,
    pub(super) run: Option<u64>,
    pub(super) exit_code: Option<i64>,
    pub(super) exit_signal: Option<i64>,
    pub(super) by: Option<String>,
    /// The reason, for the text of a violation.
    #[expect(dead_code, reason = "it is printed")]
    pub(super) reason: Option<String>,
}

impl Event {
    fn new(row: &Value) -> Option<Self> {
        let text = |name: &str| row[name].as_str().map(str::to_owned);
        Some(Self {
            seq: row["seq"].as_u64()?,
            #[expect(clippy::cast_possible_truncation, reason = "no machine is up that long")]
            time: (row["since_boot_ms"].as_f64()? * 1e6) as i64,
            service: text("service"),
            kind: text("event")?,
            from: text("from"),
            to: text("to"),
            run: row["run"].as_u64(),
            exit_code: row["exit_code"].as_i64(),
            exit_signal: row["exit_signal"].as_i64(),
            by: text("by"),
            reason: text("reason"),
        })
    }
}

/// The position at the end of the previous round.
#[derive(Default)]
pub(super) struct Chain {
    last: u64,
    /// The state of each service according to its last event.
    pub(super) states: BTreeMap<String, String>,
}

impl Chain {
    /// All events since the previous round.
    pub(super) fn collect(&mut self, round: &Round) -> Vec<Event> {
        let project = round.project;
        let mut path = format!("/api/v1/events?since={}&limit=1000000", self.last);
        if round.lost_power().is_some() {
            path = "/api/v1/events?limit=1000000".into();
        }
        let Some(events) = asked(round, &path) else { return Vec::new() };
        let mut events: Vec<Event> = events
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Event::new)
            .filter(|event| event.seq > self.last)
            .collect();
        // The events around a power loss are unknown, but the numbers of new events follow all known ones.
        let begin =
            events.iter().rposition(|event| event.kind == "daemon" && event.to.as_deref() == Some("running"));
        if round.lost_power().is_some() {
            let boot =
                events.windows(2).rposition(|pair| pair[1].seq > pair[0].seq + 1).map_or(0, |at| at + 1);
            if begin.is_none() {
                project.violation("events", &format!("after a power loss no event is behind {}", self.last));
            }
            events.drain(..boot);
            self.states.clear();
        }
        let is_told = |event: &Event| event.kind == "journal";
        let has_lost = events.iter().any(is_told) && !round.disk_was_well();
        for event in &events {
            // The numbers of events that a daemon reported on a full disk before it was killed are not reused.
            let has_lost = has_lost
                || event.kind == "daemon" && event.to.as_deref() == Some("running") && !round.disk_was_well();
            if has_lost {
                self.states.clear();
            } else if event.seq != self.last + 1 && self.last != 0 && round.lost_power().is_none() {
                project.violation("events", &format!("after number {} comes {event:?}", self.last));
            }
            self.last = event.seq;
            self.follow(round, event, has_lost);
        }
        events
    }

    fn follow(&mut self, round: &Round, event: &Event, has_lost: bool) {
        let Some(service) = &event.service else { return };
        match event.kind.as_str() {
            "state" => {
                let before = self.states.insert(service.clone(), event.to.clone().unwrap_or_default());
                if before.is_some() && before != event.from && !has_lost {
                    round
                        .project
                        .violation("events", &format!("{service} was {before:?}, and then {event:?}"));
                }
            }
            "removed" | "defined" => drop(self.states.remove(service)),
            _ => (),
        }
    }
}

fn asked(round: &Round, path: &str) -> Option<Value> {
    match round.project.request("GET", path, "", Duration::from_mins(1)) {
        Answer::Told(200, mut value) => Some(value["data"].take()),
        answer => {
            round.project.violation("events", &format!("GET {path}: {answer:?}"));
            None
        }
    }
}
