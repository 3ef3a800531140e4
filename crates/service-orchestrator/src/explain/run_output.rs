//! [`RunOutput`]: the last output of a service's last run, short enough for an error.

use crate::snapshot::ServiceSnapshot;
use service_api::redact;
use service_core::explain::Counted;
use service_host::clock;
use service_host::paths::Paths;
use service_shim::cri::Stream;
use service_shim::{Line, Tail};

/// The maximum number of lines that are read, from the end of the log.
const MAX_LINES: usize = 1000;
/// The maximum number of bytes that are read.
const MAX_BYTES: usize = 1024 * 1024;
/// The maximum number of lines that are shown.
const MAX_SHOWN: usize = 3;
/// The maximum number of lines that are searched for the error.
const MAX_SEARCHED: usize = 40;
/// The maximum number of characters of a shown line.
const MAX_LINE_CHARS: usize = 200;

/// The last output of a run.
#[derive(Debug, Default)]
pub(super) struct RunOutput {
    /// The number of lines, up to a limit.
    pub lines: usize,
    /// Which lines were counted.
    pub counted: Counted,
    /// The last lines; only of standard error, if there are any.
    pub last: Vec<String>,
    /// The line with the error, if other lines follow it, such as a stack trace or a hint.
    pub telling: Option<String>,
}

impl RunOutput {
    /// Reads the output from the log. A run whose beginning is unknown has no output here.
    pub(super) fn read(entry: &ServiceSnapshot, paths: &Paths) -> Self {
        let Some(began) = entry.snapshot.began.filter(|_| !entry.definition.is_managed()) else {
            return Self::default();
        };
        let files = paths.files(&entry.definition.name);
        let tail = files.tail_within(MAX_LINES, Some(clock::wall(began)), MAX_BYTES).ok().flatten();
        Self::among(&tail.and_then(|tail| Tail::all(tail).ok()).unwrap_or_default(), &entry.definition.env)
    }

    fn among(lines: &[Line], env: &[(String, String)]) -> Self {
        let says = |line: &&Line, stream| line.stream == stream && !line.text.trim().is_empty();
        let stream = if lines.iter().any(|line| says(&line, Stream::Stderr)) {
            Stream::Stderr
        } else {
            Stream::Stdout
        };
        let ends = lines.iter().rev().filter(|line| says(line, stream)).map(|line| short(&line.text, env));
        let mut ends: Vec<String> = ends.filter(|line| !line.is_empty()).take(MAX_SEARCHED).collect();
        ends.reverse();
        let error = error_among(&ends).filter(|at| at + 1 < ends.len());
        let telling = error.map(|at| ends[at].clone());
        let mut last = ends.split_off(ends.len().saturating_sub(MAX_SHOWN));
        // If the last lines do not contain the line with the error, it replaces the first of them.
        if let Some(telling) = telling.as_ref().filter(|telling| !last.contains(telling)) {
            last[0].clone_from(telling);
        }
        let bytes: usize = lines.iter().map(|line| line.text.len() + 1).sum();
        // The log has a time and a stream before the text of each line.
        let is_cut = lines.len() >= MAX_LINES || bytes + 64 * lines.len() >= MAX_BYTES;
        let counted = if is_cut { Counted::Last } else { Counted::All };
        let lines = lines.iter().filter(|line| line.stream != Stream::Shim).count();
        Self { lines, counted, last, telling }
    }

    /// The last line.
    pub(super) fn last_line(&self) -> Option<&str> {
        self.last.last().map(String::as_str)
    }
}

/// The line with the error: the last line with a prefix that common languages or npm write before errors.
fn error_among(lines: &[String]) -> Option<usize> {
    let npm = |line: &String| {
        let rest = line.strip_prefix("npm error ").or_else(|| line.strip_prefix("npm ERR! "));
        rest.and_then(|rest| rest.split(' ').next()).is_some_and(|word| {
            !["code", "syscall", "path", "errno", "A", "signal", "command", "workspace"].contains(&word)
        })
    };
    if let Some(at) = lines.iter().position(npm) {
        return Some(at);
    }
    let begins = |line: &String| {
        let word = line.split([' ', ':']).next().unwrap_or_default().to_ascii_lowercase();
        let named = word.ends_with("error") || word.ends_with("exception");
        (named || matches!(&*word, "fatal" | "panic")) && line.len() > word.len() + 1
            || line.starts_with("Caused by: ")
            || line.contains("panicked at ")
    };
    let at = lines.iter().rposition(begins)?;
    // Rust writes the location of a panic in one line and the message in the next.
    let next = lines.get(at + 1).filter(|next| !next.starts_with("note:"));
    Some(if lines[at].contains("panicked at ") && next.is_some() { at + 1 } else { at })
}

/// A line without control sequences and secrets. The line is truncated first, because it may be very long.
pub fn short(line: &str, env: &[(String, String)]) -> String {
    let end = line.floor_char_boundary(4 * MAX_LINE_CHARS);
    let plain = redact::without(plain(&line[..end]).trim(), env);
    match plain.char_indices().nth(MAX_LINE_CHARS) {
        Some((at, _)) => format!("{}…", &plain[..at]),
        None => plain,
    }
}

/// The visible part of a line.
fn plain(line: &str) -> String {
    let (mut seen, mut rest) = (String::with_capacity(line.len()), line);
    while let Some(at) = rest.find('\x1b') {
        seen.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        rest = match after.as_bytes().first() {
            // A control sequence (CSI) ends with a byte from `@` to `~`.
            Some(b'[') => {
                after[1..].find(|c: char| ('@'..='~').contains(&c)).map_or("", |end| &after[1 + end + 1..])
            }
            // An operating system command (OSC) ends with BEL or with ESC and a backslash.
            Some(b']') => match after.find(['\x07', '\x1b']) {
                Some(end) if after.as_bytes()[end] == 7 => &after[end + 1..],
                Some(end) => after[end + 1..].strip_prefix('\\').unwrap_or(&after[end + 1..]),
                None => "",
            },
            _ => after.char_indices().nth(1).map_or("", |(end, _)| &after[end..]),
        };
    }
    seen.push_str(rest);
    seen.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(stream: Stream, text: &str) -> Line {
        Line {
            time: jiff::Timestamp::UNIX_EPOCH,
            stream,
            text: text.to_owned(),
            partial: false,
            continues: false,
        }
    }

    #[test]
    fn the_last_three_lines_of_standard_error_are_told_or_else_of_standard_output() {
        let mut lines: Vec<Line> = (0..5).map(|n| line(Stream::Stdout, &format!("out {n}"))).collect();
        let words = RunOutput::among(&lines, &[]);
        assert_eq!((words.lines, words.last), (5, vec!["out 2".into(), "out 3".into(), "out 4".into()]));
        lines.push(line(Stream::Stderr, "boom"));
        lines.push(line(Stream::Stdout, "bye"));
        lines.push(line(Stream::Shim, "a word of ours"));
        let words = RunOutput::among(&lines, &[]);
        assert_eq!((words.lines, words.last_line()), (7, Some("boom")));
    }

    #[test]
    fn the_line_of_the_error_is_found_before_a_trace_and_a_version() {
        let words = |text: &str| {
            let lines: Vec<Line> = text.lines().map(|text| line(Stream::Stderr, text)).collect();
            RunOutput::among(&lines, &[])
        };
        let node = "node:events:495\n      throw er; // Unhandled 'error' event\n\nError: listen EADDRINUSE\n    at Server\n\
                    Emitted 'error' event on Server instance at:\n  port: 47001\n}\n\nNode.js v20.20.2";
        let found = words(node);
        assert_eq!(found.telling.as_deref(), Some("Error: listen EADDRINUSE"));
        assert_eq!(found.last, ["Error: listen EADDRINUSE", "}", "Node.js v20.20.2"]);
        assert_eq!(found.last_line(), Some("Node.js v20.20.2"));
        for (text, telling) in [
            (
                "Exception in thread \"main\" X: no\n\tat a\nCaused by: Y: gone\n\tat b",
                Some("Caused by: Y: gone"),
            ),
            ("thread 'main' panicked at a.rs:1:2:\nno port\nnote: run with", Some("no port")),
            (
                "thread 'main' panicked at 'no port', a.rs\nnote: run with",
                Some("thread 'main' panicked at 'no port', a.rs"),
            ),
            ("panic: no port\n\ngoroutine 1 [running]:\nexit status 2", Some("panic: no port")),
            (
                "npm error code ENOENT\nnpm error errno -2\nnpm error enoent Could not read\nnpm error A complete log",
                Some("npm error enoent Could not read"),
            ),
            ("Traceback\nModuleNotFoundError: No module", None),
            ("one\ntwo", None),
        ] {
            assert_eq!(words(text).telling.as_deref(), telling, "{text}");
        }
    }

    #[test]
    fn a_line_is_told_without_colours_cursor_secrets_and_end() {
        assert_eq!(short("\x1b[2J\x1b[31mred\x1b[0m \x1b]0;title\x07x\r", &[]), "red x");
        assert_eq!(short("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", &[]), "link");
        assert_eq!(short("token=abcdefgh12345", &[]), "token=***");
        let env = [("API_KEY".to_owned(), "very-secret-value".to_owned())];
        assert_eq!(short("got very-secret-value", &env), "got ***");
        assert_eq!(short(&"ä".repeat(100_000), &[]).chars().count(), MAX_LINE_CHARS + 1);
        assert_eq!(short("\x1b", &[]), "");
        assert_eq!(short("\x1b[", &[]), "");
    }
}
