//! Responses from memory in chunks. Each chunk is created after the client has received the previous one. An unread
//! response therefore uses the memory of one chunk, whatever the number of services, and all requests share the
//! snapshot.

use super::envelope_body::{CHUNK_BYTES, EnvelopeForm, EnvelopeWriter};
use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::convert::Infallible;

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
        Body::from_stream(tokio_stream::iter(chunks))
    };
    ([(CONTENT_TYPE, media_type)], body).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::{HttpBody, to_bytes};

    async fn answer(most: u32) -> (Option<u64>, serde_json::Value) {
        let body = list(0..most).into_body();
        let length = body.size_hint().exact();
        let bytes = to_bytes(body, usize::MAX).await.unwrap();
        (length, serde_json::from_slice(&bytes).unwrap())
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
