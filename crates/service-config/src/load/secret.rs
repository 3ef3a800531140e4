//! Finds the secrets of a file: the values of every `env`, and values whose key looks like the name of a secret. These
//! values are masked in the lines that an error shows, because other users may read the error.

use service_api::redact::{is_secret, joined, secrets};
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The spans of all secrets of a file.
pub(super) struct SecretSpans {
    /// The spans, in order and without overlap.
    values: Vec<Range<usize>>,
    is_toml: bool,
}

impl SecretSpans {
    /// Finds the secrets of a file.
    pub(super) fn find(text: &str) -> Self {
        let (root, errors) = DeTable::parse_recoverable(text);
        let mut values = Vec::new();
        table(root.get_ref(), false, &mut values);
        Self { values: joined(values), is_toml: errors.is_empty() }
    }

    /// The secrets of one line, as byte ranges within it.
    pub(super) fn within_line(&self, text: &str, line: Range<usize>) -> Vec<Range<usize>> {
        let shown = &text[line.clone()];
        let first = self.values.partition_point(|span| span.end <= line.start);
        let inside = self.values[first..].iter().take_while(|span| span.start < line.end).map(|span| {
            let (start, end) = (span.start.max(line.start), span.end.min(line.end));
            start - line.start..end - line.start
        });
        let unread = if self.is_toml { None } else { secret_in_invalid_line(text, line.start, shown) };
        joined(inside.chain(secrets(shown)).chain(unread).collect())
    }
}

fn table(table: &DeTable<'_>, is_secret_value: bool, spans: &mut Vec<Range<usize>>) {
    for (key, value) in table {
        let key = key.get_ref();
        collect_leaf_spans(value, is_secret_value || key == "env" || is_secret(key), spans);
    }
}

fn collect_leaf_spans(value: &Spanned<DeValue<'_>>, is_secret_value: bool, spans: &mut Vec<Range<usize>>) {
    match value.get_ref() {
        DeValue::Table(inner) => table(inner, is_secret_value, spans),
        DeValue::Array(values) => {
            values.iter().for_each(|value| collect_leaf_spans(value, is_secret_value, spans));
        }
        _ if is_secret_value && !value.span().is_empty() => spans.push(value.span()),
        _ => {}
    }
}

/// The secret of a line that is not TOML: its value, if the header above the line or the line itself names an `env`.
fn secret_in_invalid_line(text: &str, start: usize, line: &str) -> Option<Range<usize>> {
    let header = text[..start].lines().rev().map(str::trim).find(|line| line.starts_with('['));
    let header = header.is_some_and(|header| is_env(header.trim_matches(['[', ']'])));
    let mut from = 0;
    while let Some(at) = line[from..].find('=') {
        let name = &line[from..from + at];
        from += at + 1;
        if header || name.split([' ', '\t', '{', ',', '.']).any(is_env) {
            let value = line.len() - line[from..].trim_start().len();
            return Some(value..line.trim_end().len()).filter(|value| !value.is_empty());
        }
    }
    None
}

/// Whether the key is `env`, or ends with it, such as `services.web.env`.
fn is_env(key: &str) -> bool {
    key.rsplit('.').next().is_some_and(|last| last.trim().trim_matches(['"', '\'']) == "env")
}

#[cfg(test)]
mod tests {
    use crate::load::config_from_str;

    /// The line that the first error shows, and its marked part.
    fn shown(text: &str) -> (String, String) {
        let place = config_from_str(text, "f").unwrap_err().place.unwrap();
        let mark = place.snippet.chars().skip(place.column - 1).take(place.width).collect();
        (place.snippet, mark)
    }

    #[test]
    fn an_error_shows_no_environment_and_no_secret() {
        let (line, mark) = shown("[services.a]\nstart_command = 'a'\nenv = { A = 'hunter2', B = [1] }\n");
        assert_eq!((line.as_str(), mark.as_str()), ("env = { A = ***, B = [***] }", "[***]"));
        let (line, _) = shown("[services.a]\nstart_command = 'a'\nprot = 1 # --token=hunter2\n");
        assert_eq!(line, "prot = 1 # --token=***");
        let (line, mark) = shown("[services.a]\nstart_command = 5\n[services.a.env]\nA = 'hunter2'\n");
        assert_eq!((line.as_str(), mark.as_str()), ("start_command = 5", "5"));
    }

    #[test]
    fn nor_does_one_about_a_line_that_is_not_toml() {
        for text in [
            "[services.a.env]\nA = 'hunter2\n",
            "[services.a]\nenv = { A = 'hunter2'\n",
            "[services.a]\nenv.A = hunter2\n",
            "[services.a]\nstart_command = 'x --password hunter2\n",
            "[services.a]\nenv = { A = 'b', C = hunter2 }\n",
        ] {
            let (line, _) = shown(text);
            assert!(!line.contains("hunter2"), "{text} shows {line}");
        }
    }
}
