//! History: what happened to services and what their checks said, as rows of one shape.

use super::ahead::Ahead;
use super::lines::Shelf;
use super::read::{Question, Since, Way, is_since, placed, unreadable};
use crate::host::clock;
use crate::host::report::CheckResult;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use service_api::event::{Past, kind};
use service_api::{Event, Problem};
use service_core::Name;
use std::ops::ControlFlow::{self, Break, Continue};

/// The result of one check, as it lies in its file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    time: String,
    service: String,
    run: u64,
    healthy: bool,
    latency_ms: f64,
    /// What it said; of a check that passed nobody wants to know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

impl Row {
    pub(super) fn new(name: &Name, run: u64, check: &CheckResult) -> Self {
        Self {
            time: check.at.to_string(),
            service: name.to_string(),
            run,
            healthy: check.healthy,
            latency_ms: clock::millis(check.latency),
            message: (!check.healthy).then(|| super::shorten(check.message.clone())),
        }
    }

    /// Its line in the file.
    pub(super) fn line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }
}

impl From<Row> for Past {
    fn from(row: Row) -> Self {
        Self {
            time: row.time,
            service: row.service,
            kind: kind::CHECK.to_owned(),
            from: None,
            to: None,
            run: Some(row.run),
            healthy: Some(row.healthy),
            latency_ms: Some(row.latency_ms),
            exit_code: None,
            exit_signal: None,
            message: row.message,
        }
    }
}

/// The results of checks that are kept.
#[derive(Debug, Clone)]
pub(crate) struct Checks(Shelf);

impl Checks {
    pub(super) fn new(shelf: Shelf) -> Self {
        Self(shelf)
    }

    pub(super) fn texts(&self) -> Result<[Vec<u8>; 2], Problem> {
        self.0.read().map_err(|error| unreadable(&error))
    }
}

/// Events of services and results of checks by time, one after the other. Each of the two keeps its order, also where
/// the clock was set back.
pub(crate) struct History {
    past: super::Past,
    checks: Checks,
    question: Question,
    /// Of checks: they have no numbers, so those from the first event on that is told.
    checked_since: Option<Since>,
    way: Way,
    checks_from: usize,
    /// The latest times of an event and of a check.
    latest: [Timestamp; 2],
    /// Rows that are passed over, and how many are told after them.
    passed: usize,
    left: usize,
}

impl History {
    /// # Errors
    /// As [`super::Past::find`].
    pub(crate) fn new(past: super::Past, checks: Checks, question: &Question) -> Result<Self, Problem> {
        let question = question.clone();
        let way = past.way(&Question { limit: None, ..question.clone() })?;
        let mut checked_since = question.since;
        if let Some(Since::After(_)) = question.since {
            let mut first = None;
            past.go_on(&question, &mut way.clone(), &mut |event| {
                first = event.time.parse().ok();
                Break(())
            })?;
            checked_since = Some(Since::Time(first.unwrap_or_else(clock::today)));
        }
        let left = question.limit.unwrap_or(usize::MAX);
        let latest = [Timestamp::MIN; 2];
        let mut history =
            Self { past, checks, question, checked_since, way, checks_from: 0, latest, passed: 0, left };
        if history.question.since.is_none() && left != usize::MAX {
            let mut all = 0_usize;
            let begin = (history.way, history.checks_from, history.latest);
            history.left = usize::MAX;
            history.go_on(&mut |_| {
                all += 1;
                Continue(())
            })?;
            (history.way, history.checks_from, history.latest) = begin;
            (history.passed, history.left) = (all.saturating_sub(left), left);
        }
        Ok(history)
    }
}

impl Ahead for History {
    type Row = Past;

    fn go_on(&mut self, tell: &mut dyn FnMut(Past) -> ControlFlow<()>) -> Result<bool, Problem> {
        let (events, checks) = (self.past.texts()?, self.checks.texts()?);
        let (question, since) = (&self.question, self.checked_since);
        let mut events = self
            .past
            .ahead(&events, self.way.from, self.way.told)
            .filter(|(_, event)| question.takes(event) && is_since(&event.time, question.since))
            .filter_map(|(after, event)| Some((after, event.seq, of_service(event)?)))
            .peekable();
        let mut checks = placed::<Row>(&checks, self.checks_from)
            .filter(|(_, row)| question.is_about(Some(&row.service)) && is_since(&row.time, since))
            .peekable();
        let time = |text: &str| text.parse().unwrap_or(Timestamp::MIN);
        while self.left > 0 {
            let event = events.peek().map(|(_, _, row)| self.latest[0].max(time(&row.time)));
            let check = checks.peek().map(|(_, row)| self.latest[1].max(time(&row.time)));
            let row = match (event, check) {
                (Some(at), check) if check.is_none_or(|check| at <= check) => {
                    let Some((after, seq, row)) = events.next() else { break };
                    (self.way.from, self.way.told, self.latest[0]) = (after, Some(seq), at);
                    row
                }
                (_, Some(at)) => {
                    let Some((after, row)) = checks.next() else { break };
                    (self.checks_from, self.latest[1]) = (after, at);
                    row.into()
                }
                _ => break,
            };
            if self.passed > 0 {
                self.passed -= 1;
                continue;
            }
            self.left -= 1;
            if tell(row).is_break() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn of_service(event: Event) -> Option<Past> {
    Some(Past {
        service: event.service?,
        time: event.time,
        kind: event.event,
        from: event.from,
        to: event.to,
        run: event.run,
        healthy: None,
        latency_ms: None,
        exit_code: event.exit_code,
        exit_signal: event.exit_signal,
        message: event.reason,
    })
}
