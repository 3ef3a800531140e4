//! [`redact`]: passwords, tokens and other secrets in a text become `***`, whatever the text is: a command line, a line of
//! TOML or JSON, a URL, a header, an error.
//!
//! It goes by what stands before a value: a key or an option whose name looks like that of a secret, the userinfo of a URL,
//! `Authorization`; and by what a few programs call theirs. When in doubt it takes more, not less. A secret that stands alone
//! cannot be told from other words.

mod programs;

use std::borrow::Cow;
use std::ops::Range;

/// What stands in place of a secret.
pub const MASK: &str = "***";

/// Words of a name, whole: what it names is secret.
const SECRET: [&str; 26] = [
    "password",
    "passwd",
    "passphrase",
    "passcode",
    "pass",
    "pwd",
    "secret",
    "secrets",
    "token",
    "tokens",
    "key",
    "keys",
    "apikey",
    "credential",
    "credentials",
    "cred",
    "creds",
    "dsn",
    "auth",
    "authorization",
    "bearer",
    "jwt",
    "cookie",
    "pat",
    "otp",
    "signature",
];
/// The same, also within a longer word.
const WITHIN: [&str; 9] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "credential",
    "apikey",
    "privatekey",
    "accesskey",
];
/// A name that ends so names where a secret is, or something about it.
const ABOUT: [&str; 14] = [
    "file",
    "files",
    "path",
    "dir",
    "directory",
    "id",
    "name",
    "type",
    "ttl",
    "size",
    "length",
    "count",
    "timeout",
    "algorithm",
];
/// The same in the query of a URL, where they are no other words: who has such a URL may do what it says.
const IN_QUERY: [&str; 1] = ["sig"];
/// Names that are words of every day, and name a secret also before a colon.
const PLAIN: [&str; 6] = ["password", "passwd", "passphrase", "secret", "credential", "credentials"];
/// Headers whose value is secret to the end of the line.
const HEADERS: [&str; 4] = ["authorization", "proxy-authorization", "cookie", "set-cookie"];
/// A value that is shorter is no secret, and would be found in every text.
const SHORTEST_KNOWN: usize = 4;
/// How far a name may reach back.
const LONGEST_NAME: usize = 128;

/// The text without its secrets.
pub fn redact(text: &str) -> Cow<'_, str> {
    let secrets = secrets(text);
    if secrets.is_empty() { Cow::Borrowed(text) } else { Cow::Owned(mask(text, &secrets)) }
}

/// The text without its secrets, and without what is secret in an environment, wherever it stands.
pub fn without(text: &str, environment: &[(String, String)]) -> String {
    let known = environment.iter().filter(|(name, value)| is_secret(name) && value.len() >= SHORTEST_KNOWN);
    redact(&known.fold(text.to_owned(), |text, (_, value)| text.replace(value, MASK))).into_owned()
}

/// Where the secrets of a text are: byte ranges, in order, none within another.
pub fn secrets(text: &str) -> Vec<Range<usize>> {
    let bytes = text.as_bytes();
    let mut found: Vec<Range<usize>> = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let secret = match bytes[at] {
            b':' if bytes[at..].starts_with(b"://") => userinfo(bytes, at + 3),
            b'=' => assigned(text, at),
            b':' => told(text, at),
            b'-' => option(text, at).or_else(|| programs::option(text, at)),
            b'@' => pair(bytes, at),
            _ => None,
        };
        match secret.filter(|secret| !secret.is_empty()) {
            Some(secret) => {
                at = secret.end.max(at + 1);
                found.push(secret);
            }
            None => at += 1,
        }
    }
    joined(found)
}

/// The text with [`MASK`] in these places.
pub fn mask(text: &str, secrets: &[Range<usize>]) -> String {
    let (mut masked, mut from) = (String::with_capacity(text.len()), 0);
    for secret in secrets {
        masked.push_str(&text[from..secret.start]);
        masked.push_str(MASK);
        from = secret.end;
    }
    masked + &text[from..]
}

/// Where the byte `at` of a text is, in characters, once these places are masked. Within one: its beginning.
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

/// Ranges in order, with those that touch made one.
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

/// Whether a key, a variable or an option of this name has a secret for a value.
pub fn is_secret(name: &str) -> bool {
    let words = words(name);
    let Some(last) = words.last() else { return false };
    // The directory that a shell is in.
    if ABOUT.contains(&last.as_str()) || name == "PWD" || name == "OLDPWD" {
        return false;
    }
    let lower = words.concat();
    words.iter().any(|word| SECRET.contains(&word.as_str())) || WITHIN.iter().any(|word| lower.contains(word))
}

/// The words of `DB_PASSWORD`, `api-key`, `accessToken`, in lower case.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut was_lower = false;
    for character in name.chars() {
        let begins = character.is_ascii_uppercase() && was_lower;
        if begins || !character.is_ascii_alphanumeric() {
            words.push(String::new());
        }
        if let (true, Some(word)) = (character.is_ascii_alphanumeric(), words.last_mut()) {
            word.push(character.to_ascii_lowercase());
        }
        was_lower = character.is_ascii_lowercase() || character.is_ascii_digit();
    }
    words.retain(|word| !word.is_empty());
    words
}

fn is_quote(byte: u8) -> bool {
    matches!(byte, b'"' | b'\'' | b'`')
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
}

/// The name that ends before `end`, perhaps in quotes, and where it begins.
fn name_before(text: &str, end: usize) -> Option<(&str, usize)> {
    let bytes = text.as_bytes();
    let mut end = end;
    while end > 0 && matches!(bytes[end - 1], b' ' | b'\t') {
        end -= 1;
    }
    while end > 0 && (is_quote(bytes[end - 1]) || bytes[end - 1] == b'\\') {
        end -= 1;
    }
    let least = end.saturating_sub(LONGEST_NAME);
    let start = (least..end).rev().find(|at| !is_name(bytes[*at])).map_or(least, |at| at + 1);
    (start < end).then(|| (&text[start..end], start))
}

/// `name=value`, `name = "value"`.
fn assigned(text: &str, at: usize) -> Option<Range<usize>> {
    let (name, start) = name_before(text, at)?;
    let queried =
        text[..start].ends_with(['?', '&']) && IN_QUERY.contains(&name.to_ascii_lowercase().as_str());
    (queried || is_secret(name)).then(|| value(text.as_bytes(), at + 1, around(text.as_bytes(), start)))
}

/// `"name": "value"`, `X-Api-Key: value`, `password: value`; not what only ends in such a word, as sentences do.
fn told(text: &str, at: usize) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let (name, start) = name_before(text, at)?;
    let lower = name.to_ascii_lowercase();
    let quoted = at > 0 && is_quote(bytes[at - 1]) && bytes[at - 1] != b'`';
    if HEADERS.contains(&lower.as_str()) && !quoted {
        return Some(line(bytes, at + 1, around(bytes, start)));
    }
    let named = quoted || name.contains(['-', '_']) || PLAIN.contains(&lower.as_str());
    (named && is_secret(name)).then(|| value(bytes, at + 1, around(bytes, start).filter(|_| !quoted)))
}

/// `--name value`, also as two words of a list. With `=` it is seen there.
fn option(text: &str, at: usize) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    if !begins_word(bytes, at) {
        return None;
    }
    let end = (at..bytes.len()).find(|at| !is_name(bytes[*at])).unwrap_or(bytes.len());
    let name = text[at..end].trim_start_matches('-');
    let user = matches!(&text[at..end], "-u" | "--user" | "--userpwd" | "-U" | "--proxy-user");
    if !user && !is_secret(name) {
        return None;
    }
    let next = next_word(bytes, end)?;
    let secret = value(bytes, next, None);
    // A user alone, or a user and a group by number, is no secret.
    let both = text[secret.clone()].split_once(':');
    let pair = both.is_some_and(|(_, pass)| {
        !pass.trim_end_matches(['"', '\'']).bytes().all(|byte| byte.is_ascii_digit())
    });
    (!user || pair).then_some(secret)
}

/// Whether a word begins here, of a command line or of a list.
fn begins_word(bytes: &[u8], at: usize) -> bool {
    at == 0
        || bytes[at - 1].is_ascii_whitespace()
        || is_quote(bytes[at - 1])
        || matches!(bytes[at - 1], b'[' | b'(' | b',')
}

/// Where the word behind an option begins that ends at `end`, unless it is an option as well.
fn next_word(bytes: &[u8], end: usize) -> Option<usize> {
    let mut next = end;
    while next < bytes.len()
        && (bytes[next].is_ascii_whitespace()
            || (is_quote(bytes[next]) && next == end)
            || bytes[next] == b',')
    {
        next += 1;
    }
    let apart = next > end && !bytes[end..next].iter().all(|byte| is_quote(*byte));
    (apart && bytes.get(next).is_some_and(|byte| *byte != b'-')).then_some(next)
}

/// `scheme://userinfo@host`. A password may have characters in it that should have been encoded.
fn userinfo(bytes: &[u8], start: usize) -> Option<Range<usize>> {
    let ends = |byte: &u8| byte.is_ascii_whitespace() || is_quote(*byte) || matches!(byte, b'<' | b'>');
    let rest = &bytes[start..];
    let rest = &rest[..rest.iter().position(ends).unwrap_or(rest.len())];
    let authority =
        &rest[..rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len())];
    let last = |part: &[u8]| part.iter().rposition(|byte| *byte == b'@');
    let port = authority.iter().position(|byte| *byte == b':').map(|at| &authority[at + 1..]);
    // A number may be a port, and then what follows the next `/` is a path.
    let number = |port: &[u8]| {
        port.iter().all(u8::is_ascii_digit) && matches!(rest.get(authority.len()), None | Some(b'/'))
    };
    let odd = port.is_some_and(|port| !authority.starts_with(b"[") && !number(port));
    let end = last(authority).or_else(|| if odd { last(rest) } else { None })?;
    Some(start..start + end)
}

/// `user:password@host` without a scheme.
fn pair(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    let ends = |byte: u8| {
        byte.is_ascii_whitespace() || is_quote(byte) || matches!(byte, b'/' | b'=' | b',' | b'(' | b'[')
    };
    let start = (0..at).rev().find(|at| ends(bytes[*at])).map_or(0, |at| at + 1);
    let digest = bytes[at..].starts_with(b"@sha256:");
    let colon = bytes[start..at].iter().position(|byte| *byte == b':')?;
    (!digest && colon > 0 && start + colon + 1 < at).then_some(start..at)
}

/// The quote that the word at `start` begins with, or follows upon.
fn around(bytes: &[u8], start: usize) -> Option<u8> {
    let least = start.saturating_sub(LONGEST_NAME);
    let before =
        (least..start).rev().map(|at| bytes[at]).find(|byte| byte.is_ascii_whitespace() || is_quote(*byte));
    before.filter(|byte| is_quote(*byte))
}

/// A value from `start` on, blanks before it left out: to the end of the quote that it stands in, else one word as a shell
/// would take it.
fn value(bytes: &[u8], start: usize, within: Option<u8>) -> Range<usize> {
    let blank = |at: &usize| !matches!(bytes[*at], b' ' | b'\t');
    let start = (start..bytes.len()).find(blank).unwrap_or(bytes.len());
    let mut at = start;
    while at < bytes.len() {
        match bytes[at] {
            byte if Some(byte) == within && at > start => break,
            byte if Some(byte) == within && !is_opening(bytes, at) => break,
            b'`' if at > start => break,
            byte if is_quote(byte) => {
                at = closing(bytes, at);
                // What a list or a table goes on with.
                if matches!(bytes.get(at), Some(b',' | b']' | b'}' | b')')) {
                    break;
                }
            }
            b'\\' => at += 2,
            byte if within.is_none() && byte.is_ascii_whitespace() => break,
            b'\n' => break,
            _ => at += 1,
        }
    }
    start..at.min(bytes.len())
}

/// Whether something follows the quote that a value begins with, as `password="a"` has it within no quote.
fn is_opening(bytes: &[u8], at: usize) -> bool {
    bytes
        .get(at + 1)
        .is_some_and(|byte| !byte.is_ascii_whitespace() && !matches!(byte, b',' | b']' | b'}' | b')'))
}

/// Behind the quote that closes the one at `start`; three of them are one in TOML.
fn closing(bytes: &[u8], start: usize) -> usize {
    let quote = bytes[start];
    let triple = [quote; 3];
    if quote != b'`' && bytes[start..].starts_with(&triple) {
        let rest = bytes[start + 3..].windows(3).position(|three| three == triple);
        return rest.map_or(bytes.len(), |end| start + 3 + end + 3);
    }
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if quote == b'"' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// The rest of a line, or of the quote that it stands in.
fn line(bytes: &[u8], start: usize, within: Option<u8>) -> Range<usize> {
    let start = (start..bytes.len()).find(|at| bytes[*at] != b' ').unwrap_or(bytes.len());
    let ends = |byte: u8| byte == b'\n' || Some(byte) == within;
    start..(start..bytes.len()).find(|at| ends(bytes[*at])).unwrap_or(bytes.len())
}

#[cfg(test)]
mod tests;
