//! Words of managers, made fit to be shown: what a program says of itself may hold colours and worse.

use service_api::redact::cut;

/// Without what tells a terminal to do things; lines stay lines.
pub(super) fn readable(text: &str) -> String {
    let mut readable = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(next) = rest.next() {
        match next {
            '\u{1b}' => skip_sequence(&mut rest),
            '\n' | '\t' => readable.push(next),
            _ if next.is_control() => {}
            _ => readable.push(next),
        }
    }
    readable
}

/// What a manager says is not told any further.
const LONGEST: usize = 2_000;

/// For a cell of a table.
pub(crate) fn on_one_line(text: &str) -> String {
    let text = readable(&cut(text, LONGEST));
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

/// The rest of what began with an escape character, as in ECMA-48: `[` up to a letter, `]` up to a bell or another escape
/// character and its companion, or one character.
fn skip_sequence(rest: &mut std::str::Chars<'_>) {
    match rest.next() {
        Some('[') => {
            rest.find(|next| ('@'..='~').contains(next));
        }
        Some(']') if rest.find(|next| matches!(next, '\u{7}' | '\u{1b}')) == Some('\u{1b}') => {
            rest.next();
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_for_people() {
        assert_eq!(on_one_line(" It broke.\n\n  See the log. \n"), "It broke. See the log.");
    }

    #[test]
    fn no_terminal_is_told_to_do_anything() {
        assert_eq!(readable("\u{1b}[1;31mred\u{1b}[0m\u{7}"), "red");
        assert_eq!(readable("\u{1b}]0;title\u{7}a\u{1b}]8;;http://x\u{1b}\\b\u{1b}c"), "ab");
        assert_eq!(readable("one\r\n\ttwo\u{0}"), "one\n\ttwo");
        assert_eq!(readable("cut short \u{1b}["), "cut short ");
    }
}
