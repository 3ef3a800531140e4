//! The critical path of starts: for each service, the dependency that it waited for last, the duration of that wait,
//! and the duration of its own start.
//!
//! Following `waited_for` from the last ready service shows the path that determined the total duration.

use service_api::Event;
use service_api::event::{StartRecord, kind};
use std::collections::BTreeMap;

/// An unfinished start.
struct UnfinishedStart {
    start: StartRecord,
    requested_at: f64,
    launched: Option<f64>,
}

/// One row for each start of each service, in the order of the requests.
pub(super) fn starts(events: &[Event]) -> Vec<StartRecord> {
    let (mut starts, mut open) = (Vec::new(), BTreeMap::new());
    for event in events.iter().filter(|event| event.event == kind::STATE) {
        let (Some(service), Some(to)) = (&event.service, &event.to) else { continue };
        let before = open.remove(service.as_str());
        let now = match (to.as_str(), before) {
            ("waiting", before) => {
                starts.extend(before.map(|open| settle(open, event, "failed")));
                Some(begin(event))
            }
            ("starting", before) => Some(launch(before, &mut starts, event)),
            ("ready" | "completed", Some(before)) => {
                starts.push(settle(before, event, to));
                None
            }
            ("stopping" | "stopped", Some(before)) => {
                let result = if event.reason.is_some() { "failed" } else { "stopped" };
                starts.push(settle(before, event, result));
                None
            }
            (_, before) => {
                starts.extend(before.map(|open| settle(open, event, "failed")));
                None
            }
        };
        open.extend(now.map(|now| (service.as_str(), now)));
    }
    starts.extend(open.into_values().map(|open| open.start));
    starts.sort_by_cached_key(|start| start.began.parse::<jiff::Timestamp>().ok());
    starts
}

fn begin(event: &Event) -> UnfinishedStart {
    let start = StartRecord {
        service: event.service.clone().unwrap_or_default(),
        run: None,
        began: event.time.clone(),
        waited_for: event.need.clone(),
        waited_ms: 0.0,
        took_ms: None,
        result: "waiting".to_owned(),
    };
    UnfinishedStart { start, requested_at: event.since_boot_ms, launched: None }
}

fn launch(before: Option<UnfinishedStart>, starts: &mut Vec<StartRecord>, event: &Event) -> UnfinishedStart {
    let mut open = match before {
        Some(open) if open.launched.is_none() => open,
        other => {
            starts.extend(other.map(|open| settle(open, event, "failed")));
            UnfinishedStart { start: StartRecord { waited_for: None, ..begin(event).start }, ..begin(event) }
        }
    };
    open.start.run = event.run;
    open.start.waited_for = event.need.clone();
    open.start.waited_ms = span(open.requested_at, event.since_boot_ms);
    open.start.result = "starting".to_owned();
    open.launched = Some(event.since_boot_ms);
    open
}

fn settle(open: UnfinishedStart, event: &Event, result: &str) -> StartRecord {
    let took_ms = open.launched.map(|launched| span(launched, event.since_boot_ms));
    StartRecord { took_ms, result: result.to_owned(), ..open.start }
}

/// The milliseconds between two times; zero across a boot of the machine.
fn span(from: f64, to: f64) -> f64 {
    ((to - from).max(0.0) * 1_000.0).round() / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(at: u32, service: &str, to: &str, need: Option<&str>) -> Event {
        let json = format!(
            r#"{{"seq":{at},"time":"2026-01-01T00:00:{at:02}Z","since_boot_ms":{at}000.0,"service":"{service}",
                "event":"state","from":null,"to":"{to}","reason":null,"run":1}}"#
        );
        Event { need: need.map(str::to_owned), ..serde_json::from_str(&json).unwrap() }
    }

    #[test]
    fn the_way_that_decided_can_be_followed() {
        let starts = starts(&[
            event(1, "web", "waiting", Some("db")),
            event(1, "db", "starting", None),
            event(4, "db", "ready", None),
            event(4, "web", "starting", Some("db")),
            event(6, "web", "ready", None),
        ]);
        let find = |name: &str| starts.iter().find(|start| start.service == name).unwrap();
        let (db, web) = (find("db"), find("web"));
        assert_eq!((db.waited_for.as_deref(), db.waited_ms, db.took_ms), (None, 0.0, Some(3000.0)));
        assert_eq!(
            (web.waited_for.as_deref(), web.waited_ms, web.took_ms),
            (Some("db"), 3000.0, Some(2000.0))
        );
        assert_eq!(web.result, "ready");
    }

    #[test]
    fn a_crash_before_it_was_ready_is_a_start_that_failed_and_the_next_is_another() {
        let starts = starts(&[
            event(1, "web", "starting", None),
            event(2, "web", "backoff", None),
            event(3, "web", "starting", None),
        ]);
        let results: Vec<&str> = starts.iter().map(|start| start.result.as_str()).collect();
        assert_eq!(results, ["failed", "starting"]);
    }
}
