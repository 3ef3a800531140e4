//! [`RowCursor`]: a reader of the journal, which delivers rows on demand.
//!
//! Between two chunks of a response only the position is retained. Each chunk reads its own part of the files, which
//! remain open. Slow readers therefore use little memory, whatever the length of the response. Only the readers of
//! [`Starts`] retain rows, and their number is limited.

use super::reader::{Backlog, EventPosition, EventQuery};
use super::segment::SegmentSnapshot;
use super::starts::starts;
use service_api::event::StartRecord;
use service_api::{Code, Event, Problem};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
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

/// The maximum number of [`StartsPermit`]s at the same time.
const MAX_STARTS_READERS: usize = 8;
/// The maximum time for which a reader waits for a permit.
const STARTS_PERMIT_TIMEOUT: Duration = Duration::from_secs(5);

/// Limits the readers of starts, which retain their rows. The events of a start may be far apart, so all rows are computed
/// before the first is delivered.
#[derive(Debug, Clone)]
pub struct StartsReaders(Arc<Semaphore>);

/// The permit of one reader of starts.
#[derive(Debug)]
pub struct StartsPermit(#[expect(dead_code, reason = "it is held")] OwnedSemaphorePermit);

impl Default for StartsReaders {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_STARTS_READERS)))
    }
}

impl StartsReaders {
    /// Waits for a permit.
    ///
    /// # Errors
    /// [`Code::Busy`] if none is free in time.
    pub async fn acquire(&self) -> Result<StartsPermit, Problem> {
        let acquired = tokio::time::timeout(STARTS_PERMIT_TIMEOUT, Arc::clone(&self.0).acquire_owned()).await;
        acquired.ok().and_then(Result::ok).map(StartsPermit).ok_or_else(|| {
            Problem::new(Code::Busy, "cannot read the starts: too many clients read starts").help("try again")
        })
    }
}

/// The critical path of starts. The rows are computed once, with the first chunk.
pub struct Starts {
    past: Backlog,
    query: EventQuery,
    rows: Option<vec::IntoIter<StartRecord>>,
    /// Held while rows are retained; `None` for a reader that delivers all rows at once.
    _permit: Option<StartsPermit>,
}

impl Starts {
    /// The starts that a query selects from the journal, for a reader that delivers all rows at once.
    pub fn new(past: Backlog, query: EventQuery) -> Self {
        Self { past, query, rows: None, _permit: None }
    }

    /// As [`Starts::new`], for a client that may take the rows slowly.
    pub fn with_permit(past: Backlog, query: EventQuery, permit: StartsPermit) -> Self {
        Self { _permit: Some(permit), ..Self::new(past, query) }
    }

    fn find_rows(&self) -> Result<vec::IntoIter<StartRecord>, Problem> {
        let mut rows = starts(&self.past.find(&EventQuery { limit: None, ..self.query.clone() })?);
        if let Some(most) = self.query.limit {
            match self.query.since {
                Some(_) => rows.truncate(most),
                None => drop(rows.drain(..rows.len().saturating_sub(most))),
            }
        }
        Ok(rows.into_iter())
    }
}

impl RowCursor for Starts {
    type Row = StartRecord;

    fn advance(&mut self, deliver: &mut dyn FnMut(StartRecord) -> ControlFlow<()>) -> Result<bool, Problem> {
        if self.rows.is_none() {
            self.rows = Some(self.find_rows()?);
        }
        for row in self.rows.iter_mut().flatten() {
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
    let mut cursor = Starts::new(Backlog::from_files(segments), EventQuery::default());
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

    #[tokio::test(start_paused = true)]
    async fn a_ninth_reader_of_starts_waits_for_a_permit_or_is_refused() {
        let readers = StartsReaders::default();
        let mut permits = Vec::new();
        for _ in 0..MAX_STARTS_READERS {
            permits.push(readers.acquire().await.unwrap());
        }
        assert_eq!(readers.acquire().await.unwrap_err().code, Code::Busy);
        let ninth = tokio::spawn({
            let readers = readers.clone();
            async move { readers.acquire().await }
        });
        tokio::task::yield_now().await;
        permits.pop();
        assert!(ninth.await.unwrap().is_ok());
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
        let mut cursor = Starts::new(Backlog::from_files(lines.segments()), EventQuery::default());
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
