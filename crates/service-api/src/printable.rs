//! Removes control sequences from text of services, files and remote peers, for display on a terminal.
//!
//! This is the last step before the display. Stored and transmitted text remains unchanged.

use std::borrow::Cow;
use std::fmt::Write;
use std::str::Chars;

/// The text without escape sequences (ECMA-48), characters that change the direction of writing, and control characters
/// except newline and tab.
pub fn printable(text: &str) -> Cow<'_, str> {
    printable_text(text, Colours::Dropped)
}

/// Like [`printable`], but keeps sequences that colour text (SGR), for lines of logs.
pub fn coloured(text: &str) -> Cow<'_, str> {
    printable_text(text, Colours::Kept)
}

/// Equivalent JSON without control characters: characters that JSON would leave unescaped are escaped.
pub fn json(text: String) -> String {
    if !text.contains(is_order) {
        return text;
    }
    let mut safe = String::with_capacity(text.len());
    for char in text.chars() {
        if is_order(char) {
            let _ = write!(safe, "\\u{:04x}", u32::from(char)); // writing to a string cannot fail
        } else {
            safe.push(char);
        }
    }
    safe
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Colours {
    Kept,
    Dropped,
}

fn printable_text(text: &str, colours: Colours) -> Cow<'_, str> {
    if !text.contains(is_order) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(next) = rest.next() {
        match next {
            '\u{1b}' => {
                if let Some(colour) = colour(rest.as_str()).filter(|_| colours == Colours::Kept) {
                    shown.push(next);
                    shown.push_str(colour);
                    rest = rest.as_str()[colour.len()..].chars();
                } else {
                    skip_sequence(&mut rest);
                }
            }
            '\u{9b}' => skip_control(&mut rest),
            '\u{90}' | '\u{98}' | '\u{9d}' | '\u{9e}' | '\u{9f}' => skip_string(&mut rest),
            _ if is_order(next) => {}
            _ => shown.push(next),
        }
    }
    Cow::Owned(shown)
}

/// Whether a character is not printable: a control character, or one of Unicode's `Bidi_Control`.
fn is_order(char: char) -> bool {
    match char {
        '\n' | '\t' => false,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        _ => char.is_control(),
    }
}

/// The rest of a colour sequence after its escape character, if it is one.
fn colour(rest: &str) -> Option<&str> {
    let parameters = rest.strip_prefix('[')?;
    let length = parameters.find(|char: char| !matches!(char, '0'..='9' | ';' | ':'))?;
    parameters[length..].starts_with('m').then(|| &rest[..length + 2])
}

/// Skips the sequence after an escape character.
fn skip_sequence(rest: &mut Chars<'_>) {
    match rest.clone().next() {
        Some('[') => {
            rest.next();
            skip_control(rest);
        }
        Some(']' | 'P' | 'X' | '^' | '_') => {
            rest.next();
            skip_string(rest);
        }
        _ => {
            while skip_if(rest, |char| matches!(char, ' '..='/')) {}
            skip_if(rest, |char| matches!(char, '0'..='~'));
        }
    }
}

/// The parameters of a control sequence, and its final byte.
fn skip_control(rest: &mut Chars<'_>) {
    while skip_if(rest, |char| matches!(char, ' '..='?')) {}
    skip_if(rest, |char| matches!(char, '@'..='~'));
}

/// Skips a string up to its terminator. A string without a terminator ends at the end of the line, so that it hides no
/// other line.
fn skip_string(rest: &mut Chars<'_>) {
    while skip_if(rest, |char| !matches!(char, '\u{7}' | '\u{9c}' | '\u{1b}' | '\n')) {}
    if !skip_if(rest, |char| matches!(char, '\u{7}' | '\u{9c}')) && rest.as_str().starts_with("\u{1b}\\") {
        rest.nth(1);
    }
}

fn skip_if(rest: &mut Chars<'_>, is_it: impl FnOnce(char) -> bool) -> bool {
    let is = rest.clone().next().is_some_and(is_it);
    if is {
        rest.next();
    }
    is
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_that_a_terminal_obeys() {
        for (written, plain, with_colours) in [
            ("as it is\n\tgrün", "as it is\n\tgrün", "as it is\n\tgrün"),
            ("\u{1b}[1;31mred\u{1b}[0m\u{7}", "red", "\u{1b}[1;31mred\u{1b}[0m"),
            ("\u{1b}[38:2::1:2:3mx\u{1b}[m", "x", "\u{1b}[38:2::1:2:3mx\u{1b}[m"),
            ("\u{1b}[2J\u{1b}[HCLEAR\u{1b}[10A", "CLEAR", "CLEAR"),
            ("\u{1b}[>4;2mkeys\u{1b}[?25l", "keys", "keys"),
            ("\u{1b}]0;title\u{7}a\u{1b}]8;;http://x\u{1b}\\b\u{1b}cc", "abc", "abc"),
            ("\u{1b}]52;c;eA==\u{9c}x\u{1b}P1$r0m\u{1b}\\y\u{1b}_z\u{1b}\\", "xy", "xy"),
            ("\u{9b}31mred\u{9d}0;title\u{7}, \u{90}q\u{9c}\u{85}dark", "red, dark", "red, dark"),
            ("\u{1b}]never ended\nnext", "\nnext", "\nnext"),
            ("\u{1b}(B\u{1b}7ok\u{1b}8\u{1b}", "ok", "ok"),
            ("one\r\ntwo\u{0}\u{8}\u{7f}", "one\ntwo", "one\ntwo"),
            ("\u{202e}gnp.\u{2066}exe\u{2069}", "gnp.exe", "gnp.exe"),
            ("\u{1b}\u{1b}[31m\u{1b}[\u{1b}[2J[2J", "[2J", "\u{1b}[31m[2J"),
            ("\u{1b}[31", "", ""),
        ] {
            assert_eq!(printable(written), plain, "{written:?}");
            assert_eq!(coloured(written), with_colours, "{written:?}");
            assert_eq!(printable(&printable(written)), plain, "{written:?}, twice");
        }
    }

    #[test]
    fn json_says_the_same_without_orders() {
        let text = "\u{9b}2J \u{7f} \u{202e} ü";
        let safe = json(serde_json::to_string(text).unwrap());
        assert_eq!(safe, "\"\\u009b2J \\u007f \\u202e ü\"");
        assert_eq!(serde_json::from_str::<String>(&safe).unwrap(), text);
    }
}
