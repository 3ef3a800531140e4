//! [`LineAssembler`]: joins the parts of each line, in the order in which they were written.
//!
//! The shim writes a part that is shorter than [`MAX_PART_BYTES`] when the service pauses within a line: the line so
//! far should be visible. A follower of a log receives it from [`LineAssembler::take_visible`] and receives the rest of
//! the line later.

use crate::cri::{Line, MAX_PART_BYTES, Part, Stream, Tag};
use crate::terminal_text;
use jiff::Timestamp;

/// The limit of one line. A service that never ends its line must not use unbounded memory.
pub(crate) const MAX_LINE_BYTES: usize = 1024 * 1024;

/// By stream: the parts of a line that has not ended.
#[derive(Debug, Default)]
pub(crate) struct LineAssembler([Option<Partial>; Stream::COUNT]);

#[derive(Debug)]
struct Partial {
    /// The time of its last part.
    time: Timestamp,
    stream: Stream,
    text: Vec<u8>,
    /// The length of the text that was already returned.
    emitted: usize,
    /// Whether readers see the line before it ends.
    visible: bool,
    /// Whether the caller wants the line.
    is_requested: bool,
    /// Whether further text is discarded.
    full: bool,
}

impl LineAssembler {
    /// Adds the next part. Returns the line that ends with this part, if it is `is_requested`.
    pub(crate) fn push(&mut self, part: Part<'_>, is_requested: bool) -> Option<Line> {
        let place = &mut self.0[part.stream as usize];
        let Part { time, stream, .. } = part;
        let partial = place.get_or_insert_with(|| Partial::new(time, stream));
        (partial.time, partial.is_requested) = (time, is_requested);
        partial.add(part.text);
        match part.tag {
            Tag::Partial => {
                partial.visible = part.text.len() < MAX_PART_BYTES;
                None
            }
            Tag::Full => {
                let line = place.take().filter(|line| line.is_requested)?;
                let was_emitted = line.emitted > 0;
                let line = line.line_up_to(line.text.len(), false);
                // All text of the line was already returned, and its end adds nothing visible.
                Some(line).filter(|line| !was_emitted || !line.text.is_empty())
            }
        }
    }

    /// The new text of lines that are visible before they end.
    pub(crate) fn take_visible(&mut self) -> Vec<Line> {
        let mut shown: Vec<Line> = self.0.iter_mut().flatten().filter_map(Partial::take_visible).collect();
        shown.sort_by_key(|line| line.time);
        shown
    }

    /// The unfinished line of the stream, if it is visible.
    pub(crate) fn visible(&self, stream: Stream) -> Option<String> {
        let partial = self.0[stream as usize].as_ref().filter(|partial| partial.visible)?;
        Some(terminal_text::render(text(&partial.text)))
    }

    /// The unfinished lines, ordered by time.
    pub(crate) fn finish(self) -> Vec<Line> {
        let partials = self.0.into_iter().flatten().filter(|line| line.is_requested);
        let mut rest: Vec<Line> = partials.map(|line| line.line_up_to(line.text.len(), true)).collect();
        rest.sort_by_key(|line| line.time);
        rest
    }
}

impl Partial {
    fn new(time: Timestamp, stream: Stream) -> Self {
        Self { time, stream, text: Vec::new(), emitted: 0, visible: false, is_requested: false, full: false }
    }

    fn add(&mut self, more: &[u8]) {
        if !self.full && self.text.len() + more.len() > MAX_LINE_BYTES {
            // A progress line that overwrites itself: overwritten text is no longer visible.
            let rendered = terminal_text::render(text(&self.text));
            self.full = rendered.len() > MAX_LINE_BYTES / 2;
            if !self.full {
                (self.emitted, self.text) =
                    (if self.emitted > 0 { rendered.len() } else { 0 }, rendered.into_bytes());
            }
        }
        // A line that is too long keeps its beginning, which is more informative than its end.
        let room = MAX_LINE_BYTES.saturating_sub(self.text.len()).min(more.len());
        self.text.extend_from_slice(&more[..room]);
    }

    fn take_visible(&mut self) -> Option<Line> {
        if !self.visible || !self.is_requested || self.emitted == self.text.len() {
            return None;
        }
        // An incomplete UTF-8 character is kept for the next call.
        let fresh = &self.text[self.emitted..];
        let length = match std::str::from_utf8(fresh) {
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            _ => fresh.len(),
        };
        let line = self.line_up_to(self.emitted + length, true);
        self.emitted += length;
        Some(line).filter(|line| !line.text.is_empty())
    }

    /// The text from the first byte that was not returned, up to `to`.
    fn line_up_to(&self, to: usize, partial: bool) -> Line {
        let text = terminal_text::render(text(&self.text[self.emitted..to]));
        Line { time: self.time, stream: self.stream, text, partial, continues: self.emitted > 0 }
    }
}

/// The output of a service as text.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(assembler: &mut LineAssembler, tag: Tag, text: &[u8]) -> Option<String> {
        let part = Part { time: Timestamp::UNIX_EPOCH, stream: Stream::Stdout, tag, text };
        assembler.push(part, true).map(|line| line.text)
    }

    fn shown(assembler: &mut LineAssembler) -> Vec<(String, bool)> {
        assembler.take_visible().into_iter().map(|line| (line.text, line.continues)).collect()
    }

    #[test]
    fn a_line_is_shown_so_far_and_goes_on_without_being_told_twice() {
        let mut assembler = LineAssembler::default();
        assert_eq!(part(&mut assembler, Tag::Partial, b"Ready"), None);
        assert_eq!(shown(&mut assembler), [("Ready".into(), false)]);
        assert_eq!(shown(&mut assembler), []);
        assert_eq!(part(&mut assembler, Tag::Partial, b"> \xc3"), None);
        assert_eq!(shown(&mut assembler), [("> ".into(), true)]);
        assert_eq!(part(&mut assembler, Tag::Full, b"\xbc\r").as_deref(), Some("ü"));
        assert_eq!(part(&mut assembler, Tag::Full, b"").as_deref(), Some(""));
        part(&mut assembler, Tag::Partial, b"all");
        assert_eq!(shown(&mut assembler), [("all".into(), false)]);
        assert_eq!(part(&mut assembler, Tag::Full, b""), None, "all text was returned before");
    }

    #[test]
    fn a_part_of_a_long_line_is_not_shown_before_its_end() {
        let mut assembler = LineAssembler::default();
        part(&mut assembler, Tag::Partial, &[b'x'; MAX_PART_BYTES]);
        assert_eq!((shown(&mut assembler), assembler.visible(Stream::Stdout)), (vec![], None));
        assert_eq!(part(&mut assembler, Tag::Full, b"y").map(|text| text.len()), Some(MAX_PART_BYTES + 1));
    }

    #[test]
    fn who_overwrites_a_line_for_ever_is_seen_as_it_is_now() {
        let mut assembler = LineAssembler::default();
        for percent in 0..MAX_LINE_BYTES / 8 {
            part(&mut assembler, Tag::Partial, format!("\r{percent:>10}").as_bytes());
        }
        let last = format!("{:>10}", MAX_LINE_BYTES / 8 - 1);
        assert_eq!(assembler.visible(Stream::Stdout), Some(last));
    }
}
