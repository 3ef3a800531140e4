//! The envelope around every answer.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use service_api::{Envelope, Problem};

/// An answer or a failure.
pub(super) type Reply<T> = Result<Data<T>, Failure>;

/// `{"success": true, "data": ...}`.
pub(super) struct Data<T>(pub(super) T);

/// `{"success": false, "error": ...}` with the HTTP status of its code.
pub(super) struct Failure(pub(super) Problem);

impl<T: Serialize> IntoResponse for Data<T> {
    fn into_response(self) -> Response {
        Json(Envelope::success(self.0)).into_response()
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.0.code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, Json(Envelope::<()>::failure(self.0))).into_response()
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}
