//! Env files: `NAME=value` lines in the syntax of docker compose and the dotenv libraries. Variables are not expanded.
//!
//! An ambiguous line is an error with its line number. No error shows a value, because it may be a secret.

use service_api::ownership::read_regular;
use service_api::trust::MAX_FILE_BYTES;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// The maximum number of problems in an error. In a file of another format, every line is a problem.
const MAX_SHOWN_COUNT: usize = 5;

/// One variable of an env file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Variable {
    /// `NAME=value`.
    Set {
        /// The name of the variable.
        name: String,
        /// The value, without quotes and escapes.
        value: String,
        /// Whether a shell would expand a `$` in the value, which has no single quotes.
        expandable: bool,
    },
    /// `NAME` alone: the value is the daemon's, if the daemon has one.
    Inherited(String),
}

/// The error of one line.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{line}: {why}")]
pub struct InvalidLine {
    line: usize,
    why: &'static str,
}

/// Why an env file cannot be used.
#[derive(Debug, Error)]
pub enum EnvFileError {
    /// The file cannot be read.
    #[error("its env_file `{}` cannot be read: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        error: io::Error,
    },
    /// Lines of the file are invalid.
    #[error("{}", list(lines, &format!("{}:", path.display())))]
    Lines {
        /// The file.
        path: PathBuf,
        /// The invalid lines, at least one.
        lines: Vec<InvalidLine>,
    },
}

impl EnvFileError {
    /// The error as a reason why a service cannot start.
    pub fn describe_for_start(&self) -> String {
        match self {
            Self::Read { .. } => self.to_string(),
            Self::Lines { path, lines } => {
                format!("its env_file `{}` is not understood: {}", path.display(), list(lines, "line "))
            }
        }
    }
}

/// The first invalid lines, each with a prefix.
fn list(lines: &[InvalidLine], prefix: &str) -> String {
    let mut shown: Vec<String> =
        lines.iter().take(MAX_SHOWN_COUNT).map(|line| format!("{prefix}{line}")).collect();
    if lines.len() > MAX_SHOWN_COUNT {
        shown.push(format!("{} more lines are invalid", lines.len() - MAX_SHOWN_COUNT));
    }
    shown.join("; ")
}

/// Reads an env file. The error names the file and its wrong lines.
pub fn read(path: &Path) -> Result<Vec<Variable>, EnvFileError> {
    let owned = || path.to_path_buf();
    let bytes =
        read_regular(path, MAX_FILE_BYTES).map_err(|error| EnvFileError::Read { path: owned(), error })?;
    let text = std::str::from_utf8(&bytes).map_err(|error| {
        let line = 1 + String::from_utf8_lossy(&bytes[..error.valid_up_to()]).matches('\n').count();
        let lines = vec![InvalidLine { line, why: "this line is not UTF-8" }];
        EnvFileError::Lines { path: owned(), lines }
    })?;
    parse(text).map_err(|lines| EnvFileError::Lines { path: owned(), lines })
}

/// Parses a text.
///
/// # Errors
/// The errors of all lines.
pub fn parse(text: &str) -> Result<Vec<Variable>, Vec<InvalidLine>> {
    let mut scanner = Scanner { rest: text.strip_prefix('\u{feff}').unwrap_or(text), line: 1 };
    let (mut variables, mut problems) = (Vec::new(), Vec::new());
    while !scanner.rest.is_empty() {
        let line = scanner.line;
        match scanner.entry() {
            Ok(variable) => variables.extend(variable),
            Err(why) => {
                problems.push(InvalidLine { line, why });
                scanner.skip_line();
            }
        }
    }
    if problems.is_empty() { Ok(variables) } else { Err(problems) }
}

/// The unread rest of a text, and the number of its first line.
struct Scanner<'t> {
    rest: &'t str,
    line: usize,
}

impl Scanner<'_> {
    /// Parses one line, or several if a quoted value spans them. After an error, the line is not consumed.
    fn entry(&mut self) -> Result<Option<Variable>, &'static str> {
        let line = without_line_end(self.rest.split_inclusive('\n').next().unwrap_or_default());
        if line.contains('\0') {
            return Err("this line contains a NUL");
        }
        let written = line.trim();
        if written.is_empty() || written.starts_with('#') {
            reject_carriage_return(written)?;
            self.skip_line();
            return Ok(None);
        }
        let entry = written
            .strip_prefix("export")
            .filter(|rest| rest.starts_with([' ', '\t']))
            .map_or(written, str::trim_start);
        let Some((name, value)) = entry.split_once('=') else {
            let name = name_of(before_comment(entry).trim_end()).ok_or("this line is not NAME=value")?;
            self.skip_line();
            return Ok(Some(Variable::Inherited(name.to_owned())));
        };
        let name = name_of(name.trim_end())
            .ok_or("the text before `=` is not a name: names have letters, digits, `_`, `.` and `-`")?;
        // A quoted value may continue on the following lines.
        let from = offset_in(self.rest, value) + (value.len() - value.trim_start().len());
        let first = value.trim_start().chars().next();
        let (value, expandable) = match first {
            Some(mark @ ('"' | '\'')) => (self.quoted(mark, from + mark.len_utf8())?, mark == '"'),
            _ => {
                reject_carriage_return(value.trim())?;
                let value = before_comment(value).trim().to_owned();
                self.skip_line();
                (value, true)
            }
        };
        Ok(Some(Variable::Set { name: name.to_owned(), value, expandable }))
    }

    /// The value between two marks, of which the first ends at `from`.
    fn quoted(&mut self, mark: char, from: usize) -> Result<String, &'static str> {
        let mut value = String::new();
        let mut characters = self.rest[from..].char_indices();
        let end = loop {
            match characters.next() {
                None => return Err("the quote that opens in this line is never closed"),
                Some((_, '\0')) => return Err("this value contains a NUL"),
                Some((at, found)) if found == mark => break from + at + mark.len_utf8(),
                Some((_, '\\')) if mark == '"' => match characters.next() {
                    Some((_, escaped)) => unescape(escaped, &mut value),
                    None => return Err("the quote that opens in this line is never closed"),
                },
                // A line end in a value is LF, also in a file with CRLF line ends.
                Some((at, '\r')) if self.rest[from + at + 1..].starts_with('\n') => {}
                Some((_, other)) => value.push(other),
            }
        };
        let behind = self.rest[end..].split_inclusive('\n').next().unwrap_or_default();
        if !before_comment(behind).trim().is_empty() {
            return Err("there is text after the closing quote");
        }
        reject_carriage_return(behind.trim())?;
        self.advance(end);
        self.skip_line();
        Ok(value)
    }

    fn skip_line(&mut self) {
        let length = self.rest.find('\n').map_or(self.rest.len(), |end| end + 1);
        self.advance(length);
    }

    fn advance(&mut self, length: usize) {
        let (taken, rest) = self.rest.split_at(length);
        self.line += taken.matches('\n').count();
        self.rest = rest;
    }
}

/// The escapes of compose and python-dotenv. Any other character keeps its backslash.
fn unescape(escaped: char, value: &mut String) {
    match escaped {
        'n' => value.push('\n'),
        'r' => value.push('\r'),
        't' => value.push('\t'),
        '"' | '\'' | '\\' | '$' => value.push(escaped),
        other => value.extend(['\\', other]),
    }
}

/// Rejects a carriage return within a line, which may be meant as a line end.
fn reject_carriage_return(text: &str) -> Result<(), &'static str> {
    match text.contains('\r') {
        true => Err("this line contains a carriage return: save the file with line feeds as line ends"),
        false => Ok(()),
    }
}

/// The text before a comment, which begins with `#` after white space.
fn before_comment(text: &str) -> &str {
    let mut comments = text.match_indices('#').filter(|(at, _)| text[..*at].ends_with([' ', '\t']));
    comments.next().map_or(text, |(at, _)| &text[..at])
}

fn without_line_end(line: &str) -> &str {
    let line = line.strip_suffix('\n').unwrap_or(line);
    line.strip_suffix('\r').unwrap_or(line)
}

/// The text, if it is a valid name of a variable.
fn name_of(text: &str) -> Option<&str> {
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-');
    (!text.is_empty() && text.chars().all(is_part)).then_some(text)
}

/// The byte offset of `part`, a slice of `whole`.
fn offset_in(whole: &str, part: &str) -> usize {
    part.as_ptr().addr() - whole.as_ptr().addr()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value_of(line: &str) -> Option<String> {
        match parse(line).ok()?.pop()? {
            Variable::Set { value, .. } => Some(value),
            Variable::Inherited(name) => Some(format!("<{name}>")),
        }
    }

    #[test]
    fn each_form_is_read_as_people_mean_it() {
        for (line, value) in [
            ("A=1", "1"),
            ("A = 1 ", "1"),
            ("export A=1", "1"),
            ("export\tA=1", "1"),
            ("exported=1", "1"),
            ("A=x=y", "x=y"),
            ("A=", ""),
            ("A=# is a color", "# is a color"),
            ("A= # nothing", ""),
            ("A=\t# nothing", ""),
            ("A=8080 # the port", "8080"),
            ("A=8080\t# the port", "8080"),
            ("A=http://h/#frag", "http://h/#frag"),
            ("A=\"localhost\" # where", "localhost"),
            ("A='localhost'# where", "error"),
            ("A='a # b' # c", "a # b"),
            ("A=\"a \\\"b\\\" \\n\"", "a \"b\" \n"),
            ("A='a \\n'", "a \\n"),
            ("A=\"a\\db\"", "a\\db"),
            ("A=\"\"", ""),
            ("A='it''s'", "error"),
            ("A=it's", "it's"),
            ("A={\"a\": \"b c\"}", "{\"a\": \"b c\"}"),
            ("A=${HOME}/$X", "${HOME}/$X"),
            ("A=\"unclosed", "error"),
            ("A='unclosed\nB=1", "error"),
            ("A=\"one\ntwo\"", "one\ntwo"),
            ("A='one\r\ntwo'\r\n", "one\ntwo"),
            ("A=1\r\n", "1"),
            ("\u{feff}A=1", "1"),
            ("A=1\rB=2", "error"),
            ("A=1\rB=2\r\n", "error"),
            ("# a\rB=2\r", "error"),
            ("A='x' # c\rB=2\r", "error"),
            ("A='x\ry'", "x\ry"),
            ("A=1\r", "1"),
            ("A=größe", "größe"),
            ("A", "<A>"),
            ("export A # passed on", "<A>"),
            ("A B", "error"),
            ("A B=1", "error"),
            ("=1", "error"),
            ("A=\"x\" y", "error"),
            ("A=a\0b", "error"),
            ("- A", "error"),
        ] {
            assert_eq!(value_of(line).as_deref().unwrap_or("error"), value, "{line:?}");
        }
        assert_eq!(parse("# A=1\n\n  # B\n"), Ok(Vec::new()));
    }

    #[test]
    fn a_key_of_several_lines_is_one_value_and_the_lines_behind_it_keep_their_numbers() {
        let text = "KEY=\"-----BEGIN\nabc=\n-----END\"\nNEXT=1\nbad line\nworse line\n";
        let problems = parse(text).unwrap_err();
        assert_eq!(problems.iter().map(|problem| problem.line).collect::<Vec<_>>(), [5, 6]);
        let good = text.replace("bad line\nworse line\n", "");
        let names = parse(&good).unwrap().into_iter().map(|variable| match variable {
            Variable::Set { name, .. } | Variable::Inherited(name) => name,
        });
        assert_eq!(names.collect::<Vec<_>>(), ["KEY", "NEXT"]);
    }

    #[test]
    fn every_wrong_line_is_told_at_once_and_no_value() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(".env");
        std::fs::write(&path, "A B=secret1\nGOOD=1\nC D=secret2\n").unwrap();
        let told = read(&path).unwrap_err().to_string();
        assert!(told.contains(".env:1: ") && told.contains(".env:3: "), "{told}");
        assert!(!told.contains("secret"), "{told}");
        std::fs::write(&path, b"A=1\nB=\xff\n").unwrap();
        assert!(read(&path).unwrap_err().to_string().ends_with(".env:2: this line is not UTF-8"));
    }
}
