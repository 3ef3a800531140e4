//! Answers of many rows: all in one envelope, or as NDJSON one envelope a line, as they come.

use super::accept::takes_lines;
use super::reply::Data;
use axum::body::Body;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use service_api::{Envelope, Outcome, Problem, routes};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_stream::{Stream, StreamExt};

/// What became of services, as the client takes it.
pub(super) async fn outcomes(headers: &HeaderMap, rows: UnboundedReceiver<Outcome>) -> Response {
    match takes_lines(headers) {
        true => one_by_one(rows),
        false => all_at_once(rows).await,
    }
}

/// What became of services, each as soon as it is known.
fn one_by_one(rows: UnboundedReceiver<Outcome>) -> Response {
    lines(UnboundedReceiverStream::new(rows).map(|row| line(told(row))))
}

/// What became of services, when all is known.
async fn all_at_once(mut rows: UnboundedReceiver<Outcome>) -> Response {
    let mut all = Vec::new();
    while let Some(row) = rows.recv().await {
        all.push(told(row));
    }
    Data(all).into_response()
}

/// What may be told of it: an error may speak of a command line.
fn told(row: Outcome) -> Outcome {
    Outcome { error: row.error.map(Problem::redacted), ..row }
}

/// One row in its envelope, with the line's end.
pub(super) fn line<T: Serialize>(row: T) -> serde_json::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(&Envelope::success(row))?;
    line.push(b'\n');
    Ok(line)
}

/// An answer of lines. One is asked for when the client has taken the one before.
pub(super) fn lines<E: std::error::Error + Send + Sync + 'static>(
    lines: impl Stream<Item = Result<Vec<u8>, E>> + Send + 'static,
) -> Response {
    ([(header::CONTENT_TYPE, routes::NDJSON)], Body::from_stream(lines)).into_response()
}
