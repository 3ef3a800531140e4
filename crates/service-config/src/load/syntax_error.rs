//! Explains errors of text that is not TOML, with the next step. The parser reports the position; the cause is often
//! another format, or a character that looks like the expected one.

use super::section::Diagnostic;
use std::ops::Range;
use toml::de::Error;

/// Converts an error of the parser.
pub(super) fn to_diagnostic(text: &str, error: &Error) -> Diagnostic {
    let span = error.span().unwrap_or_default();
    let (reason, help) = explain(text, &span, error.message().trim());
    let mut diagnostic = Diagnostic::new(span, format!("this is not TOML: {reason}"));
    diagnostic.help = Some(help.to_owned());
    diagnostic
}

/// The reason of an error, and the next step.
fn explain(text: &str, span: &Range<usize>, message: &str) -> (String, &'static str) {
    let at = (0..=span.start.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let begin = text[..at].rfind('\n').map_or(0, |end| end + 1);
    let line = text[begin..].split('\n').next().unwrap_or_default();
    let trimmed = line.trim();
    let said = || message.to_owned();
    if message == "duplicate key" {
        let key = text.get(span.clone()).unwrap_or_default().trim();
        return (
            format!("the key `{key}` occurs twice"),
            "keep one of them; a table such as `[services.NAME]` may occur only once",
        );
    }
    if text.contains('\0') {
        return (
            "it contains NUL characters".to_owned(),
            "save it as UTF-8 without NUL; UTF-16 has them in every character",
        );
    }
    if ["<<<<<<<", "=======", ">>>>>>>", "|||||||"].iter().any(|mark| trimmed.starts_with(mark)) {
        return (
            "it contains the marks of a merge conflict".to_owned(),
            "resolve the conflict and delete its marks",
        );
    }
    if message.starts_with("carriage return") {
        return (said(), "save it with line feeds as line ends");
    }
    if let Some(character) = line.chars().find(|character| is_lookalike(*character)) {
        let reason =
            format!("{message}, where `{character}` (U+{:04X}) stands in the line", u32::from(character));
        return match character.is_whitespace() || matches!(character, '\u{200b}' | '\u{feff}') {
            true => (reason, "replace the invisible character with a space, or delete it"),
            false => (reason, "write straight quotation marks: \" or '"),
        };
    }
    if text.trim_start().starts_with('{') {
        return (format!("{message}; it looks like JSON"), TOML);
    }
    let is_yaml =
        trimmed == "---" || trimmed.starts_with("- ") || trimmed.ends_with(':') || trimmed.contains(": ");
    if is_yaml && !line[..at - begin].contains('=') {
        return (format!("{message}; it looks like YAML"), TOML);
    }
    if message.contains("string values must be quoted") {
        return (said(), "put the value between quotation marks, as in `restart = \"no\"`");
    }
    if message.contains("basic string") || message.contains("literal string") {
        return (
            said(),
            "close the quotation marks on the same line; write text of several lines between \"\"\" and \"\"\"",
        );
    }
    if message.contains("unclosed table") {
        return (
            said(),
            "close the bracket; write a name with a space or a dot in quotation marks: [services.\"my.web\"]",
        );
    }
    if message.contains("unclosed array") {
        return (said(), "close the list with `]`");
    }
    if message.contains("key with no value") {
        return (
            said(),
            "write a line such as `restart = \"no\"`; for a service: a line `[services.NAME]`, and such lines below",
        );
    }
    (
        said(),
        "correct the line; docs/config.md shows every key, and `orchestratord init` writes a file to begin with",
    )
}

/// The help for another format.
const TOML: &str =
    "write TOML: a line `[services.NAME]`, and below it lines like `start_command = \"program\"`";

/// Whether a character looks like a quotation mark or a space of TOML but is a different character.
fn is_lookalike(character: char) -> bool {
    matches!(character, '“' | '”' | '„' | '‘' | '’' | '‚' | '«' | '»' | '\u{200b}' | '\u{feff}')
        || (character.is_whitespace() && !character.is_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;
    use toml::de::DeTable;

    fn diagnose(text: &str) -> (String, String) {
        let error = DeTable::parse(text).unwrap_err();
        let diagnostic = to_diagnostic(text, &error);
        (diagnostic.message, diagnostic.help.unwrap())
    }

    #[test]
    fn each_kind_of_broken_text_is_answered_with_its_next_step() {
        let cases = [
            ("[services.a]\nstart_command = \"x\nrestart = 'no'\n", "close the quotation marks"),
            ("[services.a]\nstart_command = sleep 5\n", "put the value between quotation marks"),
            ("[services.a]\nstart_command = “x”\n", "write straight quotation marks"),
            ("{\"services\": {\"a\": {\"start_command\": \"x\"}}}\n", "write TOML"),
            ("services:\n  a:\n    start_command: x\n", "write TOML"),
            ("---\nservices: {}\n", "write TOML"),
            ("[services.a]\n<<<<<<< HEAD\nstart_command = 'x'\n=======\n", "resolve the conflict"),
            ("[services.a]\nstart_command\u{a0}= 'x'\n", "replace the invisible character"),
            ("[services.a]\nstart_command = 'x'\0\n", "save it as UTF-8 without NUL"),
            ("[services.a]\rstart_command = 'x'\r", "line feeds"),
            ("[services.a\nstart_command = 'x'\n", "close the bracket"),
            ("[services.my web]\nstart_command = 'x'\n", "in quotation marks"),
            ("[services.a]\nenv = [\n", "close the list"),
            ("[services.a]\nstart_command \"x\"\n", "write a line such as"),
        ];
        for (text, expected) in cases {
            let (message, help) = diagnose(text);
            assert!(help.contains(expected), "{text:?}: {message} / {help}");
        }
        let (message, _) = diagnose("[services.a]\nstart_command = 'x'\nstart_command = 'y'\n");
        assert_eq!(message, "this is not TOML: the key `start_command` occurs twice");
        let (message, _) = diagnose("[services.a]\nstart_command = “x”\n");
        assert!(message.contains("`“` (U+201C)"), "{message}");
    }

    #[test]
    fn any_text_is_answered() {
        for text in ["", "=", "\u{feff}=", "“", "a = \"“", "[", "]\n", "a.b.c", "\r", "\u{2028}"] {
            if let Err(error) = DeTable::parse(text) {
                assert!(to_diagnostic(text, &error).help.is_some(), "{text:?}");
            }
        }
    }
}
