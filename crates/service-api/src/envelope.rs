//! [`Envelope`]: the shape of every JSON answer, `{ success, data, error }`.

use crate::problem::Problem;
use serde::{Deserialize, Serialize};

/// Either data or an error, never both; `success` says which.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Envelope<T> {
    /// Whether the request succeeded, so that `data` has the answer.
    pub success: bool,
    /// The answer, or `null` on failure.
    pub data: Option<T>,
    /// The error, or `null` on success.
    pub error: Option<Problem>,
    /// Notes on the answer, in sentences; absent if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

impl<T> Envelope<T> {
    /// Wraps data.
    pub fn success(data: T) -> Self {
        Self { success: true, data: Some(data), error: None, notes: Vec::new() }
    }

    /// Wraps an error.
    pub fn failure(problem: Problem) -> Self {
        Self { success: false, data: None, error: Some(problem), notes: Vec::new() }
    }

    /// The data or the error. An envelope with neither is an error
    /// ([`Code::Internal`](crate::problem::Code::Internal)).
    pub fn into_result(self) -> Result<T, Problem> {
        match (self.data, self.error) {
            (_, Some(problem)) => Err(problem),
            (Some(data), None) => Ok(data),
            (None, None) => {
                Err(Problem::new(crate::problem::Code::Internal, "the daemon sent an empty answer"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Code;

    #[test]
    fn an_error_wins_over_data() {
        let envelope =
            Envelope { success: true, ..Envelope::<i32>::failure(Problem::new(Code::NotFound, "no")) };
        assert_eq!(envelope.into_result().unwrap_err().code, Code::NotFound);
    }
}
