//! [`ManagerLogLine`]: one line of a log, as a manager returns it.

use super::author::Author;
use super::reply::{ManagerReply, RecordReader, ReplyError, quote_value, text};
use super::status::datetime;
use jiff::Timestamp;
use serde_json::Value;
use service_api::view;
use service_core::Name;
use service_shim::terminal_text;

/// A line, with its time if known.
pub(crate) type Timed = (Option<Timestamp>, view::LogLine);

/// A line of a service's log: a record or a string. The time is optional.
#[derive(Debug)]
pub(super) struct ManagerLogLine {
    time: Option<Timestamp>,
    stream: Option<String>,
    text: String,
}

impl ManagerReply for ManagerLogLine {
    fn read(answer: Value, _: Author) -> Result<Self, ReplyError> {
        if let Value::String(line) = answer {
            return Ok(Self { time: None, stream: None, text: line });
        }
        let in_line = |error| ReplyError::Line(Box::new(error));
        let row =
            RecordReader::read(&answer).map_err(|_| ReplyError::LineType { found: quote_value(&answer) })?;
        Ok(Self {
            time: row.optional_field("time", "a datetime", datetime).map_err(in_line)?,
            stream: row.optional_field("stream", "a string", text).map_err(in_line)?,
            text: row.required_field("line", "a string", text).map_err(in_line)?,
        })
    }
}

impl ManagerLogLine {
    /// The line as a row of the API.
    pub(super) fn view(self, service: &Name) -> Timed {
        let line = view::LogLine {
            time: self.time.map(|time| time.to_string()).unwrap_or_default(),
            service: service.to_string(),
            stream: self.stream.unwrap_or_else(|| "stdout".to_owned()),
            line: terminal_text::render(self.text),
            partial: false,
            continues: false,
        };
        (self.time, line)
    }
}
