//! Words of managers, made fit to be shown: what a program says of itself may hold colours and worse.

use service_api::printable;
use service_api::redact::cut;

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
    fn a_message_is_one_line_for_people() {
        assert_eq!(on_one_line(" It broke.\n\n  See the log. \n"), "It broke. See the log.");
    }
}
