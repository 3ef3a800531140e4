//! [`Begun`]: puts the lines together whose parts come in the order in which they were written.

use crate::cri::{Line, Part, Stream, Tag};
use jiff::Timestamp;

/// The most that is kept of one line. A service that never ends its line must not fill anybody's memory.
pub(crate) const LONGEST_LINE: usize = 1024 * 1024;

/// By stream: the beginning of a line whose end has not come yet.
#[derive(Debug, Default)]
pub(crate) struct Begun([Option<Beginning>; Stream::COUNT]);

#[derive(Debug)]
struct Beginning {
    /// Of its last part.
    time: Timestamp,
    stream: Stream,
    text: Vec<u8>,
    /// Whether it is one of those that are asked for.
    wanted: bool,
}

impl Begun {
    /// Takes the next part; a line that ends with it, if it is `wanted`.
    pub(crate) fn part(&mut self, part: Part<'_>, wanted: bool) -> Option<Line> {
        let place = &mut self.0[part.stream as usize];
        let Part { time, stream, .. } = part;
        let begun = place.get_or_insert_with(|| Beginning { time, stream, text: Vec::new(), wanted });
        (begun.time, begun.wanted) = (time, wanted);
        // The beginning says more than the end.
        let room = LONGEST_LINE.saturating_sub(begun.text.len()).min(part.text.len());
        begun.text.extend_from_slice(&part.text[..room]);
        match part.tag {
            Tag::Partial => None,
            Tag::Full => place.take().filter(|line| line.wanted).map(Beginning::line),
        }
    }

    /// What will not be ended by anybody, as far as it goes, by time.
    pub(crate) fn rest(self) -> Vec<Line> {
        let mut rest: Vec<Line> =
            self.0.into_iter().flatten().filter(|line| line.wanted).map(Beginning::line).collect();
        rest.sort_by_key(|line| line.time);
        rest
    }
}

impl Beginning {
    fn line(self) -> Line {
        Line { time: self.time, stream: self.stream, text: text(self.text) }
    }
}

/// Whatever a service wrote, as text.
fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}
