//! Answers out of what is in memory, made piece by piece: the next when the last was taken. So an answer that nobody reads
//! costs a piece, however many services there are, and what it is made from is api by all who ask.

use super::journal_body::{CLOSING, OPENING, PIECE};
use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::convert::Infallible;

/// A part of an answer.
pub(super) struct Piece {
    bytes: Vec<u8>,
    is_last: bool,
}

impl Piece {
    /// No larger than what is in it: it may lie there for a while.
    pub(super) fn of(mut bytes: Vec<u8>, is_last: bool) -> Self {
        bytes.shrink_to_fit();
        Self { bytes, is_last }
    }
}

/// One envelope around a list.
pub(super) fn list<T: Serialize>(rows: impl Iterator<Item = T> + Send + 'static) -> Response {
    list_with(Vec::new(), rows)
}

/// One envelope around a list, with what should be known along with it.
pub(super) fn list_with<T: Serialize>(
    notes: Vec<String>,
    mut rows: impl Iterator<Item = T> + Send + 'static,
) -> Response {
    let mut begun = false;
    answer("application/json", move || {
        let mut bytes = Vec::with_capacity(PIECE + PIECE / 4);
        while bytes.len() < PIECE {
            let row = rows.next();
            if !begun || row.is_some() {
                bytes.extend_from_slice(if begun { b"," } else { OPENING });
                begun = true;
            }
            let Some(row) = row else {
                bytes.extend_from_slice(CLOSING);
                if !notes.is_empty() {
                    bytes.truncate(bytes.len() - 1);
                    bytes.extend_from_slice(b",\"notes\":");
                    let _ = serde_json::to_writer(&mut bytes, &notes);
                    bytes.push(b'}');
                }
                return Piece::of(bytes, true);
            };
            // Text and numbers always are JSON, and memory takes them.
            let _ = serde_json::to_writer(&mut bytes, &row);
        }
        Piece::of(bytes, false)
    })
}

/// One that has a length if it is of one piece.
pub(super) fn answer(media_type: &'static str, mut make: impl FnMut() -> Piece + Send + 'static) -> Response {
    let first = make();
    let body = if first.is_last {
        Body::from(first.bytes)
    } else {
        let mut over = false;
        let rest = std::iter::from_fn(move || {
            let piece = (!over).then(&mut make)?;
            over = piece.is_last;
            Some(piece.bytes)
        });
        let pieces = std::iter::once(first.bytes).chain(rest).map(Ok::<_, Infallible>);
        Body::from_stream(tokio_stream::iter(pieces))
    };
    ([(CONTENT_TYPE, media_type)], body).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::{HttpBody, to_bytes};

    async fn told(most: u32) -> (Option<u64>, serde_json::Value) {
        let body = list(0..most).into_body();
        let length = body.size_hint().exact();
        let bytes = to_bytes(body, usize::MAX).await.unwrap();
        (length, serde_json::from_slice(&bytes).unwrap())
    }

    #[tokio::test]
    async fn a_list_is_whole_however_many_pieces_it_has() {
        for most in [0, 1, 2, 5_000] {
            let (length, answer) = told(most).await;
            let rows: Vec<u32> = serde_json::from_value(answer["data"].clone()).unwrap();
            assert!(rows.iter().copied().eq(0..most), "{most}");
            assert_eq!(answer["success"], true);
            assert_eq!(length.is_some(), most < 1_000, "a small one has a length");
        }
    }
}
