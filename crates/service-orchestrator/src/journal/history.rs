//! History: what happened to services and what their checks said, as rows of one shape.

use super::lines::Shelf;
use super::read::{Question, Since, is_since, unreadable};
use crate::board::Checked;
use crate::clock;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use service_api::event::{Past, kind};
use service_api::{Event, Problem};
use service_core::Name;

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
    pub(super) fn new(name: &Name, run: u64, check: &Checked) -> Self {
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

    fn find(&self, question: &Question) -> Result<Vec<Row>, Problem> {
        let texts = self.0.read().map_err(|error| unreadable(&error))?;
        let rows = texts.iter().flat_map(|text| text.split(|byte| *byte == b'\n'));
        Ok(rows
            .filter_map(|line| serde_json::from_slice::<Row>(line).ok())
            .filter(|row| question.is_about(Some(&row.service)) && is_since(&row.time, question.since))
            .collect())
    }
}

/// Events of services and results of checks, by time.
pub(crate) fn rows(past: &super::Past, checks: &Checks, question: &Question) -> Result<Vec<Past>, Problem> {
    let mut question = Question { limit: None, ..question.clone() };
    let events = past.find(&question)?;
    if let Some(Since::After(_)) = question.since {
        // Checks have no numbers: those from the first such event on.
        let first = events.first().and_then(|event| event.time.parse::<Timestamp>().ok());
        question.since = Some(Since::Time(first.unwrap_or_else(clock::today)));
    }
    let checks = checks.find(&question)?.into_iter().map(Past::from);
    let mut rows: Vec<Past> = events.into_iter().filter_map(of_service).chain(checks).collect();
    rows.sort_by_cached_key(|row| row.time.parse::<Timestamp>().ok());
    Ok(rows)
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
