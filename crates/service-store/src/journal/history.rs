//! History: events of services and results of checks, as rows of one type.

use super::checks::Checks;
use super::cursor::RowCursor;
use super::reader::{Backlog, EventPosition, EventQuery, Since, is_since};
use super::record::unreadable;
use jiff::Timestamp;
use service_api::event::HistoryEntry;
use service_api::{Event, Problem};
use service_host::clock;
use std::cell::Cell;
use std::ops::ControlFlow::{self, Break, Continue};

/// Events of services and results of checks, merged by time. Events stay in their order, and so do results, even if the
/// clock was set back.
pub struct History {
    past: Backlog,
    checks: Checks,
    query: EventQuery,
    /// The beginning of the selected checks. Checks have no numbers, so they are selected from the time of the first
    /// delivered event on.
    checked_since: Option<Since>,
    position: EventPosition,
    checks_from: usize,
    /// The latest times of an event and of a check.
    latest: [Timestamp; 2],
    /// The number of delivered rows, after the skipped ones.
    unskipped: usize,
    remaining: usize,
}

impl History {
    /// A cursor at the first selected row.
    ///
    /// # Errors
    /// The errors of [`Backlog::find`].
    pub fn new(past: Backlog, checks: Checks, query: &EventQuery) -> Result<Self, Problem> {
        let query = query.clone();
        let position = past.find_position(&EventQuery { limit: None, ..query.clone() })?;
        let mut checked_since = query.since;
        if let Some(Since::After(_)) = query.since {
            let mut first = None;
            past.advance(&query, &mut position.clone(), &mut |event| {
                first = event.time.parse().ok();
                Break(())
            })?;
            checked_since = Some(Since::Time(first.unwrap_or_else(clock::today)));
        }
        let remaining = query.limit.unwrap_or(usize::MAX);
        let latest = [Timestamp::MIN; 2];
        let mut history = Self {
            past,
            checks,
            query,
            checked_since,
            position,
            checks_from: 0,
            latest,
            unskipped: 0,
            remaining,
        };
        if history.query.since.is_none() && remaining != usize::MAX {
            let mut all = 0_usize;
            let begin = (history.position, history.checks_from, history.latest);
            history.remaining = usize::MAX;
            history.advance(&mut |_| {
                all += 1;
                Continue(())
            })?;
            (history.position, history.checks_from, history.latest) = begin;
            (history.unskipped, history.remaining) = (all.saturating_sub(remaining), remaining);
        }
        Ok(history)
    }
}

impl RowCursor for History {
    type Row = HistoryEntry;

    fn advance(&mut self, deliver: &mut dyn FnMut(HistoryEntry) -> ControlFlow<()>) -> Result<bool, Problem> {
        let (segments, failed) = (self.past.readable_segments()?, Cell::new(None));
        let (query, since) = (&self.query, self.checked_since);
        let mut events = self
            .past
            .events_from(&segments, self.position, &failed)
            .filter(|(_, event)| query.matches(event) && is_since(&event.time, query.since))
            .filter_map(|(after, event)| Some((after, event.seq, to_history_entry(event)?)))
            .peekable();
        let mut checks = self
            .checks
            .results_from(self.checks_from, &failed)
            .filter(|(_, row)| query.is_about(Some(&row.service)) && is_since(&row.time, since))
            .peekable();
        let time = |text: &str| text.parse().unwrap_or(Timestamp::MIN);
        while self.remaining > 0 {
            let event = events.peek().map(|(_, _, row)| self.latest[0].max(time(&row.time)));
            let check = checks.peek().map(|(_, row)| self.latest[1].max(time(&row.time)));
            let row = match (event, check) {
                (Some(at), check) if check.is_none_or(|check| at <= check) => {
                    let Some((after, seq, row)) = events.next() else { break };
                    (self.position.from, self.position.delivered, self.latest[0]) = (after, Some(seq), at);
                    row
                }
                (_, Some(at)) => {
                    let Some((after, row)) = checks.next() else { break };
                    (self.checks_from, self.latest[1]) = (after, at);
                    row.into()
                }
                _ => break,
            };
            if self.unskipped > 0 {
                self.unskipped -= 1;
                continue;
            }
            self.remaining -= 1;
            if deliver(row).is_break() {
                return Ok(true);
            }
        }
        failed.take().map_or(Ok(false), |error| Err(unreadable(&error)))
    }
}

fn to_history_entry(event: Event) -> Option<HistoryEntry> {
    Some(HistoryEntry {
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
