//! Options of a letter by which well-known programs take a password, such as `mysql -pSECRET`. Of other programs the same letter
//! means a port or a path.

use super::{around, begins_word, is_name, next_word, value};
use std::ops::Range;

/// Where the password stands.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    /// In the same word.
    Attached,
    /// In the next word.
    Next,
    Either,
}

/// How the name of a program begins, and its option.
const PROGRAMS: [(&str, u8, Way); 9] = [
    ("mysql", b'p', Way::Attached),
    ("mariadb", b'p', Way::Attached),
    ("sshpass", b'p', Way::Either),
    ("redis-cli", b'a', Way::Next),
    ("valkey-cli", b'a', Way::Next),
    ("keydb-cli", b'a', Way::Next),
    ("mongo", b'p', Way::Either),
    ("ldap", b'w', Way::Either),
    ("smbclient", b'U', Way::Either),
];
/// How far back a program may stand.
const LONGEST_COMMAND: usize = 1024;

/// The password behind an option at `at`, if a program stands before it that takes one so.
pub(super) fn option(text: &str, at: usize) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let letter = *bytes.get(at + 1)?;
    let known = || PROGRAMS.into_iter().filter(|(_, option, _)| *option == letter);
    if !begins_word(bytes, at) || known().next().is_none() {
        return None;
    }
    let least = at.saturating_sub(LONGEST_COMMAND);
    // Of the same command: not before what separates two.
    let start = (least..at).rev().find(|at| matches!(bytes[*at], b';' | b'|' | b'&' | b'\n'));
    let words = bytes[start.unwrap_or(least)..at].split(|byte| !is_name(*byte));
    let (_, _, way) =
        known().find(|(program, ..)| words.clone().any(|word| word.starts_with(program.as_bytes())))?;
    let end = at + 2;
    let attached =
        bytes.get(end).is_some_and(|byte| !byte.is_ascii_whitespace() && !matches!(byte, b',' | b']'));
    let closes = around(bytes, at).filter(|quote| at > 0 && bytes[at - 1] == *quote);
    if attached && bytes.get(end).copied() != closes {
        return (way != Way::Next).then(|| value(bytes, end, closes));
    }
    let next = (way != Way::Attached).then(|| next_word(bytes, end))??;
    Some(value(bytes, next, None))
}
