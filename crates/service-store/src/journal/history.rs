//! History: events of services and results of checks, as rows of one type.

use super::checks::Checks;
use super::cursor::RowCursor;
use super::reader::{Backlog, EventQuery, Position, Since, is_since};
use super::record::unreadable;
use jiff::Timestamp;
use service_api::event::HistoryEntry;
use service_api::{Event, Problem};
use service_host::clock;
use std::cell::Cell;
use std::ops::ControlFlow::{self, Break, Continue};

/// Events of services and results of checks, merged by time. Each of the two keeps its order, also if the clock was set
/// back.
pub struct History {
    past: Backlog,
    checks: Checks,
    question: EventQuery,
    /// Checks have no numbers, so they are selected from the first delivered event on.
    checked_since: Option<Since>,
    way: Position,
    checks_from: usize,
    /// The latest times of an event and of a check.
    latest: [Timestamp; 2],
    /// The number of skipped rows, and of delivered rows after them.
    passed: usize,
    left: usize,
}

impl History {
    /// A cursor at the first selected row.
    ///
    /// # Errors
    /// The errors of [`Backlog::find`].
    pub fn new(past: Backlog, checks: Checks, question: &EventQuery) -> Result<Self, Problem> {
        let question = question.clone();
        let way = past.way(&EventQuery { limit: None, ..question.clone() })?;
        let mut checked_since = question.since;
        if let Some(Since::After(_)) = question.since {
            let mut first = None;
            past.advance(&question, &mut way.clone(), &mut |event| {
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
            history.advance(&mut |_| {
                all += 1;
                Continue(())
            })?;
            (history.way, history.checks_from, history.latest) = begin;
            (history.passed, history.left) = (all.saturating_sub(left), left);
        }
        Ok(history)
    }
}

impl RowCursor for History {
    type Row = HistoryEntry;

    fn advance(&mut self, tell: &mut dyn FnMut(HistoryEntry) -> ControlFlow<()>) -> Result<bool, Problem> {
        let (segments, failed) = (self.past.understood()?, Cell::new(None));
        let (question, since) = (&self.question, self.checked_since);
        let mut events = self
            .past
            .ahead(&segments, self.way, &failed)
            .filter(|(_, event)| question.takes(event) && is_since(&event.time, question.since))
            .filter_map(|(after, event)| Some((after, event.seq, to_history_entry(event)?)))
            .peekable();
        let mut checks = self
            .checks
            .ahead(self.checks_from, &failed)
            .filter(|(_, row)| question.is_about(Some(&row.service)) && is_since(&row.time, since))
            .peekable();
        let time = |text: &str| text.parse().unwrap_or(Timestamp::MIN);
        while self.left > 0 {
            let event = events.peek().map(|(_, _, row)| self.latest[0].max(time(&row.time)));
            let check = checks.peek().map(|(_, row)| self.latest[1].max(time(&row.time)));
            let row = match (event, check) {
                (Some(at), check) if check.is_none_or(|check| at <= check) => {
                    let Some((after, seq, row)) = events.next() else { break };
                    (self.way.from, self.way.delivered, self.latest[0]) = (after, Some(seq), at);
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
