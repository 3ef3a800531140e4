//! [`strip_quotations`]: removes program output from a response to the token `read`. Output that a message quotes
//! ([`quoted`](service_api::quoted)) is removed from the JSON of every route while it is sent.

use axum::body::{Body, Bytes, HttpBody};
use axum::http::header::CONTENT_LENGTH;
use axum::response::Response;
use hyper::body::Frame;
use service_api::quote::{CLOSE, OPEN};
use std::pin::Pin;
use std::task::{Context, Poll};

/// The replacement of removed text.
const DOTS: &str = "…";

/// Removes quoted program output from a response.
pub(super) fn strip_quotations(answer: Response) -> Response {
    let (mut parts, body) = answer.into_parts();
    parts.headers.remove(CONTENT_LENGTH);
    Response::from_parts(parts, Body::new(StrippedBody { body, filter: Filter::default() }))
}

struct StrippedBody {
    body: Body,
    filter: Filter,
}

impl HttpBody for StrippedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        frame.map_ok(|frame| frame.map_data(|data| Bytes::from(self.filter.pass(&data))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}

/// The state of the filter. The text arrives in chunks of any size.
#[derive(Debug, Default)]
struct Filter {
    is_inside: bool,
    /// Whether the previous byte inside a quotation was a backslash that escapes the next one.
    is_escaped: bool,
    /// The received bytes that may be the beginning of a quotation mark.
    begun: Vec<u8>,
}

impl Filter {
    /// The part of a chunk that may be sent. A quotation ends with its closing mark, or at the latest with its JSON
    /// string.
    fn pass(&mut self, data: &[u8]) -> Vec<u8> {
        let mut passed = Vec::with_capacity(data.len());
        for byte in data {
            let mut buffer = [0; 4];
            let mark = if self.is_inside { CLOSE } else { OPEN }.encode_utf8(&mut buffer).as_bytes();
            self.begun.push(*byte);
            if self.begun == mark {
                passed.extend_from_slice(mark);
                if !self.is_inside {
                    passed.extend_from_slice(DOTS.as_bytes());
                }
                (self.is_inside, self.is_escaped) = (!self.is_inside, false);
                self.begun.clear();
            } else if !mark.starts_with(&self.begun) {
                // A byte that does not continue the mark may begin another mark.
                let again = self.begun.len() > 1 && mark[0] == *byte;
                let kept = if again { self.begun.split_off(self.begun.len() - 1) } else { Vec::new() };
                let over = std::mem::replace(&mut self.begun, kept);
                self.release(&over, &mut passed);
            }
        }
        passed
    }

    fn release(&mut self, bytes: &[u8], passed: &mut Vec<u8>) {
        for byte in bytes {
            match byte {
                _ if !self.is_inside => passed.push(*byte),
                b'"' if !self.is_escaped => {
                    self.is_inside = false;
                    passed.push(*byte);
                }
                b'\\' => self.is_escaped = !self.is_escaped,
                _ => self.is_escaped = false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Filters a text in chunks of this size.
    fn pass(text: &str, size: usize) -> String {
        let mut filter = Filter::default();
        let passed: Vec<u8> = text.as_bytes().chunks(size).flat_map(|piece| filter.pass(piece)).collect();
        String::from_utf8(passed).unwrap()
    }

    #[test]
    fn what_is_quoted_is_left_out_whatever_the_pieces() {
        let text =
            r#"{"message":"`x` ended with code 1: “a \" secret \\”, it said; “two” … – é","healthy":false}"#;
        let left = r#"{"message":"`x` ended with code 1: “…”, it said; “…” … – é","healthy":false}"#;
        for size in [1, 2, 3, 5, 1000] {
            assert_eq!(pass(text, size), left, "{size}");
        }
    }

    #[test]
    fn a_quotation_that_was_cut_ends_with_its_string() {
        let text = r#"{"message":"it said “cut \" off \\","next":"a “b” c"}"#;
        assert_eq!(pass(text, 4), r#"{"message":"it said “…","next":"a “…” c"}"#);
    }
}
