//! Finds the beginnings and ends of words and quoted values in a text.

use crate::redact::forms::{is_quote, pem, scheme};
use std::ops::Range;

/// The maximum length of a name.
pub(super) const MAX_NAME_BYTES: usize = 128;
/// The maximum length of a user name. A longer one is masked as well.
const MAX_USER_BYTES: usize = 256;

pub(super) fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
}

/// The secret part of a user option; `None` for a user alone, or for a user and a group by number.
pub(super) fn password_of(text: &str, said: Range<usize>) -> Option<Range<usize>> {
    if said.len() > MAX_USER_BYTES {
        return Some(said);
    }
    let (_, password) = text[said.clone()].split_once(':')?;
    let number = password.trim_end_matches(['"', '\'']).bytes().all(|byte| byte.is_ascii_digit());
    (!number).then_some(said)
}

/// Whether a word of a command line or of a list begins at `at`.
pub(super) fn begins_word(bytes: &[u8], at: usize) -> bool {
    at == 0
        || bytes[at - 1].is_ascii_whitespace()
        || is_quote(bytes[at - 1])
        || matches!(bytes[at - 1], b'[' | b'(' | b',')
}

/// The beginning of the word after an option that ends at `end`, unless it is an option as well.
pub(super) fn next_word(bytes: &[u8], end: usize) -> Option<usize> {
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

/// The quotation mark around or before the word at `start`.
pub(super) fn around(bytes: &[u8], start: usize) -> Option<u8> {
    let least = start.saturating_sub(MAX_NAME_BYTES);
    let before =
        (least..start).rev().map(|at| bytes[at]).find(|byte| byte.is_ascii_whitespace() || is_quote(*byte));
    before.filter(|byte| is_quote(*byte))
}

/// The value from `start` on, without leading blanks: up to its closing quotation mark, or one word of a shell.
pub(super) fn value(bytes: &[u8], start: usize, within: Option<u8>) -> Range<usize> {
    let blank = |at: &usize| !matches!(bytes[*at], b' ' | b'\t');
    let start = (start..bytes.len()).find(blank).unwrap_or(bytes.len());
    if let Some(key) = pem(bytes, start) {
        return start..key.end;
    }
    let mut at = start + scheme(&bytes[start..]);
    while at < bytes.len() {
        match bytes[at] {
            byte if Some(byte) == within && at > start => break,
            byte if Some(byte) == within && !is_opening(bytes, at) => break,
            b'`' if at > start => break,
            byte if is_quote(byte) => {
                at = closing(bytes, at);
                // This is a separator, or the end of a list or a table.
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

/// Whether the quotation mark opens a value, as in `password="a"`.
fn is_opening(bytes: &[u8], at: usize) -> bool {
    bytes
        .get(at + 1)
        .is_some_and(|byte| !byte.is_ascii_whitespace() && !matches!(byte, b',' | b']' | b'}' | b')'))
}

/// The position after the closing quotation mark; TOML also has triple ones.
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

/// The rest of a line, or of the quotation around it.
pub(super) fn line(bytes: &[u8], start: usize, within: Option<u8>) -> Range<usize> {
    let start = (start..bytes.len()).find(|at| bytes[*at] != b' ').unwrap_or(bytes.len());
    let ends = |byte: u8| byte == b'\n' || Some(byte) == within;
    start..(start..bytes.len()).find(|at| ends(bytes[*at])).unwrap_or(bytes.len())
}
