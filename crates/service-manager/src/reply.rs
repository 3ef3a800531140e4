//! [`ManagerReply`]: replies of managers, read from JSON; and [`RecordReader`], which reads the fields of one.

use super::author::Author;
use serde_json::{Map, Value};
use service_api::quoted;
use thiserror::Error;

/// A reply of a manager, read from JSON. The error names the expected type.
pub(super) trait ManagerReply: Sized {
    fn read(answer: Value, author: Author) -> Result<Self, ReplyError>;
}

/// Why a reply has the wrong form. Each `found` is a value in the notation of Nushell.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReplyError {
    /// The reply has another type.
    #[error("it should be {expected}, not {found}")]
    Type {
        /// The expected type.
        expected: &'static str,
        /// The value.
        found: String,
    },
    /// A field has another type.
    #[error("`{key}` should be {expected}, not {found}")]
    Field {
        /// The field.
        key: &'static str,
        /// The expected type.
        expected: String,
        /// The value.
        found: String,
    },
    /// A required field is missing.
    #[error("`{key}` is missing: it should be {expected}")]
    Missing {
        /// The field.
        key: &'static str,
        /// The expected type.
        expected: String,
    },
    /// A line of a log has another type.
    #[error("a line should be a string or a record, not {found}")]
    LineType {
        /// The value.
        found: String,
    },
    /// A field of a line is wrong.
    #[error("a line is wrong: {0}")]
    Line(Box<ReplyError>),
}

/// A record of an answer.
pub(super) struct RecordReader<'v>(&'v Map<String, Value>);

impl<'v> RecordReader<'v> {
    pub(super) fn read(value: &'v Value) -> Result<Self, ReplyError> {
        let row = value.as_object().map(Self);
        row.ok_or_else(|| ReplyError::Type { expected: "a record", found: quote_value(value) })
    }

    /// A field that may be missing or null.
    pub(super) fn optional_field<T>(
        &self,
        key: &'static str,
        expected: &str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<Option<T>, ReplyError> {
        match self.0.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => {
                let wrong = || {
                    let (expected, found) = (expected.to_owned(), quote_value(value));
                    ReplyError::Field { key, expected, found }
                };
                read(value).map(Some).ok_or_else(wrong)
            }
        }
    }

    pub(super) fn required_field<T>(
        &self,
        key: &'static str,
        expected: &str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<T, ReplyError> {
        let missing = || ReplyError::Missing { key, expected: expected.to_owned() };
        self.optional_field(key, expected, read)?.ok_or_else(missing)
    }
}

pub(super) fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// A value as an error quotes it, in the notation of Nushell.
pub(super) fn quote_value(value: &Value) -> String {
    const MAX_CHARS: usize = 60;
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a record".to_owned(),
        Value::String(text) if text.chars().count() > MAX_CHARS => {
            quoted(&format!("{}...", text.chars().take(MAX_CHARS).collect::<String>()))
        }
        Value::String(text) => quoted(text),
        Value::Number(_) | Value::Bool(_) => value.to_string(),
    }
}
