//! Prepares text of other programs for display: on one line, short, without control sequences and secrets.

use service_api::redact::cut;
use service_api::{printable, quoted, redact};
use service_core::health::CheckFault;
use std::io;

/// The result of a check, with the raw output of a program.
#[derive(Debug)]
pub struct CheckText {
    /// One line that describes the result.
    pub message: String,
    /// The output of a command, if the check ran one.
    pub output: Option<String>,
    /// The cause of the failure, if it is a timeout or a certificate.
    pub fault: Option<CheckFault>,
}

impl From<String> for CheckText {
    fn from(message: String) -> Self {
        Self { message, output: None, fault: None }
    }
}

/// The text of a failed command: one line without secrets, in part the output of the command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandFailure(pub String);

/// The maximum length of a displayed message, and of a program's output.
pub const MAX_MESSAGE_CHARS: usize = 400;
const MAX_OUTPUT_CHARS: usize = 200;
/// The length of the text that is searched for secrets. This length exceeds the displayed one, because a truncated
/// secret is not recognized.
const MAX_REDACTED_CHARS: usize = 4 * MAX_MESSAGE_CHARS;

impl CheckText {
    /// Sets the cause of the failure.
    #[must_use]
    pub fn with_fault(self, fault: Option<CheckFault>) -> Self {
        Self { fault, ..self }
    }

    /// One short line without secrets.
    pub fn describe(&self, env: &[(String, String)]) -> String {
        let told = |text: &str, most| {
            let line = shorten_line(text, MAX_REDACTED_CHARS);
            truncate(&redact::without(&line, env), most)
        };
        let message = told(&self.message, MAX_MESSAGE_CHARS);
        match self
            .output
            .as_ref()
            .map(|output| told(output, MAX_OUTPUT_CHARS))
            .filter(|output| !output.is_empty())
        {
            Some(output) => format!("{message}: {}", quoted(&output)),
            None => message,
        }
    }
}

/// One line without control sequences, of at most `most` characters.
fn shorten_line(text: &str, most: usize) -> String {
    let text = truncate(text, most);
    single_line(&text)
}

/// Truncates a text to `most` characters. In a truncated text the last character is `…`.
pub fn truncate(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some(_) => text.chars().take(most - 1).chain(['…']).collect(),
    }
}

/// Removes control sequences, except for line ends.
pub fn readable(text: &str) -> String {
    printable(text).into_owned()
}

/// The maximum length of a manager's line.
const MAX_LINE_CHARS: usize = 2_000;

/// Joins a text into one line, for a cell of a table.
pub fn single_line(text: &str) -> String {
    let text = readable(&cut(text, MAX_LINE_CHARS));
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Describes a system error without its number.
pub fn describe_io_error(error: &io::Error) -> String {
    let words = error.to_string();
    words.split_once(" (os error ").map_or(words.as_str(), |(words, _)| words).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_for_people() {
        assert_eq!(single_line(" It broke.\n\n  See the log. \n"), "It broke. See the log.");
    }
}
