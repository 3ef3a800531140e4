//! Responses from memory in chunks. Each chunk is created after the client has received the previous one. An unread
//! response therefore uses the memory of one chunk, whatever the number of services, and all requests share the
//! snapshot.

use super::envelope_body::{CHUNK_BYTES, EnvelopeForm, EnvelopeWriter};
use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use service_core::Moment;
use service_host::clock;
use service_host::time_slice::MAX_SLICE;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio_stream::Stream;

/// A part of a response.
pub(super) struct Chunk {
    bytes: Vec<u8>,
    is_last: bool,
}

impl Chunk {
    /// Creates a chunk. The buffer is shrunk to its length, because a slow client may hold it for long.
    pub(super) fn new(mut bytes: Vec<u8>, is_last: bool) -> Self {
        bytes.shrink_to_fit();
        Self { bytes, is_last }
    }
}

/// One envelope around a list.
pub(super) fn list<T: Serialize>(rows: impl Iterator<Item = T> + Send + 'static) -> Response {
    list_with(Vec::new(), rows)
}

/// One envelope around a list, with notes.
pub(super) fn list_with<T: Serialize>(
    notes: Vec<String>,
    mut rows: impl Iterator<Item = T> + Send + 'static,
) -> Response {
    let mut writer = EnvelopeWriter::new(EnvelopeForm::List);
    respond("application/json", move || {
        while writer.len() < CHUNK_BYTES {
            let Some(row) = rows.next() else {
                writer.finish(&notes);
                return Chunk::new(writer.next_chunk(), true);
            };
            writer.write_row(&row);
        }
        Chunk::new(writer.next_chunk(), false)
    })
}

/// A response with the chunks that `make` returns. If there is one chunk, the response has a length.
pub(super) fn respond(
    media_type: &'static str,
    mut make: impl FnMut() -> Chunk + Send + 'static,
) -> Response {
    let first = make();
    let body = if first.is_last {
        Body::from(first.bytes)
    } else {
        let mut is_over = false;
        let rest = std::iter::from_fn(move || {
            let chunk = (!is_over).then(&mut make)?;
            is_over = chunk.is_last;
            Some(chunk.bytes)
        });
        let chunks = std::iter::once(first.bytes).chain(rest).map(Ok::<_, Infallible>);
        Body::from_stream(Sliced { chunks: Box::new(chunks), since: None })
    };
    ([(CONTENT_TYPE, media_type)], body).into_response()
}

/// The chunks of a response. After [`MAX_SLICE`] of work, other tasks have the thread.
struct Sliced<T> {
    chunks: Box<dyn Iterator<Item = T> + Send>,
    /// When this task got the thread.
    since: Option<Moment>,
}

impl<T> Stream for Sliced<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        let now = clock::now();
        if now.since(*self.since.get_or_insert(now)) >= MAX_SLICE {
            self.since = None;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(self.chunks.next())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::{HttpBody, to_bytes};
    use std::future::poll_fn;
    use std::pin::pin;

    async fn answer(most: u32) -> (Option<u64>, serde_json::Value) {
        let body = list(0..most).into_body();
        let length = body.size_hint().exact();
        let bytes = to_bytes(body, usize::MAX).await.unwrap();
        (length, serde_json::from_slice(&bytes).unwrap())
    }

    #[tokio::test]
    async fn a_long_answer_leaves_the_thread_to_others() {
        let rows = (0..12_000).inspect(|row| {
            if row % 1000 == 0 {
                std::thread::sleep(MAX_SLICE);
            }
        });
        let body = list(rows).into_body();
        let (mut body, mut turns) = (pin!(to_bytes(body, usize::MAX)), 0);
        poll_fn(|context| {
            turns += 1;
            body.as_mut().poll(context).map(drop)
        })
        .await;
        assert!(turns >= 3, "{turns}");
    }

    #[tokio::test]
    async fn a_list_is_whole_however_many_chunks_it_has() {
        for most in [0, 1, 2, 5_000] {
            let (length, answer) = answer(most).await;
            let rows: Vec<u32> = serde_json::from_value(answer["data"].clone()).unwrap();
            assert!(rows.iter().copied().eq(0..most), "{most}");
            assert_eq!(answer["success"], true);
            assert_eq!(length.is_some(), most < 1_000, "a small one has a length");
        }
    }
}
