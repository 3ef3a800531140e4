//! The format of the log, the one that container runtimes write (CRI): one record a line,
//! `<RFC 3339, UTC, nanoseconds> <stdout|stderr|shim> <P|F> <text>`.
//!
//! A line longer than [`LONGEST_PART`] is several records of which all but the last say `P`; so is one that did not go on for a
//! while. Records of the other stream may stand between them. [`tail`](crate::tail) puts them together again.

use jiff::Timestamp;
use std::fmt::Write;

/// The most text in one record.
pub const LONGEST_PART: usize = 16 * 1024;

/// One line of a service's output, as it was before it was split into records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// When its end was read from the service.
    pub time: Timestamp,
    /// Where it came from.
    pub stream: Stream,
    /// Its text as a person sees it ([`seen::line`](crate::seen::line)), without the line end. Bytes that are not UTF-8 are
    /// replaced by U+FFFD.
    pub text: String,
    /// Whether it has not ended: more of it may come.
    pub partial: bool,
    /// Whether its beginning was given before, and this is what came behind it.
    pub continues: bool,
}

/// Who wrote a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stream {
    /// The service, on standard output.
    Stdout,
    /// The service, on standard error.
    Stderr,
    /// The shim, a word of its own.
    Shim,
}

impl Stream {
    /// How many there are.
    pub const COUNT: usize = 3;

    /// The word as it stands in the log.
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
    /// This is the whole line, or the end of it.
    Full,
}

/// One record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part<'a> {
    /// When it was read from the service.
    pub time: Timestamp,
    /// Where it came from.
    pub stream: Stream,
    /// Whether it ends its line.
    pub tag: Tag,
    /// Its text.
    pub text: &'a [u8],
}

impl<'a> Part<'a> {
    /// Reads one record, without its line end; `None` if it is not one.
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

/// Writes the records of one stream at one moment. Formatting the time costs more than the rest of a record, so
/// this is done once for all that came in one read.
#[derive(Debug)]
pub struct Pen {
    head: String,
}

impl Pen {
    /// A pen for this moment and stream.
    pub fn new(time: Timestamp, stream: Stream) -> Self {
        let mut head = String::with_capacity(48);
        write!(head, "{time:.9} {} ", stream.as_str()).expect("a string takes everything");
        Self { head }
    }

    /// Appends a line, in as many records as it takes.
    pub fn line(&self, out: &mut Vec<u8>, mut text: &[u8]) {
        while text.len() > LONGEST_PART {
            let (part, rest) = text.split_at(LONGEST_PART);
            self.record(out, Tag::Partial, part);
            text = rest;
        }
        self.record(out, Tag::Full, text);
    }

    /// Appends one record of at most [`LONGEST_PART`] bytes.
    pub fn record(&self, out: &mut Vec<u8>, tag: Tag, text: &[u8]) {
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
        Pen::new(moment(), Stream::Stderr).line(&mut out, text);
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
        assert_eq!(tags(LONGEST_PART), [Tag::Full]);
        assert_eq!(tags(LONGEST_PART + 1), [Tag::Partial, Tag::Full]);
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
