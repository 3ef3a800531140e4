//! Text of other programs, made fit to be shown: on one line, short, without control sequences and secrets.

use service_api::redact::cut;
use service_api::{printable, quoted, redact};
use std::io;

/// What a check found, and beside it what a program wrote, which may be anything.
#[derive(Debug)]
pub struct CheckText {
    /// One line that describes the result.
    pub message: String,
    /// The output of a command, if the check ran one.
    pub output: Option<String>,
}

impl From<String> for CheckText {
    fn from(message: String) -> Self {
        Self { message, output: None }
    }
}

/// The longest that is told of what a check says, and of what a program wrote.
pub const MAX_MESSAGE_CHARS: usize = 400;
const MAX_OUTPUT_CHARS: usize = 200;
/// What is looked through for secrets; one that is cut is not known any more, so it is more than what is told.
const MAX_REDACTED_CHARS: usize = 4 * MAX_MESSAGE_CHARS;

impl CheckText {
    /// One line, and not a long one, without secrets.
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

/// On one line, without what tells a terminal to do things.
fn shorten_line(text: &str, most: usize) -> String {
    let text = truncate(text, most);
    single_line(&text)
}

/// So many characters at most, the last of which says that there were more.
pub fn truncate(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some(_) => text.chars().take(most - 1).chain(['…']).collect(),
    }
}

/// Without what tells a terminal to do things; lines stay lines.
pub fn readable(text: &str) -> String {
    printable(text).into_owned()
}

/// What a manager says is not told any further.
const MAX_LINE_CHARS: usize = 2_000;

/// For a cell of a table.
pub fn single_line(text: &str) -> String {
    let text = readable(&cut(text, MAX_LINE_CHARS));
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

/// An error of the system without its number.
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
