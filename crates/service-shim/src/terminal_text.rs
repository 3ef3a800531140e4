//! The visible text of a line: a carriage return moves to the beginning of the line, and escape sequences are
//! invisible.
//!
//! The log holds the bytes as the service wrote them. Every reader renders its lines with [`render`]; a search for text
//! first removes the invisible characters with [`strip_escapes`].

use std::borrow::Cow;

/// A line as a terminal shows it, with its escape sequences. A carriage return before the line's end is dropped. After
/// a carriage return within the line, the following text overwrites the beginning of the line.
pub fn render(text: String) -> String {
    if !text.contains('\r') {
        return text;
    }
    let text = text.trim_end_matches('\r');
    if text.contains('\u{1b}') {
        // Columns cannot be counted across escape sequences without a terminal. Programs that move within a line
        // rewrite the whole line each time.
        return text.rsplit('\r').next().unwrap_or_default().to_owned();
    }
    let mut shown: Vec<char> = Vec::new();
    for written in text.split('\r') {
        for (column, char) in written.chars().enumerate() {
            match shown.get_mut(column) {
                Some(place) => *place = char,
                None => shown.push(char),
            }
        }
    }
    shown.into_iter().collect()
}

/// The text without escape sequences (ECMA-48: CSI, OSC and the other strings, and short sequences) and without control
/// characters other than tab.
pub fn strip_escapes(text: &str) -> Cow<'_, str> {
    let shows_nothing = |char: char| char.is_control() && char != '\t';
    if !text.contains(shows_nothing) {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match char {
            '\u{1b}' => skip_sequence(&mut chars),
            '\u{9b}' => skip_control(&mut chars),
            '\u{90}' | '\u{98}' | '\u{9d}' | '\u{9e}' | '\u{9f}' => skip_string(&mut chars),
            char if shows_nothing(char) => {}
            char => plain.push(char),
        }
    }
    Cow::Owned(plain)
}

/// Skips the rest of an escape sequence.
fn skip_sequence(chars: &mut std::str::Chars<'_>) {
    match chars.clone().next() {
        Some('[') => {
            chars.next();
            skip_control(chars);
        }
        Some(']' | 'P' | 'X' | '^' | '_') => {
            chars.next();
            skip_string(chars);
        }
        // Intermediate bytes, and then the final byte.
        Some(' '..='/') => {
            while matches!(chars.clone().next(), Some(' '..='/')) {
                chars.next();
            }
            skip_if(chars, |char| matches!(char, '0'..='~'));
        }
        Some('0'..='~') => drop(chars.next()),
        _ => {}
    }
}

/// Skips the parameters of a control sequence, and its final byte.
fn skip_control(chars: &mut std::str::Chars<'_>) {
    while matches!(chars.clone().next(), Some(' '..='?')) {
        chars.next();
    }
    skip_if(chars, |char| matches!(char, '@'..='~'));
}

/// Skips a string up to its terminator, or the rest of the text if there is none.
fn skip_string(chars: &mut std::str::Chars<'_>) {
    while let Some(char) = chars.next() {
        match char {
            '\u{7}' | '\u{9c}' => return,
            '\u{1b}' => {
                skip_if(chars, |char| char == '\\');
                return;
            }
            _ => {}
        }
    }
}

fn skip_if(chars: &mut std::str::Chars<'_>, is_it: impl FnOnce(char) -> bool) {
    if chars.clone().next().is_some_and(is_it) {
        chars.next();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_carriage_return_overwrites_and_is_no_part_of_a_line() {
        for (written, expected) in [
            ("", ""),
            ("windows\r", "windows"),
            ("windows\r\r", "windows"),
            ("\r", ""),
            ("10%\r20%\r100%", "100%"),
            ("\r10%\r20%", "20%"),
            ("10%\r20%\r", "20%"),
            ("loading\rdone", "doneing"),
            ("grün\rblau", "blau"),
            ("\u{1b}[2K10%\r\u{1b}[2K20%", "\u{1b}[2K20%"),
            ("\u{1b}[31mred\u{1b}[0m\r", "\u{1b}[31mred\u{1b}[0m"),
        ] {
            assert_eq!(render(written.to_owned()), expected, "{written:?}");
        }
    }

    #[test]
    fn what_shows_nothing_is_left_out() {
        for (written, expected) in [
            ("plain\ttext", "plain\ttext"),
            ("\u{1b}[32mServer\u{1b}[0m \u{1b}[1mReady\u{1b}[0m on port 1", "Server Ready on port 1"),
            ("\u{1b}[38;2;1;2;3mx\u{1b}[m", "x"),
            ("\u{1b}]0;title\u{7}Ready", "Ready"),
            ("\u{1b}]8;;http://a\u{1b}\\link\u{1b}]8;;\u{1b}\\", "link"),
            ("\u{1b}(BReady", "Ready"),
            ("\u{1b}7Ready\u{1b}8", "Ready"),
            ("\u{1b}P1$r0m\u{1b}\\Ready", "Ready"),
            ("\u{9b}32mReady", "Ready"),
            ("R\u{8}eady\u{7}", "Ready"),
            ("\u{1b}[?25lReady", "Ready"),
            ("Ready\u{1b}", "Ready"),
            ("Ready\u{1b}[", "Ready"),
            ("\u{1b}]never ended", ""),
            ("Bereit: grün", "Bereit: grün"),
        ] {
            assert_eq!(strip_escapes(written), expected, "{written:?}");
        }
    }
}
