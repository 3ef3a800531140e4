//! Protocol errors: requests that hyper accepts but the server does not support, and requests that hyper refuses with
//! an empty response. Both are answered with an envelope.

use super::reply::{ErrorResponse, MAX_BODY_BYTES};
use super::write_timeout::{EMPTY_BODY_HEADER, RejectedRequest};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use service_api::{Code, Envelope, Problem};
use std::fmt::Write;

/// The maximum number of headers; hyper has the same limit.
const MAX_HEADER_COUNT: usize = 100;
/// The maximum size of a request head.
pub(super) const MAX_HEAD_BYTES: usize = 16 * 1024;
/// The headers of every response: caches must not store it, and browsers must not guess its type.
pub(super) const COMMON_HEADERS: [(HeaderName, &str); 2] =
    [(header::CACHE_CONTROL, "no-store"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];

/// Refuses a transfer encoding or an expectation that the server does not support.
pub(super) fn reject_unsupported(headers: &HeaderMap) -> Option<Response> {
    let values = |name| headers.get_all(name).into_iter();
    let is =
        |value: &HeaderValue, word: &str| value.as_bytes().trim_ascii().eq_ignore_ascii_case(word.as_bytes());
    let refuse = |status: StatusCode, message: &str, help: &str| {
        (status, ErrorResponse(Problem::new(Code::BadRequest, message).help(help))).into_response()
    };
    if !values(header::TRANSFER_ENCODING).all(|value| is(value, "chunked")) {
        let message = "cannot decode this transfer encoding";
        return Some(refuse(
            StatusCode::NOT_IMPLEMENTED,
            message,
            "send the body without encoding, or `chunked` alone",
        ));
    }
    if !values(header::EXPECT).all(|value| is(value, "100-continue")) {
        let message = "cannot meet this expectation";
        return Some(refuse(StatusCode::EXPECTATION_FAILED, message, "expect `100-continue`, or nothing"));
    }
    None
}

/// Adds an envelope with the reason to a response that hyper generated.
pub(super) fn explain(refusal: &RejectedRequest, error: &hyper::Error) -> Vec<u8> {
    let problem = problem(refusal, error);
    let mut head = String::from_utf8_lossy(&refusal.head).into_owned();
    if problem.code == Code::TooLarge && !is_long(refusal) {
        head = head.replacen("431 Request Header Fields Too Large", "413 Payload Too Large", 1);
    }
    let body = serde_json::to_vec(&Envelope::<()>::failure(problem)).unwrap_or_default();
    let mut length = format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in COMMON_HEADERS {
        let _ = write!(length, "{name}: {value}\r\n"); // writing to a string cannot fail
    }
    let empty = String::from_utf8_lossy(EMPTY_BODY_HEADER);
    let mut answer = head.replacen(&*empty, &length, 1).into_bytes();
    answer.extend(body);
    answer
}

fn problem(refusal: &RejectedRequest, error: &hyper::Error) -> Problem {
    if !error.is_parse_too_large() {
        let message = format!("cannot read the request: {error}");
        return Problem::new(Code::BadRequest, message).help("send HTTP/1.1");
    }
    let message = if is_long(refusal) {
        format!("the head of a request has at most {MAX_HEAD_BYTES} bytes and {MAX_HEADER_COUNT} headers")
    } else {
        format!("the body of a request has at most {MAX_BODY_BYTES} bytes")
    };
    Problem::new(Code::TooLarge, message)
}

/// Whether the head is too large. `false` if the declared length of the body is too large.
fn is_long(refusal: &RejectedRequest) -> bool {
    refusal.bytes >= MAX_HEAD_BYTES / 2 || refusal.lines > MAX_HEADER_COUNT
}
