//! Words of managers, made fit to be shown: what a program says of itself may hold colours and worse.

use service_api::redact::cut;
use service_api::{printable, quoted};

/// Who wrote a module. Those that come with us quote by themselves what programs said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Author {
    Us,
    Others,
}

impl Author {
    /// Words of such a module, as they stand in a message: those of others may be anything.
    pub(super) fn mark(self, text: String) -> String {
        match self {
            Self::Us => text,
            Self::Others if text.trim().is_empty() => text,
            Self::Others => quoted(&text),
        }
    }
}

/// Without what tells a terminal to do things; lines stay lines.
pub(super) fn readable(text: &str) -> String {
    printable(text).into_owned()
}

/// What a manager says is not told any further.
const LONGEST: usize = 2_000;

/// For a cell of a table.
pub(crate) fn on_one_line(text: &str) -> String {
    let text = readable(&cut(text, LONGEST));
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_say_is_quoted_and_nothing_stays_nothing() {
        assert_eq!(Author::Others.mark("on".to_owned()), "“on”");
        assert_eq!(Author::Us.mark("on".to_owned()), "on");
        assert_eq!(Author::Others.mark(" ".to_owned()), " ");
    }

    #[test]
    fn a_message_is_one_line_for_people() {
        assert_eq!(on_one_line(" It broke.\n\n  See the log. \n"), "It broke. See the log.");
    }
}
