//! Responses with rows that become known one by one: all in one envelope, or as NDJSON with one envelope per line.

use super::accept::takes_lines;
use super::envelope_body::line;
use super::reply::Data;
use axum::body::Body;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use service_api::{Outcome, Problem, routes};
use std::convert::Infallible;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_stream::{Stream, StreamExt};

/// The outcomes of a request, in the form that the client prefers.
pub(super) async fn outcomes(headers: &HeaderMap, rows: UnboundedReceiver<Outcome>) -> Response {
    match takes_lines(headers) {
        true => one_by_one(rows),
        false => all_at_once(rows).await,
    }
}

/// Each outcome as soon as it is known.
fn one_by_one(rows: UnboundedReceiver<Outcome>) -> Response {
    lines(UnboundedReceiverStream::new(rows).map(|row| line(redact(row))))
}

/// All outcomes once the last one is known.
async fn all_at_once(mut rows: UnboundedReceiver<Outcome>) -> Response {
    let mut all = Vec::new();
    while let Some(row) = rows.recv().await {
        all.push(redact(row));
    }
    Data(all).into_response()
}

/// Removes secrets: an error may quote a command line.
fn redact(row: Outcome) -> Outcome {
    Outcome { error: row.error.map(Problem::redacted), ..row }
}

/// A response of lines. Each line is created after the client has received the previous one.
pub(super) fn lines(lines: impl Stream<Item = Vec<u8>> + Send + 'static) -> Response {
    let lines = lines.map(Ok::<_, Infallible>);
    ([(header::CONTENT_TYPE, routes::NDJSON)], Body::from_stream(lines)).into_response()
}
