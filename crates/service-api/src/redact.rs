//! [`redact`]: replaces passwords, tokens and other secrets in a text with `***`: in a command line, in TOML or JSON,
//! in a URL, in a header, in an error.
//!
//! Secrets are recognized by their context (a key or an option with the name of a secret, the userinfo of a URL,
//! `Authorization`), by password options of known programs, and by their form. An ambiguous value is replaced. A secret
//! without context and without a known form cannot be recognized.

mod forms;
mod names;
mod programs;
mod scan;
mod sentence;

pub use names::is_secret;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use forms::is_quote;
use programs::Commands;
use scan::{MAX_NAME_BYTES, around, begins_word, is_name, line, next_word, password_of, value};
use std::borrow::Cow;
use std::ops::Range;

/// The replacement of a secret.
pub const MASK: &str = "***";

/// Headers whose value is secret to the end of the line.
const HEADERS: [&str; 4] = ["authorization", "proxy-authorization", "cookie", "set-cookie"];
/// Options whose value is a user, optionally with a password; or a certificate, optionally with a passphrase.
const USERS: [&str; 6] = ["-u", "--user", "--userpwd", "-U", "--proxy-user", "--cert"];
/// The minimum length of a secret value. A shorter value would be found in every text.
const MIN_SECRET_BYTES: usize = 4;
/// The maximum length of a quoted name, address or line of another origin.
const MAX_EXCERPT_BYTES: usize = 200;

/// Truncates a text of another origin, for a message.
pub fn brief(text: &str) -> Cow<'_, str> {
    cut(text, MAX_EXCERPT_BYTES)
}

/// Truncates a text to `most` bytes; a truncated text ends with `…`.
pub fn cut(text: &str, most: usize) -> Cow<'_, str> {
    match text.len() {
        length if length <= most => Cow::Borrowed(text),
        _ => Cow::Owned(format!("{}…", &text[..text.floor_char_boundary(most)])),
    }
}

/// Masks the secrets of a text.
pub fn redact(text: &str) -> Cow<'_, str> {
    let secrets = secrets(text);
    if secrets.is_empty() { Cow::Borrowed(text) } else { Cow::Owned(mask(text, &secrets)) }
}

/// Masks the secrets of a text, and the secret values of an environment.
pub fn without(text: &str, environment: &[(String, String)]) -> String {
    let is_known = |(name, value): &&(String, String)| is_secret(name) && value.len() >= MIN_SECRET_BYTES;
    let known: Vec<&str> = environment.iter().filter(is_known).map(|(_, value)| value.as_str()).collect();
    if known.is_empty() || text.is_empty() {
        return redact(text).into_owned();
    }
    // All values are searched in one pass.
    let mut finder = AhoCorasick::builder();
    finder.match_kind(MatchKind::LeftmostLongest).kind(Some(AhoCorasickKind::NoncontiguousNFA));
    match finder.build(known) {
        Ok(finder) => {
            let found: Vec<Range<usize>> = finder.find_iter(text).map(|found| found.range()).collect();
            redact(&mask(text, &joined(found))).into_owned()
        }
        // There are too many values for one automaton.
        Err(_) => MASK.to_owned(),
    }
}

/// The secrets of a text: ordered byte ranges without overlap.
///
/// The search is one pass in linear time: [`Scan`] summarizes the text before the position, and the text after it is
/// examined once, or only for a few bytes.
pub fn secrets(text: &str) -> Vec<Range<usize>> {
    let bytes = text.as_bytes();
    let mut found: Vec<Range<usize>> = Vec::new();
    let mut scan = Scan::default();
    while scan.at < bytes.len() {
        let at = scan.at;
        let argument = scan.commands.argument(bytes, at);
        let secret = argument.or_else(|| match bytes[at] {
            b':' if bytes[at..].starts_with(b"://") => scan.userinfo(bytes, at + 3),
            b'=' => assigned(text, at),
            b':' => value_after_name(text, at).or_else(|| scan.commands.slash_option(bytes, at)),
            b'-' => {
                forms::pem(bytes, at).or_else(|| option(text, at)).or_else(|| scan.commands.option(text, at))
            }
            b'@' => scan.pair(bytes),
            _ => forms::standalone(bytes, at),
        });
        let mut next = at + 1;
        if let Some(secret) = secret.filter(|secret| !secret.is_empty()) {
            next = next.max(secret.end);
            found.push(secret);
        }
        scan.pass(bytes, next);
    }
    joined(found)
}

/// The position in a text, and a summary of the text before it.
#[derive(Default)]
struct Scan {
    at: usize,
    /// The beginning of a word that may be `user:password@host`.
    word: usize,
    colon: Option<usize>,
    commands: Commands,
    /// The end of the last examined URL, and the last `@` in it.
    url: Option<(usize, Option<usize>)>,
}

impl Scan {
    fn pass(&mut self, bytes: &[u8], next: usize) {
        for at in self.at..next.min(bytes.len()) {
            let byte = bytes[at];
            if byte.is_ascii_whitespace()
                || is_quote(byte)
                || matches!(byte, b'/' | b'=' | b',' | b'(' | b'[')
            {
                (self.word, self.colon) = (at + 1, None);
            } else if byte == b':' {
                self.colon.get_or_insert(at);
            }
            self.commands.pass(bytes, at);
        }
        self.at = next;
    }

    /// `user:password@host` without a scheme.
    fn pair(&self, bytes: &[u8]) -> Option<Range<usize>> {
        let digest = bytes[self.at..].starts_with(b"@sha256:");
        let colon = self.colon?;
        (!digest && colon > self.word && colon + 1 < self.at).then_some(self.word..self.at)
    }

    /// `scheme://userinfo@host`. A password may contain characters that should have been encoded.
    fn userinfo(&mut self, bytes: &[u8], start: usize) -> Option<Range<usize>> {
        let (end, at_sign) = match self.url {
            Some(known) if start <= known.0 => known,
            _ => {
                let ends =
                    |byte: &u8| byte.is_ascii_whitespace() || is_quote(*byte) || matches!(byte, b'<' | b'>');
                let end = bytes[start..].iter().position(ends).map_or(bytes.len(), |end| start + end);
                let at_sign = bytes[start..end].iter().rposition(|byte| *byte == b'@');
                *self.url.insert((end, at_sign.map(|at| start + at)))
            }
        };
        // The authority ends before the path, the query or the fragment.
        let ended = bytes[start..end].iter().position(|byte| matches!(byte, b'/' | b'?' | b'#'));
        let authority = &bytes[start..ended.map_or(end, |length| start + length)];
        let port = authority.iter().position(|byte| *byte == b':').map(|at| &authority[at + 1..]);
        // A number may be a port; then the next `/` begins the path.
        let number = |port: &[u8]| {
            port.iter().all(u8::is_ascii_digit) && ended.is_none_or(|length| bytes[start + length] == b'/')
        };
        let odd = port.is_some_and(|port| !authority.starts_with(b"[") && !number(port));
        let within = authority.iter().rposition(|byte| *byte == b'@').map(|at| start + at);
        let last = within.or_else(|| at_sign.filter(|at| odd && *at >= start))?;
        Some(start..last)
    }
}

/// Replaces these ranges of a text with [`MASK`].
pub fn mask(text: &str, secrets: &[Range<usize>]) -> String {
    let (mut masked, mut from) = (String::with_capacity(text.len()), 0);
    for secret in secrets {
        masked.push_str(&text[from..secret.start]);
        masked.push_str(MASK);
        from = secret.end;
    }
    masked + &text[from..]
}

/// The position of the byte `at` in characters, after these ranges are masked. A position within a range becomes the
/// beginning of the mask.
pub fn moved(text: &str, secrets: &[Range<usize>], at: usize) -> usize {
    let (mut characters, mut from) = (0, 0);
    for secret in secrets.iter().take_while(|secret| secret.start < at) {
        characters += text[from..secret.start].chars().count();
        if secret.end > at {
            return characters;
        }
        characters += MASK.len();
        from = secret.end;
    }
    characters + text[from..at].chars().count()
}

/// Sorts ranges and merges overlapping and adjacent ones.
pub fn joined(mut ranges: Vec<Range<usize>>) -> Vec<Range<usize>> {
    ranges.sort_by_key(|range| range.start);
    let mut all: Vec<Range<usize>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match all.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => all.push(range),
        }
    }
    all
}

/// The name that ends before `end`, with or without quotes, and its beginning.
fn name_before(text: &str, end: usize) -> Option<(&str, usize)> {
    let bytes = text.as_bytes();
    let mut end = end;
    while end > 0 && matches!(bytes[end - 1], b' ' | b'\t') {
        end -= 1;
    }
    while end > 0 && (is_quote(bytes[end - 1]) || bytes[end - 1] == b'\\') {
        end -= 1;
    }
    let least = end.saturating_sub(MAX_NAME_BYTES);
    let start = (least..end).rev().find(|at| !is_name(bytes[*at])).map_or(least, |at| at + 1);
    (start < end).then(|| (&text[start..end], start))
}

/// `name=value`, `name = "value"`, `--user=name:value`.
fn assigned(text: &str, at: usize) -> Option<Range<usize>> {
    let (name, start) = name_before(text, at)?;
    let bytes = text.as_bytes();
    if USERS.contains(&name) {
        return password_of(text, value(bytes, at + 1, around(bytes, start)));
    }
    let queried = text[..start].ends_with(['?', '&']) && names::is_secret_in_a_query(name);
    (queried || is_secret(name)).then(|| value(bytes, at + 1, around(bytes, start)))
}

/// `"name": "value"`, `X-Api-Key: value`, `password: value`; not a sentence that ends with such a name before a colon.
fn value_after_name(text: &str, at: usize) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let (name, start) = name_before(text, at)?;
    if sentence::is_followed_by_cause(text, start, at) {
        return None;
    }
    let lower = name.to_ascii_lowercase();
    let quoted = at > 0 && is_quote(bytes[at - 1]) && bytes[at - 1] != b'`';
    if HEADERS.contains(&lower.as_str()) && !quoted {
        return Some(line(bytes, at + 1, around(bytes, start)));
    }
    // The syntax of openssl: `-passin pass:value`.
    let openssl = name == "pass" && bytes.get(at + 1).is_some_and(|next| !next.is_ascii_whitespace());
    let named = quoted || openssl || name.contains(['-', '_']) || names::is_plain(&lower);
    (named && is_secret(name)).then(|| value(bytes, at + 1, around(bytes, start).filter(|_| !quoted)))
}

/// `--name value`, also as two words of a list. [`assigned`] handles the form with `=`.
fn option(text: &str, at: usize) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    if !begins_word(bytes, at) {
        return None;
    }
    let end = (at..bytes.len()).find(|at| !is_name(bytes[*at])).unwrap_or(bytes.len());
    let name = text[at..end].trim_start_matches('-');
    let user = USERS.contains(&&text[at..end]);
    if !user && !is_secret(name) {
        return None;
    }
    let secret = value(bytes, next_word(bytes, end)?, None);
    if user { password_of(text, secret) } else { Some(secret) }
}

#[cfg(test)]
mod tests;
