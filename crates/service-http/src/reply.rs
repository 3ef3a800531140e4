//! The envelope of every response, including responses to invalid requests; and extractors whose errors are envelopes.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use service_api::command::MAX_SAFE_INTEGER;
use service_api::redact::brief;
use service_api::{Code, Envelope, Problem};
use std::time::Duration;

/// The response of a handler.
pub(super) type Reply<T> = Result<Data<T>, ErrorResponse>;

/// `{"success": true, "data": ...}`.
pub(super) struct Data<T>(pub(super) T);

/// `{"success": false, "error": ...}` with the HTTP status of the error's code.
pub(super) struct ErrorResponse(pub(super) Problem);

impl<T: Serialize> IntoResponse for Data<T> {
    fn into_response(self) -> Response {
        Json(Envelope::success(self.0)).into_response()
    }
}

impl IntoResponse for ErrorResponse {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.0.code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, Json(Envelope::<()>::failure(self.0.redacted()))).into_response()
    }
}

impl From<Problem> for ErrorResponse {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

/// A parameter in the path.
#[derive(FromRequestParts)]
#[from_request(via(Path), rejection(ErrorResponse))]
pub(super) struct PathParam<T>(pub(super) T);

/// The query string.
#[derive(FromRequestParts)]
#[from_request(via(Query), rejection(ErrorResponse))]
pub(super) struct QueryParams<T>(pub(super) T);

/// The maximum size of a request body.
pub(super) const MAX_BODY_BYTES: usize = 1024 * 1024;

/// The timeout for a complete request body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Reads a number in the query string, with the same bounds as [`service_api::command::count`] in a body.
pub(super) fn deserialize_count<'de, D: Deserializer<'de>>(query: D) -> Result<Option<u64>, D::Error> {
    match Option::<u64>::deserialize(query)? {
        Some(number) if number > MAX_SAFE_INTEGER => {
            Err(D::Error::custom(format!("{number} is beyond {MAX_SAFE_INTEGER}")))
        }
        number => Ok(number),
    }
}

/// The count, or the maximum of `usize`.
pub(super) fn to_usize(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// The body of a request.
pub(super) struct JsonBody(pub(super) Bytes);

impl<S: Send + Sync> FromRequest<S> for JsonBody {
    type Rejection = ErrorResponse;

    async fn from_request(request: Request, state: &S) -> Result<Self, ErrorResponse> {
        let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
        if announced
            .and_then(|length| length.parse().ok())
            .is_some_and(|length: u64| length > MAX_BODY_BYTES as u64)
        {
            return Err(too_large());
        }
        match tokio::time::timeout(BODY_TIMEOUT, Bytes::from_request(request, state)).await {
            Ok(sent) => Ok(Self(sent?)),
            Err(_) => {
                let seconds = BODY_TIMEOUT.as_secs();
                let message = format!("the body of the request did not arrive within {seconds} s");
                Err(ErrorResponse(Problem::new(Code::TooSlow, message)))
            }
        }
    }
}

fn too_large() -> ErrorResponse {
    ErrorResponse(Problem::new(
        Code::TooLarge,
        format!("the body of a request has at most {MAX_BODY_BYTES} bytes"),
    ))
}

impl From<PathRejection> for ErrorResponse {
    fn from(_: PathRejection) -> Self {
        Self(Problem::new(Code::BadRequest, "cannot read the name in the path: it is not UTF-8"))
    }
}

impl From<QueryRejection> for ErrorResponse {
    fn from(rejection: QueryRejection) -> Self {
        let error = rejection.body_text();
        let error = error.strip_prefix("Failed to deserialize query string: ").unwrap_or(&error);
        Self(Problem::new(
            Code::BadRequest,
            format!("cannot read the query: {}", brief(&explain_parameter(error))),
        ))
    }
}

/// The accepted values of a parameter, derived from the error of serde.
fn explain_parameter(error: &str) -> String {
    if let Some(name) = error.split_once("duplicate field ").map(|(_, name)| name) {
        return format!("{name} is set twice");
    }
    let Some((name, why)) = error.split_once(": ") else { return error.to_owned() };
    let number = ["digit", "number too", "integer", "is beyond"].iter().any(|word| why.contains(word));
    match why {
        _ if number => format!("`{name}` takes a whole number, {MAX_SAFE_INTEGER} at most"),
        why if why.contains("`true` or `false`") => format!("`{name}` takes `true` or `false`"),
        why => format!("`{name}`: {why}"),
    }
}

impl From<BytesRejection> for ErrorResponse {
    fn from(rejection: BytesRejection) -> Self {
        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            return too_large();
        }
        let message = "cannot read the body of the request: it ends too early, or its chunks are malformed";
        Self(Problem::new(Code::BadRequest, message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    #[allow(dead_code, reason = "serde only deserializes it")]
    struct Query {
        #[serde(default, deserialize_with = "deserialize_count")]
        tail: Option<u64>,
        #[serde(default)]
        follow: bool,
    }

    #[test]
    fn an_invalid_parameter_is_explained_with_its_name() {
        let message = |query: &str| {
            let uri = format!("/?{query}").parse().unwrap();
            let rejection = axum::extract::Query::<Query>::try_from_uri(&uri).err().expect(query);
            ErrorResponse::from(rejection).0.message
        };
        let number = "cannot read the query: `tail` takes a whole number, 9007199254740991 at most";
        for query in ["tail=x", "tail=-1", "tail=", "tail=9007199254740992", "tail=99999999999999999999999"] {
            assert_eq!(message(query), number, "{query}");
        }
        assert_eq!(message("follow=maybe"), "cannot read the query: `follow` takes `true` or `false`");
        assert_eq!(message("tail=1&tail=2"), "cannot read the query: `tail` is set twice");
    }
}
