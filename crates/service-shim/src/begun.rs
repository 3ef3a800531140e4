//! [`Begun`]: puts the lines together whose parts come in the order in which they were written.
//!
//! The shim writes a part shorter than the longest one when the service has been silent for a while: so far the line is to
//! be seen already. Who follows a log is given it ([`Begun::shown`]) and later what comes behind.

use crate::cri::{LONGEST_PART, Line, Part, Stream, Tag};
use crate::seen;
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
    /// How much of the text was given already.
    told: usize,
    /// Whether it is to be seen although it has not ended.
    shows: bool,
    /// Whether it is one of those that are asked for.
    wanted: bool,
    /// Whether no more of it is kept.
    full: bool,
}

impl Begun {
    /// Takes the next part; a line that ends with it, if it is `wanted`.
    pub(crate) fn part(&mut self, part: Part<'_>, wanted: bool) -> Option<Line> {
        let place = &mut self.0[part.stream as usize];
        let Part { time, stream, .. } = part;
        let begun = place.get_or_insert_with(|| Beginning::new(time, stream));
        (begun.time, begun.wanted) = (time, wanted);
        begun.add(part.text);
        match part.tag {
            Tag::Partial => {
                begun.shows = part.text.len() < LONGEST_PART;
                None
            }
            Tag::Full => {
                let line = place.take().filter(|line| line.wanted)?;
                let was_told = line.told > 0;
                let line = line.rest_of_it(line.text.len(), false);
                // All of it was seen, and that it has ended shows nothing.
                Some(line).filter(|line| !was_told || !line.text.is_empty())
            }
        }
    }

    /// Of the lines that have not ended and are to be seen, what was not given yet.
    pub(crate) fn shown(&mut self) -> Vec<Line> {
        let mut shown: Vec<Line> = self.0.iter_mut().flatten().filter_map(Beginning::show).collect();
        shown.sort_by_key(|line| line.time);
        shown
    }

    /// The line that this stream has begun, so far, if it is to be seen.
    pub(crate) fn so_far(&self, stream: Stream) -> Option<String> {
        let begun = self.0[stream as usize].as_ref().filter(|begun| begun.shows)?;
        Some(seen::line(text(&begun.text)))
    }

    /// What will not be ended by anybody, as far as it goes, by time.
    pub(crate) fn rest(self) -> Vec<Line> {
        let begun = self.0.into_iter().flatten().filter(|line| line.wanted);
        let mut rest: Vec<Line> = begun.map(|line| line.rest_of_it(line.text.len(), true)).collect();
        rest.sort_by_key(|line| line.time);
        rest
    }
}

impl Beginning {
    fn new(time: Timestamp, stream: Stream) -> Self {
        Self { time, stream, text: Vec::new(), told: 0, shows: false, wanted: false, full: false }
    }

    fn add(&mut self, more: &[u8]) {
        if !self.full && self.text.len() + more.len() > LONGEST_LINE {
            // One that says how far it is, again and again: what was overwritten is not seen any more.
            let seen = seen::line(text(&self.text));
            self.full = seen.len() > LONGEST_LINE / 2;
            if !self.full {
                (self.told, self.text) = (if self.told > 0 { seen.len() } else { 0 }, seen.into_bytes());
            }
        }
        // The beginning says more than the end.
        let room = LONGEST_LINE.saturating_sub(self.text.len()).min(more.len());
        self.text.extend_from_slice(&more[..room]);
    }

    fn show(&mut self) -> Option<Line> {
        if !self.shows || !self.wanted || self.told == self.text.len() {
            return None;
        }
        // Half a character is left for the next time.
        let fresh = &self.text[self.told..];
        let length = match std::str::from_utf8(fresh) {
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            _ => fresh.len(),
        };
        let line = self.rest_of_it(self.told + length, true);
        self.told += length;
        Some(line).filter(|line| !line.text.is_empty())
    }

    /// What was not given yet, up to there.
    fn rest_of_it(&self, to: usize, partial: bool) -> Line {
        let text = seen::line(text(&self.text[self.told..to]));
        Line { time: self.time, stream: self.stream, text, partial, continues: self.told > 0 }
    }
}

/// Whatever a service wrote, as text.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(begun: &mut Begun, tag: Tag, text: &[u8]) -> Option<String> {
        let part = Part { time: Timestamp::UNIX_EPOCH, stream: Stream::Stdout, tag, text };
        begun.part(part, true).map(|line| line.text)
    }

    fn shown(begun: &mut Begun) -> Vec<(String, bool)> {
        begun.shown().into_iter().map(|line| (line.text, line.continues)).collect()
    }

    #[test]
    fn a_line_is_shown_so_far_and_goes_on_without_being_told_twice() {
        let mut begun = Begun::default();
        assert_eq!(part(&mut begun, Tag::Partial, b"Ready"), None);
        assert_eq!(shown(&mut begun), [("Ready".into(), false)]);
        assert_eq!(shown(&mut begun), []);
        assert_eq!(part(&mut begun, Tag::Partial, b"> \xc3"), None);
        assert_eq!(shown(&mut begun), [("> ".into(), true)]);
        assert_eq!(part(&mut begun, Tag::Full, b"\xbc\r").as_deref(), Some("ü"));
        assert_eq!(part(&mut begun, Tag::Full, b"").as_deref(), Some(""));
        part(&mut begun, Tag::Partial, b"all");
        assert_eq!(shown(&mut begun), [("all".into(), false)]);
        assert_eq!(part(&mut begun, Tag::Full, b""), None, "it was all told");
    }

    #[test]
    fn a_part_of_a_long_line_is_not_shown_before_its_end() {
        let mut begun = Begun::default();
        part(&mut begun, Tag::Partial, &[b'x'; LONGEST_PART]);
        assert_eq!((shown(&mut begun), begun.so_far(Stream::Stdout)), (vec![], None));
        assert_eq!(part(&mut begun, Tag::Full, b"y").map(|text| text.len()), Some(LONGEST_PART + 1));
    }

    #[test]
    fn who_overwrites_a_line_for_ever_is_seen_as_it_is_now() {
        let mut begun = Begun::default();
        for percent in 0..LONGEST_LINE / 8 {
            part(&mut begun, Tag::Partial, format!("\r{percent:>10}").as_bytes());
        }
        let last = format!("{:>10}", LONGEST_LINE / 8 - 1);
        assert_eq!(begun.so_far(Stream::Stdout), Some(last));
    }
}
