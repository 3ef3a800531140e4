//! [`RowCursor`]: a reader of the journal, which delivers rows on demand.
//!
//! Between two chunks of a response only the position is retained. Each chunk reads its own part of the files, which
//! remain open. Slow readers therefore use little memory, whatever the length of the response. Only the readers of
//! [`Starts`] retain rows, and their number is limited.

use super::reader::{Backlog, EventPosition, EventQuery};
use super::segment::SegmentSnapshot;
use super::starts::starts;
use service_api::event::StartRecord;
use service_api::{Event, Problem};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::vec;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Undelivered rows.
pub trait RowCursor {
    /// The type of a row.
    type Row;

    /// Delivers rows until `deliver` breaks. Returns whether further rows may exist.
    fn advance(&mut self, deliver: &mut dyn FnMut(Self::Row) -> ControlFlow<()>) -> Result<bool, Problem>;
}

/// Collects all rows.
pub(super) fn collect_rows<A: RowCursor>(mut cursor: A) -> Result<Vec<A::Row>, Problem> {
    let mut rows = Vec::new();
    let more = cursor.advance(&mut |row| {
        rows.push(row);
        ControlFlow::Continue(())
    })?;
    debug_assert!(!more, "the callback never breaks");
    Ok(rows)
}

/// A cursor for events.
pub struct Events {
    past: Backlog,
    query: EventQuery,
    position: EventPosition,
}

impl Events {
    /// A cursor at the first selected event.
    ///
    /// # Errors
    /// The errors of [`Backlog::find`].
    pub fn new(past: Backlog, query: EventQuery) -> Result<Self, Problem> {
        let position = past.find_position(&query)?;
        Ok(Self { past, query, position })
    }
}

impl RowCursor for Events {
    type Row = Event;

    fn advance(&mut self, deliver: &mut dyn FnMut(Event) -> ControlFlow<()>) -> Result<bool, Problem> {
        self.past.advance(&self.query, &mut self.position, deliver)
    }
}

/// The maximum number of [`RetainedStarts`] at the same time.
const MAX_RETAINED: usize = 8;

/// Limits the readers of starts that retain their rows. The events of a start may be far apart, so all rows are
/// computed before the first is delivered. A reader without a permit computes all rows again for each chunk.
#[derive(Debug, Clone)]
pub struct RetainedStarts(Arc<Semaphore>);

impl Default for RetainedStarts {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_RETAINED)))
    }
}

/// The critical path of starts.
pub struct Starts {
    past: Backlog,
    query: EventQuery,
    sent: usize,
    retained: RetainedStarts,
    held: Option<(vec::IntoIter<StartRecord>, OwnedSemaphorePermit)>,
}

impl Starts {
    /// The starts that a query selects from the journal.
    pub fn new(past: Backlog, query: EventQuery, retained: RetainedStarts) -> Self {
        Self { past, query, sent: 0, retained, held: None }
    }

    fn rows(&self) -> Result<vec::IntoIter<StartRecord>, Problem> {
        let mut rows = starts(&self.past.find(&EventQuery { limit: None, ..self.query.clone() })?);
        if let Some(most) = self.query.limit {
            match self.query.since {
                Some(_) => rows.truncate(most),
                None => drop(rows.drain(..rows.len().saturating_sub(most))),
            }
        }
        drop(rows.drain(..self.sent.min(rows.len())));
        Ok(rows.into_iter())
    }
}

impl RowCursor for Starts {
    type Row = StartRecord;

    fn advance(&mut self, deliver: &mut dyn FnMut(StartRecord) -> ControlFlow<()>) -> Result<bool, Problem> {
        if self.held.is_none()
            && let Ok(permit) = Arc::clone(&self.retained.0).try_acquire_owned()
        {
            self.held = Some((self.rows()?, permit));
        }
        let mut made = if self.held.is_some() { None } else { Some(self.rows()?) };
        let rows = self.held.as_mut().map(|(rows, _)| rows).or(made.as_mut());
        for row in rows.into_iter().flatten() {
            self.sent += 1;
            if deliver(row).is_break() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Reads all starts of a journal in chunks of three, and returns their number.
pub fn pieces_of_starts(journal: &Path) -> usize {
    let Ok(segments) = SegmentSnapshot::at(journal) else { return 0 };
    let mut cursor =
        Starts::new(Backlog::from_files(segments), EventQuery::default(), RetainedStarts::default());
    let mut delivered = 0;
    let mut piece = || {
        cursor.advance(&mut |_| {
            delivered += 1;
            if delivered % 3 == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
    };
    while let Ok(true) = piece() {}
    delivered
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::segment::SegmentedLog;

    /// The number of bytes that this thread has read.
    fn bytes_read() -> u64 {
        let io = std::fs::read_to_string("/proc/thread-self/io").unwrap();
        io.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap().parse().unwrap()
    }

    #[test]
    fn a_chunk_reads_its_own_part_of_the_files() {
        let directory = tempfile::tempdir().unwrap();
        let mut lines = SegmentedLog::open(directory.path().join("x.jsonl"), 1 << 20, None);
        let event = |seq: u32| {
            format!(
                "{{\"seq\":{seq},\"time\":\"2026-01-01T00:00:00Z\",\"since_boot_ms\":{seq}.0,\"service\":\"web\",\"event\":\"state\",\"run\":1}}\n"
            )
        };
        let text: String = (1..=8_000).map(event).collect();
        lines.append(text.as_bytes(), Vec::new).unwrap();
        let mut events = Events::new(Backlog::from_files(lines.segments()), EventQuery::default()).unwrap();
        let (mut delivered, before) = (0, bytes_read());
        let mut chunk = || {
            events.advance(&mut |_| {
                delivered += 1;
                if delivered % 100 == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })
        };
        while chunk().unwrap() {}
        assert_eq!(delivered, 8_000);
        let times = (bytes_read() - before) / text.len() as u64;
        assert!(times < 8, "80 chunks read the file {times} times");
    }

    #[test]
    fn starts_are_read_once_however_many_pieces_they_are_told_in() {
        let directory = tempfile::tempdir().unwrap();
        let mut lines = SegmentedLog::open(directory.path().join("x.jsonl"), 1 << 20, None);
        let event = |seq: u32, to: &str| {
            format!(
                "{{\"seq\":{seq},\"time\":\"2026-01-01T00:00:00Z\",\"since_boot_ms\":{seq}.0,\"service\":\"web\",\"event\":\"state\",\"from\":null,\"to\":\"{to}\",\"reason\":null,\"run\":1}}\n"
            )
        };
        let text: String =
            (0..10).map(|nth| event(2 * nth + 1, "starting") + &event(2 * nth + 2, "ready")).collect();
        lines.append(text.as_bytes(), Vec::new).unwrap();
        let mut cursor = Starts::new(
            Backlog::from_files(lines.segments()),
            EventQuery::default(),
            RetainedStarts::default(),
        );
        let mut delivered = 0;
        let mut piece = || {
            cursor.advance(&mut |_| {
                delivered += 1;
                if delivered % 3 == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })
        };
        assert!(piece().unwrap());
        // The overwritten part is not read again.
        lines.overwrite(&vec![b'x'; text.len()], 0).unwrap();
        while piece().unwrap() {}
        assert_eq!(delivered, 10);
    }
}
