//! [`JournalBody`]: a response that is read from the journal in chunks. Each chunk is read after the client has
//! received the previous one. An unread response therefore uses the memory of one chunk, whatever its length.

use super::envelope_body::{self, CHUNK_BYTES, EnvelopeWriter};
use axum::body::Bytes;
use serde::Serialize;
use service_api::{Code, Problem};
use service_host::blocking::run_blocking;
use service_store::journal::RowCursor;
use std::io;
use std::ops::ControlFlow::{Break, Continue};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::Semaphore;
use tokio_stream::Stream;

/// The maximum number of concurrent reads of the journal, because each has the files in memory. A read never waits for
/// a client.
const MAX_READ_COUNT: usize = 2;

/// The permits for reads of the journal.
#[derive(Clone)]
pub(super) struct JournalReads(Arc<Semaphore>);

/// How rows are written.
pub(super) enum RowFormat<R> {
    /// All rows in one envelope.
    List,
    /// Each row as a text of its own.
    Each(fn(&R) -> String),
}

/// The rest of a response.
pub(super) struct JournalBody<A: RowCursor> {
    reads: JournalReads,
    next: Option<Pin<Box<dyn Future<Output = Made<A>> + Send>>>,
}

/// The unwritten part of a response.
struct BodyProgress<A: RowCursor> {
    cursor: A,
    form: RowFormat<A::Row>,
    writer: EnvelopeWriter,
}

/// A chunk, and the unwritten part if there is one.
type Made<A> = Result<(Vec<u8>, Option<BodyProgress<A>>), Problem>;

impl Default for JournalReads {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_READ_COUNT)))
    }
}

impl JournalReads {
    /// Reads the journal on a thread that may block.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let lost = |error| Problem::new(Code::Internal, format!("cannot read the journal: {error}"));
        run_blocking(&self.0, work).await.map_err(lost)?
    }
}

/// Creates the first chunk of a response, so that an error is known before the response begins.
pub(super) async fn begin<A>(
    reads: &JournalReads,
    form: RowFormat<A::Row>,
    open: impl FnOnce() -> Result<A, Problem> + Send + 'static,
) -> Result<(Vec<u8>, JournalBody<A>), Problem>
where
    A: RowCursor + Send + 'static,
    A::Row: Serialize + 'static,
{
    let writer = EnvelopeWriter::new(envelope_body::EnvelopeForm::List);
    let made = reads.run(move || BodyProgress { cursor: open()?, form, writer }.advance());
    let (chunk, progress) = made.await?;
    Ok((chunk, JournalBody::new(reads.clone(), progress)))
}

impl<A> JournalBody<A>
where
    A: RowCursor + Send + 'static,
    A::Row: Serialize + 'static,
{
    fn new(reads: JournalReads, progress: Option<BodyProgress<A>>) -> Self {
        let next = progress.map(|progress| {
            let reads = reads.clone();
            let made: Pin<Box<dyn Future<Output = _> + Send>> =
                Box::pin(async move { reads.run(move || progress.advance()).await });
            made
        });
        Self { reads, next }
    }

    /// Whether the first chunk was the last.
    pub(super) fn is_over(&self) -> bool {
        self.next.is_none()
    }
}

impl<A> BodyProgress<A>
where
    A: RowCursor + Send + 'static,
    A::Row: Serialize,
{
    fn advance(mut self) -> Made<A> {
        let (form, writer) = (&self.form, &mut self.writer);
        let has_more = self.cursor.advance(&mut |row| {
            match form {
                RowFormat::List => writer.write_row(&row),
                RowFormat::Each(write) => writer.write_text(&write(&row)),
            }
            if writer.len() < CHUNK_BYTES { Continue(()) } else { Break(()) }
        })?;
        if has_more {
            return Ok((self.writer.next_chunk(), Some(self)));
        }
        if matches!(self.form, RowFormat::List) {
            self.writer.finish(&[]);
        }
        Ok((self.writer.next_chunk(), None))
    }
}

impl<A> Stream for JournalBody<A>
where
    A: RowCursor + Send + Unpin + 'static,
    A::Row: Serialize + 'static,
{
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(next) = &mut self.next else { return Poll::Ready(None) };
        next.as_mut().poll(context).map(|made| match made {
            Ok((chunk, progress)) => {
                *self = Self::new(self.reads.clone(), progress);
                Some(Ok(chunk.into()))
            }
            // After the beginning of a response, an error can only abort it.
            Err(problem) => {
                self.next = None;
                Some(Err(io::Error::other(problem.message)))
            }
        })
    }
}
