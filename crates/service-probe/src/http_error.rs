//! [`HttpError`]: why a check over HTTP fails, other than by its connection.

use hyper::StatusCode;
use service_host::text::describe_io_error;
use std::error::Error as _;
use thiserror::Error;

/// Why a check over HTTP fails, other than by its connection.
#[derive(Debug, Error)]
pub(super) enum HttpError {
    #[error("`{url}` cannot be requested: {error}")]
    Url { url: String, error: url::ParseError },
    #[error("cannot send a request to {endpoint}: {error}")]
    Request { endpoint: String, error: hyper::http::Error },
    /// There is no response.
    #[error("{}", describe(error, endpoint))]
    NoResponse { endpoint: String, error: hyper::Error },
    #[error("{}, wanted {}, at {endpoint}", describe_status(*status), wanted(accepted))]
    Status { status: StatusCode, accepted: Vec<u16>, endpoint: String },
    #[error("{} at {endpoint}, to {target}: redirected too often", describe_status(*status))]
    TooManyRedirects { status: StatusCode, endpoint: String, target: String },
    #[error("{} at {endpoint}, to {target}: a redirect to another host is not followed", describe_status(*status))]
    ForeignRedirect { status: StatusCode, endpoint: String, target: String },
}

pub(super) fn describe_status(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(reason) => format!("HTTP {} {reason}", status.as_u16()),
        None => format!("HTTP {}", status.as_u16()),
    }
}

fn wanted(accepted: &[u16]) -> String {
    match accepted {
        [] => "200 to 299".to_owned(),
        accepted => accepted.iter().map(u16::to_string).collect::<Vec<_>>().join(" or "),
    }
}

/// Describes why there is no response.
fn describe(error: &hyper::Error, shown: &str) -> String {
    let tls = if shown.starts_with("http:") { "; if it uses TLS, write `https://`" } else { "" };
    if error.is_parse() {
        return format!("the server at {shown} does not use HTTP/1.1 ({error}){tls}");
    }
    if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        return format!("{shown} closed the connection before it answered{tls}");
    }
    match error.source().and_then(|cause| cause.downcast_ref::<std::io::Error>()) {
        Some(cause) => {
            format!("{shown} closed the connection before it answered: {}{tls}", describe_io_error(cause))
        }
        None => format!("cannot get a response from {shown}: {error}"),
    }
}
