//! Passwords of well-known programs in single-letter options, such as `mysql -pSECRET`, and in arguments, such as
//! `rabbitmqctl add_user me SECRET`. In other programs, the same option or argument is a port or a path, so the
//! programs of a command are tracked ([`Commands`]).

use crate::redact::forms::is_quote;
use crate::redact::scan::{around, begins_word, is_name, next_word, password_of, value};
use std::ops::Range;

/// The position of the password.
#[derive(Clone, Copy, PartialEq)]
enum ArgumentRule {
    /// In the same word.
    Attached,
    /// In the next word.
    Next,
    Either,
    /// In the same word or the next, after a user and a colon.
    Pair,
    /// In the same word or the next, after a user and a comma.
    CommaPair,
    /// A cookie in the same word or the next. A value without `=` is a file and not a cookie.
    Cookie,
    /// In the word with this number, counting words that are not options.
    Word(usize),
}

/// The words that identify a program.
#[derive(Clone, Copy)]
enum ProgramMatch {
    /// A program with this name.
    Is(&'static str),
    /// A program whose name begins with this.
    Begins(&'static str),
    /// This program, followed by this word.
    With(&'static str, &'static str),
}

use ProgramMatch::{Begins, Is, With};

/// The number of [`PROGRAMS`]: one bit for each.
const COUNT: usize = 66;

/// The programs with the option and the position of their password.
const PROGRAMS: [(ProgramMatch, u8, ArgumentRule); COUNT] = [
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
    (Is("curl"), b'E', ArgumentRule::Pair),
    (Is("curl"), b'b', ArgumentRule::Cookie),
    (Is("lftp"), b'u', ArgumentRule::CommaPair),
    (Begins("ncftp"), b'p', ArgumentRule::Either),
    (Is("cypher-shell"), b'p', ArgumentRule::Either),
    (Is("useradd"), b'p', ArgumentRule::Either),
    (Is("usermod"), b'p', ArgumentRule::Either),
    (With("openssl", "enc"), b'k', ArgumentRule::Next),
    (With("openssl", "enc"), b'K', ArgumentRule::Next),
    (With("security", "unlock-keychain"), b'p', ArgumentRule::Either),
    (Is("zip"), b'P', ArgumentRule::Either),
    (Is("unzip"), b'P', ArgumentRule::Either),
    (Is("7z"), b'p', ArgumentRule::Attached),
    (Is("7za"), b'p', ArgumentRule::Attached),
    (Is("7zr"), b'p', ArgumentRule::Attached),
    (Is("7zz"), b'p', ArgumentRule::Attached),
    (Is("rar"), b'p', ArgumentRule::Attached),
    // The option that also encrypts file names: `-hpSECRET`.
    (Is("rar"), b'h', ArgumentRule::Attached),
    (Is("unrar"), b'p', ArgumentRule::Attached),
    (Is("sqlcmd"), b'P', ArgumentRule::Either),
    (Is("bcp"), b'P', ArgumentRule::Either),
    (Is("isql"), b'P', ArgumentRule::Either),
    (Is("tsql"), b'P', ArgumentRule::Either),
    (Is("ipmitool"), b'P', ArgumentRule::Either),
    (Begins("mosquitto_"), b'P', ArgumentRule::Either),
    (Is("mqtt"), b'P', ArgumentRule::Either),
    (Is("ssh-keygen"), b'N', ArgumentRule::Either),
    (Is("ssh-keygen"), b'P', ArgumentRule::Either),
    (Begins("snmp"), b'A', ArgumentRule::Either),
    (Begins("snmp"), b'X', ArgumentRule::Either),
    // Not `snmpd`, whose `-c` is a file.
    (Is("snmpwalk"), b'c', ArgumentRule::Either),
    (Begins("snmpbulk"), b'c', ArgumentRule::Either),
    (Begins("snmpget"), b'c', ArgumentRule::Either),
    (Is("snmpset"), b'c', ArgumentRule::Either),
    (Is("snmptable"), b'c', ArgumentRule::Either),
    (Is("snmptrap"), b'c', ArgumentRule::Either),
    (Is("snmpinform"), b'c', ArgumentRule::Either),
    (Is("snmpdelta"), b'c', ArgumentRule::Either),
    (Is("snmpdf"), b'c', ArgumentRule::Either),
    (Is("snmpstatus"), b'c', ArgumentRule::Either),
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
    // With a password file, and without one.
    (Is("htpasswd"), b'b', ArgumentRule::Word(3)),
    (Is("htpasswd"), b'n', ArgumentRule::Word(2)),
];
/// The programs whose password is an argument, with the number of this argument.
const ARGUMENTS: [(ProgramMatch, usize); 14] = [
    (With("ngrok", "authtoken"), 1),
    (With("ngrok", "add-authtoken"), 1),
    (With("vault", "login"), 1),
    (With("rabbitmqctl", "add_user"), 2),
    (With("rabbitmqctl", "change_password"), 2),
    (With("rabbitmqctl", "authenticate_user"), 2),
    (With("nmcli", "password"), 1),
    (With("nmcli", "wifi-sec.psk"), 1),
    (With("nmcli", "802-11-wireless-security.psk"), 1),
    (Is("wpa_passphrase"), 2),
    (With("redis-cli", "auth"), 1),
    (With("redis-cli", "AUTH"), 1),
    // `mc alias set NAME URL KEY SECRET`
    (With("mc", "set"), 4),
    (With("aws", "aws_secret_access_key"), 1),
];
/// Programs of Oracle: the first argument with a `/` has the form `user/password@host`.
const SLASH_PAIRS: [&str; 4] = ["sqlplus", "expdp", "impdp", "sqlldr"];
/// Clients whose options look like `/p:SECRET`, and those options.
const SLASH_OPTIONS: (&str, [&[u8]; 2]) = ("freerdp", [b"/p", b"/gp"]);
/// The maximum length of the words that identify a program.
const MAX_PROGRAM_BYTES: usize = 32;
/// The maximum distance between an option and the argument that belongs to it.
const MAX_ARGUMENT_DISTANCE: usize = 512;

/// The programs that occur in the text since the last separator of commands.
#[derive(Default)]
pub(super) struct Commands {
    /// The beginning of the present word.
    word: usize,
    /// The beginning of the present argument, which ends at a blank.
    argument: usize,
    /// One bit for each of [`PROGRAMS`], set once its name was read.
    matched_programs: u128,
    /// One bit for each of [`PROGRAMS`], set once its name and its second word were read.
    matched_with_words: u128,
    /// One bit for each of [`ARGUMENTS`], set once the program's name was read.
    matched_argument_programs: u32,
    /// The number of words up to and including the password.
    words_until_password: usize,
    /// Whether the count began with the present word.
    count_started: bool,
    /// Whether an argument `user/password@host` may follow.
    slash_pair: bool,
    slash_options: bool,
}

impl Commands {
    /// Reads the next byte.
    pub(super) fn pass(&mut self, bytes: &[u8], at: usize) {
        if is_name(bytes[at]) {
            return;
        }
        if (2..=MAX_PROGRAM_BYTES).contains(&(at - self.word)) {
            self.match_word(&bytes[self.word..at]);
        }
        self.word = at + 1;
        if bytes[at].is_ascii_whitespace() {
            self.end_argument(bytes, at);
        }
        // A separator begins another command.
        if matches!(bytes[at], b';' | b'|' | b'&' | b'\n') {
            *self = Self { word: self.word, argument: self.argument, ..Self::default() };
        }
    }

    /// Counts an argument that ends before the blank at `at`.
    fn end_argument(&mut self, bytes: &[u8], at: usize) {
        let start = std::mem::replace(&mut self.argument, at + 1);
        if start >= at || std::mem::take(&mut self.count_started) {
            return;
        }
        let quoted = usize::from(is_quote(bytes[start]));
        if bytes.get(start + quoted) != Some(&b'-') {
            self.words_until_password = self.words_until_password.saturating_sub(1);
        }
    }

    /// The password that is an argument and begins at `at`.
    pub(super) fn argument(&mut self, bytes: &[u8], at: usize) -> Option<Range<usize>> {
        if !(self.words_until_password == 1 || self.slash_pair)
            || at != self.argument
            || !begins_word(bytes, at)
        {
            return None;
        }
        if bytes[at] == b'-' {
            return None;
        }
        let word = value(bytes, at, around(bytes, at));
        let text = &bytes[word.clone()];
        if text.is_empty() {
            return None;
        }
        if self.slash_pair {
            // Only the first argument is examined.
            self.slash_pair = false;
            let quoted = usize::from(is_quote(text[0]));
            let slash = text.iter().position(|byte| *byte == b'/').filter(|slash| *slash > quoted)?;
            let end = text.iter().position(|byte| *byte == b'@').filter(|end| *end > slash);
            return Some(word.start + quoted..end.map_or(word.end, |end| word.start + end));
        }
        // A setting such as `username=me` in `vault login username=me`.
        let assigned = text.iter().position(|byte| !is_name(*byte)).filter(|end| text[*end] == b'=');
        let is_setting = assigned.is_some_and(|end| text.get(end + 1).is_some_and(|next| *next != b'='));
        (!is_setting).then_some(word)
    }

    /// The password after the colon at `at`, as in `/p:SECRET`.
    pub(super) fn slash_option(&self, bytes: &[u8], at: usize) -> Option<Range<usize>> {
        if !self.slash_options {
            return None;
        }
        let (_, options) = SLASH_OPTIONS;
        let option = options.iter().find(|option| bytes[..at].ends_with(option))?;
        let start = at - option.len();
        begins_word(bytes, start).then(|| value(bytes, at + 1, around(bytes, start)))
    }

    fn match_word(&mut self, word: &[u8]) {
        for (nth, (program, ..)) in PROGRAMS.iter().enumerate() {
            let bit = 1 << nth;
            match program {
                Is(name) if word == name.as_bytes() => self.matched_with_words |= bit,
                Begins(name) if word.starts_with(name.as_bytes()) => self.matched_with_words |= bit,
                With(name, _) if word == name.as_bytes() => self.matched_programs |= bit,
                With(_, then) if self.matched_programs & bit != 0 && word == then.as_bytes() => {
                    self.matched_with_words |= bit;
                }
                _ => {}
            }
        }
        for (nth, (program, argument)) in ARGUMENTS.iter().enumerate() {
            let bit = 1 << nth;
            let begins = match program {
                Is(name) => word == name.as_bytes(),
                Begins(name) => word.starts_with(name.as_bytes()),
                With(name, then) => {
                    self.matched_argument_programs |= if word == name.as_bytes() { bit } else { 0 };
                    self.matched_argument_programs & bit != 0 && word == then.as_bytes()
                }
            };
            if begins {
                (self.words_until_password, self.count_started) = (*argument, true);
            }
        }
        self.slash_pair |= SLASH_PAIRS.iter().any(|name| word == name.as_bytes());
        self.slash_options |= word.ends_with(SLASH_OPTIONS.0.as_bytes());
    }

    /// The password after an option at `at`, if a preceding program has such an option.
    pub(super) fn option(&self, text: &str, at: usize) -> Option<Range<usize>> {
        let bytes = text.as_bytes();
        if self.matched_with_words == 0 || !begins_word(bytes, at) {
            return None;
        }
        let mut known =
            PROGRAMS.iter().enumerate().filter(|(nth, _)| self.matched_with_words & (1 << nth) != 0);
        let of = |letter: u8, rule: ArgumentRule| match rule {
            ArgumentRule::Word(_) => flags(bytes, at).contains(&letter),
            _ => bytes.get(at + 1) == Some(&letter),
        };
        let (_, (_, _, rule)) = known.rfind(|(_, (_, letter, rule))| of(*letter, *rule))?;
        let end = at + 2;
        let ends = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b',' | b']');
        let closes = around(bytes, at).filter(|quote| at > 0 && bytes[at - 1] == *quote);
        let attached = bytes.get(end).is_some_and(|byte| !ends(byte)) && bytes.get(end).copied() != closes;
        match rule {
            ArgumentRule::Word(nth) => nth_argument(bytes, at, *nth),
            ArgumentRule::Pair | ArgumentRule::CommaPair | ArgumentRule::Cookie => {
                let argument = if attached {
                    value(bytes, end, closes)
                } else {
                    value(bytes, next_word(bytes, end)?, None)
                };
                match rule {
                    ArgumentRule::Pair => password_of(text, argument),
                    ArgumentRule::CommaPair => bytes[argument.clone()].contains(&b',').then_some(argument),
                    _ => bytes[argument.clone()].contains(&b'=').then_some(argument),
                }
            }
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
