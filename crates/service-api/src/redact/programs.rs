//! Single-letter password options of well-known programs, such as `mysql -pSECRET`. For other programs the same letter
//! means a port or a path, so the programs of a command are tracked ([`Commands`]).

use crate::redact::forms::is_quote;
use crate::redact::scan::{around, begins_word, is_name, next_word, password_of, value};
use std::ops::Range;

/// Where the password stands.
#[derive(Clone, Copy, PartialEq)]
enum ArgumentRule {
    /// In the same word.
    Attached,
    /// In the next word.
    Next,
    Either,
    /// In the same word, after a user.
    Pair,
    /// In the last of this many words that are not options.
    Word(usize),
}

/// The word that identifies a program.
#[derive(Clone, Copy)]
enum ProgramMatch {
    /// The program is called so.
    Is(&'static str),
    /// Its name begins so.
    Begins(&'static str),
    /// This program, followed by this word.
    With(&'static str, &'static str),
}

use ProgramMatch::{Begins, Is, With};

/// A program, and its option.
const PROGRAMS: [(ProgramMatch, u8, ArgumentRule); 44] = [
    (Begins("mysql"), b'p', ArgumentRule::Attached),
    (Begins("mariadb"), b'p', ArgumentRule::Attached),
    (Begins("sshpass"), b'p', ArgumentRule::Either),
    (Begins("redis-cli"), b'a', ArgumentRule::Next),
    (Begins("valkey-cli"), b'a', ArgumentRule::Next),
    (Begins("keydb-cli"), b'a', ArgumentRule::Next),
    (Begins("mongo"), b'p', ArgumentRule::Either),
    (Begins("ldap"), b'w', ArgumentRule::Either),
    (Begins("smbclient"), b'U', ArgumentRule::Either),
    (Begins("rpcclient"), b'U', ArgumentRule::Either),
    (Is("cqlsh"), b'p', ArgumentRule::Either),
    (Is("curl"), b'u', ArgumentRule::Pair),
    (Is("curl"), b'U', ArgumentRule::Pair),
    (Is("zip"), b'P', ArgumentRule::Either),
    (Is("unzip"), b'P', ArgumentRule::Either),
    (Is("7z"), b'p', ArgumentRule::Attached),
    (Is("7za"), b'p', ArgumentRule::Attached),
    (Is("7zr"), b'p', ArgumentRule::Attached),
    (Is("7zz"), b'p', ArgumentRule::Attached),
    (Is("rar"), b'p', ArgumentRule::Attached),
    (Is("unrar"), b'p', ArgumentRule::Attached),
    (Is("sqlcmd"), b'P', ArgumentRule::Either),
    (Is("bcp"), b'P', ArgumentRule::Either),
    (Is("isql"), b'P', ArgumentRule::Either),
    (Is("tsql"), b'P', ArgumentRule::Either),
    (Is("ipmitool"), b'P', ArgumentRule::Either),
    (Begins("mosquitto_"), b'P', ArgumentRule::Either),
    (Is("ssh-keygen"), b'N', ArgumentRule::Either),
    (Is("ssh-keygen"), b'P', ArgumentRule::Either),
    (Begins("snmp"), b'A', ArgumentRule::Either),
    (Begins("snmp"), b'X', ArgumentRule::Either),
    (Is("psexec"), b'p', ArgumentRule::Either),
    (With("docker", "login"), b'p', ArgumentRule::Either),
    (With("podman", "login"), b'p', ArgumentRule::Either),
    (With("nerdctl", "login"), b'p', ArgumentRule::Either),
    (With("buildah", "login"), b'p', ArgumentRule::Either),
    (With("skopeo", "login"), b'p', ArgumentRule::Either),
    (With("helm", "login"), b'p', ArgumentRule::Either),
    (With("oras", "login"), b'p', ArgumentRule::Either),
    (With("oc", "login"), b'p', ArgumentRule::Either),
    (With("az", "login"), b'p', ArgumentRule::Either),
    (With("cf", "login"), b'p', ArgumentRule::Either),
    // With a file, without one.
    (Is("htpasswd"), b'b', ArgumentRule::Word(3)),
    (Is("htpasswd"), b'n', ArgumentRule::Word(2)),
];
/// The maximum length of their names and following words.
const MAX_PROGRAM_BYTES: usize = 32;
/// The maximum distance between an option and the argument that belongs to it.
const MAX_ARGUMENT_DISTANCE: usize = 512;

/// The programs that the present command names, in the part that was read since the last separator.
#[derive(Default)]
pub(super) struct Commands {
    /// The beginning of the present word.
    word: usize,
    /// One bit for each of [`PROGRAMS`]: it is named, with its further words.
    named: u64,
    told: u64,
}

impl Commands {
    /// Reads the next byte.
    pub(super) fn pass(&mut self, bytes: &[u8], at: usize) {
        if is_name(bytes[at]) {
            return;
        }
        if (2..=MAX_PROGRAM_BYTES).contains(&(at - self.word)) {
            self.note(&bytes[self.word..at]);
        }
        self.word = at + 1;
        // A separator begins another command.
        if matches!(bytes[at], b';' | b'|' | b'&' | b'\n') {
            (self.named, self.told) = (0, 0);
        }
    }

    fn note(&mut self, word: &[u8]) {
        for (nth, (told, ..)) in PROGRAMS.iter().enumerate() {
            let bit = 1 << nth;
            match told {
                Is(name) if word == name.as_bytes() => self.told |= bit,
                Begins(name) if word.starts_with(name.as_bytes()) => self.told |= bit,
                With(name, _) if word == name.as_bytes() => self.named |= bit,
                With(_, then) if self.named & bit != 0 && word == then.as_bytes() => self.told |= bit,
                _ => {}
            }
        }
    }

    /// The password after an option at `at`, if a preceding program has such an option.
    pub(super) fn option(&self, text: &str, at: usize) -> Option<Range<usize>> {
        let bytes = text.as_bytes();
        if self.told == 0 || !begins_word(bytes, at) {
            return None;
        }
        let mut known = PROGRAMS.iter().enumerate().filter(|(nth, _)| self.told & (1 << nth) != 0);
        let of = |letter: u8, way: ArgumentRule| match way {
            ArgumentRule::Word(_) => flags(bytes, at).contains(&letter),
            _ => bytes.get(at + 1) == Some(&letter),
        };
        let (_, (_, _, way)) = known.rfind(|(_, (_, letter, way))| of(*letter, *way))?;
        let end = at + 2;
        let ends = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b',' | b']');
        let closes = around(bytes, at).filter(|quote| at > 0 && bytes[at - 1] == *quote);
        let attached = bytes.get(end).is_some_and(|byte| !ends(byte)) && bytes.get(end).copied() != closes;
        match way {
            ArgumentRule::Word(nth) => nth_argument(bytes, at, *nth),
            ArgumentRule::Pair if attached => password_of(text, value(bytes, end, closes)),
            ArgumentRule::Attached | ArgumentRule::Either if attached => Some(value(bytes, end, closes)),
            ArgumentRule::Next | ArgumentRule::Either if !attached => {
                Some(value(bytes, next_word(bytes, end)?, None))
            }
            _ => None,
        }
    }
}

/// The letters of an option such as `-nb`.
fn flags(bytes: &[u8], at: usize) -> &[u8] {
    let rest = &bytes[at + 1..bytes.len().min(at + 9)];
    &rest[..rest.iter().position(|byte| !byte.is_ascii_alphanumeric()).unwrap_or(rest.len())]
}

/// The `nth` word that is not an option, in the command after `from`.
fn nth_argument(bytes: &[u8], from: usize, nth: usize) -> Option<Range<usize>> {
    let farthest = bytes.len().min(from + MAX_ARGUMENT_DISTANCE);
    let between = |byte: u8| byte.is_ascii_whitespace() || is_quote(byte) || byte == b',';
    let ends = |byte: u8| matches!(byte, b';' | b'|' | b'&' | b'\n' | b'>' | b']');
    let (mut at, mut left) = (from, nth);
    loop {
        at = (at..farthest).find(|at| !between(bytes[*at]))?;
        if ends(bytes[at]) {
            return None;
        }
        left -= usize::from(bytes[at] != b'-');
        let ended = |most: usize| (at..most).find(|at| between(bytes[*at])).unwrap_or(most);
        if left == 0 {
            return Some(at..ended(bytes.len()));
        }
        at = ended(farthest);
    }
}
