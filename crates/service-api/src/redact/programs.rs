//! Options of a letter by which well-known programs take a password, such as `mysql -pSECRET`. Of other programs the same letter
//! means a port or a path. Which programs a command names is kept in mind as one goes along ([`Commands`]).

use super::{around, begins_word, is_name, is_quote, next_word, password_of, value};
use std::ops::Range;

/// Where the password stands.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    /// In the same word.
    Attached,
    /// In the next word.
    Next,
    Either,
    /// In the same word, behind a user.
    Pair,
    /// It is the last of so many words that are no options.
    Word(usize),
}

/// Which word of a command tells.
#[derive(Clone, Copy)]
enum Told {
    /// The program is called so.
    Is(&'static str),
    /// Its name begins so.
    Begins(&'static str),
    /// It is called so, and this word follows.
    With(&'static str, &'static str),
}

use Told::{Begins, Is, With};

/// A program, and its option.
const PROGRAMS: [(Told, u8, Way); 44] = [
    (Begins("mysql"), b'p', Way::Attached),
    (Begins("mariadb"), b'p', Way::Attached),
    (Begins("sshpass"), b'p', Way::Either),
    (Begins("redis-cli"), b'a', Way::Next),
    (Begins("valkey-cli"), b'a', Way::Next),
    (Begins("keydb-cli"), b'a', Way::Next),
    (Begins("mongo"), b'p', Way::Either),
    (Begins("ldap"), b'w', Way::Either),
    (Begins("smbclient"), b'U', Way::Either),
    (Begins("rpcclient"), b'U', Way::Either),
    (Is("cqlsh"), b'p', Way::Either),
    (Is("curl"), b'u', Way::Pair),
    (Is("curl"), b'U', Way::Pair),
    (Is("zip"), b'P', Way::Either),
    (Is("unzip"), b'P', Way::Either),
    (Is("7z"), b'p', Way::Attached),
    (Is("7za"), b'p', Way::Attached),
    (Is("7zr"), b'p', Way::Attached),
    (Is("7zz"), b'p', Way::Attached),
    (Is("rar"), b'p', Way::Attached),
    (Is("unrar"), b'p', Way::Attached),
    (Is("sqlcmd"), b'P', Way::Either),
    (Is("bcp"), b'P', Way::Either),
    (Is("isql"), b'P', Way::Either),
    (Is("tsql"), b'P', Way::Either),
    (Is("ipmitool"), b'P', Way::Either),
    (Begins("mosquitto_"), b'P', Way::Either),
    (Is("ssh-keygen"), b'N', Way::Either),
    (Is("ssh-keygen"), b'P', Way::Either),
    (Begins("snmp"), b'A', Way::Either),
    (Begins("snmp"), b'X', Way::Either),
    (Is("psexec"), b'p', Way::Either),
    (With("docker", "login"), b'p', Way::Either),
    (With("podman", "login"), b'p', Way::Either),
    (With("nerdctl", "login"), b'p', Way::Either),
    (With("buildah", "login"), b'p', Way::Either),
    (With("skopeo", "login"), b'p', Way::Either),
    (With("helm", "login"), b'p', Way::Either),
    (With("oras", "login"), b'p', Way::Either),
    (With("oc", "login"), b'p', Way::Either),
    (With("az", "login"), b'p', Way::Either),
    (With("cf", "login"), b'p', Way::Either),
    // With a file, without one.
    (Is("htpasswd"), b'b', Way::Word(3)),
    (Is("htpasswd"), b'n', Way::Word(2)),
];
/// The longest of their names, and what may follow on one.
const LONGEST: usize = 32;
/// How far the words behind an option may reach that one of them is looked for in.
const FARTHEST: usize = 512;

/// Which programs the present command names: what was read so far, and not what lies before something that separates two.
#[derive(Default)]
pub(super) struct Commands {
    /// Where the present word began.
    word: usize,
    /// One bit for each of [`PROGRAMS`]: it is named, and whatever else it takes is there.
    named: u64,
    told: u64,
}

impl Commands {
    /// Reads one more byte.
    pub(super) fn pass(&mut self, bytes: &[u8], at: usize) {
        if is_name(bytes[at]) {
            return;
        }
        if (2..=LONGEST).contains(&(at - self.word)) {
            self.note(&bytes[self.word..at]);
        }
        self.word = at + 1;
        // The same command does not go on behind what separates two.
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

    /// The password behind an option at `at`, if a program stands before it that takes one so.
    pub(super) fn option(&self, text: &str, at: usize) -> Option<Range<usize>> {
        let bytes = text.as_bytes();
        if self.told == 0 || !begins_word(bytes, at) {
            return None;
        }
        let mut known = PROGRAMS.iter().enumerate().filter(|(nth, _)| self.told & (1 << nth) != 0);
        let of = |letter: u8, way: Way| match way {
            Way::Word(_) => flags(bytes, at).contains(&letter),
            _ => bytes.get(at + 1) == Some(&letter),
        };
        let (_, (_, _, way)) = known.rfind(|(_, (_, letter, way))| of(*letter, *way))?;
        let end = at + 2;
        let ends = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b',' | b']');
        let closes = around(bytes, at).filter(|quote| at > 0 && bytes[at - 1] == *quote);
        let attached = bytes.get(end).is_some_and(|byte| !ends(byte)) && bytes.get(end).copied() != closes;
        match way {
            Way::Word(nth) => word(bytes, at, *nth),
            Way::Pair if attached => password_of(text, value(bytes, end, closes)),
            Way::Attached | Way::Either if attached => Some(value(bytes, end, closes)),
            Way::Next | Way::Either if !attached => Some(value(bytes, next_word(bytes, end)?, None)),
            _ => None,
        }
    }
}

/// The letters of an option such as `-nb`.
fn flags(bytes: &[u8], at: usize) -> &[u8] {
    let rest = &bytes[at + 1..bytes.len().min(at + 9)];
    &rest[..rest.iter().position(|byte| !byte.is_ascii_alphanumeric()).unwrap_or(rest.len())]
}

/// The word of this number that is no option, in the command that goes on at `from`.
fn word(bytes: &[u8], from: usize, nth: usize) -> Option<Range<usize>> {
    let farthest = bytes.len().min(from + FARTHEST);
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
