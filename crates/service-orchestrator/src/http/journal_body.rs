//! Answers out of the journal, made piece by piece: the next when the last one was taken. So an answer that nobody
//! reads costs one piece, however long it is.

use crate::host::blocking::run_blocking;
use crate::journal::RowCursor;
use axum::body::Bytes;
use serde::Serialize;
use service_api::{Code, Problem};
use std::io;
use std::ops::ControlFlow::{Break, Continue};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::Semaphore;
use tokio_stream::Stream;

/// A piece is a little more than so many bytes.
pub(super) const PIECE: usize = 8 * 1024;

/// So many read the journal at once: each has the files in memory while it does, and they do not wait for a client.
static READERS: Semaphore = Semaphore::const_new(2);

/// How rows are written.
pub(super) enum Form<R> {
    /// All in one envelope.
    List,
    /// Each by itself.
    Each(fn(&R) -> String),
}

/// What is left of an answer.
pub(super) struct Pieces<A: RowCursor> {
    next: Option<Pin<Box<dyn Future<Output = Made<A>> + Send>>>,
}

struct Telling<A: RowCursor> {
    ahead: A,
    form: Form<A::Row>,
    begun: bool,
}

/// A piece, and who makes the next, if there is one.
type Made<A> = Result<(Vec<u8>, Option<Telling<A>>), Problem>;

/// Makes the first piece of an answer, so that what cannot be answered is known before an answer has begun.
pub(super) async fn begin<A>(
    form: Form<A::Row>,
    open: impl FnOnce() -> Result<A, Problem> + Send + 'static,
) -> Result<(Vec<u8>, Pieces<A>), Problem>
where
    A: RowCursor + Send + 'static,
    A::Row: Serialize + 'static,
{
    let made = reading(move || Telling { ahead: open()?, form, begun: false }.advance());
    let (piece, telling) = made.await?;
    Ok((piece, Pieces::of(telling)))
}

/// Reads the journal on a thread that may wait for the disk.
pub(super) async fn reading<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let lost = |error| Problem::new(Code::Internal, format!("cannot read the journal: {error}"));
    run_blocking(&READERS, work).await.map_err(lost)?
}

impl<A> Pieces<A>
where
    A: RowCursor + Send + 'static,
    A::Row: Serialize + 'static,
{
    fn of(telling: Option<Telling<A>>) -> Self {
        Self {
            next: telling.map(|telling| {
                let made: Pin<Box<dyn Future<Output = _> + Send>> =
                    Box::pin(reading(move || telling.advance()));
                made
            }),
        }
    }

    /// Whether the first piece was all.
    pub(super) fn is_over(&self) -> bool {
        self.next.is_none()
    }
}

impl<A> Telling<A>
where
    A: RowCursor + Send + 'static,
    A::Row: Serialize,
{
    fn advance(mut self) -> Made<A> {
        let mut piece = Vec::with_capacity(PIECE + PIECE / 4);
        let (form, begun) = (&self.form, &mut self.begun);
        let more = self.ahead.advance(&mut |row| {
            match form {
                Form::List => {
                    piece.extend_from_slice(if *begun { b"," } else { OPENING });
                    // Text and numbers always are JSON, and memory takes them.
                    let _ = serde_json::to_writer(&mut piece, &row);
                }
                Form::Each(write) => piece.extend_from_slice(write(&row).as_bytes()),
            }
            *begun = true;
            if piece.len() < PIECE { Continue(()) } else { Break(()) }
        })?;
        if more {
            return Ok((piece, Some(self)));
        }
        if matches!(form, Form::List) {
            piece.extend_from_slice(if *begun { b"" } else { OPENING });
            piece.extend_from_slice(CLOSING);
        }
        Ok((piece, None))
    }
}

pub(super) const OPENING: &[u8] = b"{\"success\":true,\"data\":[";
pub(super) const CLOSING: &[u8] = b"],\"error\":null}";

impl<A> Stream for Pieces<A>
where
    A: RowCursor + Send + Unpin + 'static,
    A::Row: Serialize + 'static,
{
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(next) = &mut self.next else { return Poll::Ready(None) };
        next.as_mut().poll(context).map(|made| match made {
            Ok((piece, telling)) => {
                *self = Self::of(telling);
                Some(Ok(piece.into()))
            }
            // An answer that has begun can only be broken off.
            Err(problem) => {
                self.next = None;
                Some(Err(io::Error::other(problem.message)))
            }
        })
    }
}
