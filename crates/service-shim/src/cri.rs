//! The format of the log, as container runtimes write it (CRI): one record per line, `<RFC 3339, UTC, nanoseconds>
//! <stdout
//! stderr
//! shim> <P
//! F> <text>`.
//!
//! A line longer than [`MAX_PART_BYTES`] is split into several records, of which all but the last have the tag `P`. A
//! line in which the service paused is split as well. Records of the other stream may stand between the parts.
//! [`tail`](crate::tail) joins the parts again.

use jiff::Timestamp;
use std::fmt::Write;

/// The limit of the text of one record.
pub const MAX_PART_BYTES: usize = 16 * 1024;

/// One line of a service's output, joined from its records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// When the end of the line was read from the service.
    pub time: Timestamp,
    /// The stream that the line came from.
    pub stream: Stream,
    /// The text as a terminal shows it ([`terminal_text::render`](crate::terminal_text::render)), without the line end.
    /// Bytes that are not UTF-8 are replaced by U+FFFD.
    pub text: String,
    /// Whether the line has not ended: more text may follow.
    pub partial: bool,
    /// Whether this is the continuation of a line whose beginning was returned before.
    pub continues: bool,
}

/// The writer of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stream {
    /// The service, on standard output.
    Stdout,
    /// The service, on standard error.
    Stderr,
    /// The shim itself.
    Shim,
}

impl Stream {
    /// The number of streams.
    pub const COUNT: usize = 3;

    /// The name of the stream in the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::Shim => "shim",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        [Self::Stdout, Self::Stderr, Self::Shim].into_iter().find(|stream| stream.as_str() == word)
    }
}

/// Whether a record ends its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tag {
    /// More of the line follows.
    Partial,
    /// The record is the whole line, or its end.
    Full,
}

/// One record of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part<'a> {
    /// When the text was read from the service.
    pub time: Timestamp,
    /// The stream that the text came from.
    pub stream: Stream,
    /// Whether the record ends its line.
    pub tag: Tag,
    /// The text of the record.
    pub text: &'a [u8],
}

impl<'a> Part<'a> {
    /// Parses one record without its line end; `None` if it is not a record.
    pub fn parse(record: &'a [u8]) -> Option<Self> {
        let mut fields = record.splitn(4, |&byte| byte == b' ');
        let time = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
        let stream = Stream::parse(std::str::from_utf8(fields.next()?).ok()?)?;
        let tag = match fields.next()? {
            b"P" => Tag::Partial,
            b"F" => Tag::Full,
            _ => return None,
        };
        Some(Self { time, stream, tag, text: fields.next()? })
    }
}

/// Writes records with the same stream and time. Formatting the time costs more than the rest of a record, so one read
/// of a pipe formats it once.
#[derive(Debug)]
pub struct RecordWriter {
    head: String,
}

impl RecordWriter {
    /// A writer for this time and stream.
    pub fn new(time: Timestamp, stream: Stream) -> Self {
        let mut head = String::with_capacity(48);
        write!(head, "{time:.9} {} ", stream.as_str()).expect("writing to a string cannot fail");
        Self { head }
    }

    /// Appends a line, split into as many records as needed.
    pub fn write_line(&self, out: &mut Vec<u8>, mut text: &[u8]) {
        while text.len() > MAX_PART_BYTES {
            let (part, rest) = text.split_at(MAX_PART_BYTES);
            self.write_record(out, Tag::Partial, part);
            text = rest;
        }
        self.write_record(out, Tag::Full, text);
    }

    /// Appends one record with at most [`MAX_PART_BYTES`] bytes of text.
    pub fn write_record(&self, out: &mut Vec<u8>, tag: Tag, text: &[u8]) {
        out.extend_from_slice(self.head.as_bytes());
        out.extend_from_slice(match tag {
            Tag::Partial => b"P ",
            Tag::Full => b"F ",
        });
        out.extend_from_slice(text);
        out.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment() -> Timestamp {
        "2024-02-29T12:00:00.5Z".parse().unwrap()
    }

    fn written(text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        RecordWriter::new(moment(), Stream::Stderr).write_line(&mut out, text);
        out
    }

    #[test]
    fn a_record_has_nine_digits_of_a_second_and_ends_with_a_newline() {
        assert_eq!(written(b"a b"), b"2024-02-29T12:00:00.500000000Z stderr F a b\n");
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        for text in [&b""[..], b" leading and trailing ", b"\xff\0", b"P F"] {
            let record = written(text);
            let part = Part::parse(record.strip_suffix(b"\n").unwrap()).unwrap();
            assert_eq!(part, Part { time: moment(), stream: Stream::Stderr, tag: Tag::Full, text });
        }
    }

    #[test]
    fn a_line_is_split_only_when_it_is_longer_than_a_part() {
        let tags = |length| -> Vec<Tag> {
            let out = written(&vec![b'x'; length]);
            out.split_inclusive(|&b| b == b'\n')
                .map(|r| Part::parse(&r[..r.len() - 1]).unwrap().tag)
                .collect()
        };
        assert_eq!(tags(MAX_PART_BYTES), [Tag::Full]);
        assert_eq!(tags(MAX_PART_BYTES + 1), [Tag::Partial, Tag::Full]);
    }

    #[test]
    fn what_is_not_a_record_is_none() {
        for foreign in
            ["", "hello", "2024-02-29T12:00:00Z stdout", "2024-02-29T12:00:00Z stdout X a", "x stdout F a"]
        {
            assert_eq!(Part::parse(foreign.as_bytes()), None, "{foreign:?}");
        }
    }
}
