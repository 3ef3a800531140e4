//! [`Text`]: the text of a file, for turning byte offsets into places.

use super::private::Private;
use super::section::Fault;
use service_api::redact::{self, redact};
use service_api::{Code, Place, Problem};
use std::cell::{Cell, OnceCell};
use std::ops::Range;

/// More of a line is not shown.
const LONGEST_SHOWN: usize = 1_000;
/// So many problems of a file are told at once.
const MOST_TOLD: usize = 100;

/// A file's name and text, and what is known of it once somebody asked for a place: it is looked for once, however many
/// places there are.
#[expect(clippy::struct_field_names, reason = "a text has a text")]
pub(super) struct Text {
    file: String,
    text: String,
    /// Where each line begins.
    lines: OnceCell<Vec<usize>>,
    private: OnceCell<Private>,
    /// The last place of which the column was told: where it is, and how many characters of its line are before it.
    last: Cell<(usize, usize)>,
}

impl Text {
    pub(super) fn new(file: String, text: String) -> Self {
        let (lines, private, last) = Default::default();
        Self { file, text, lines, private, last }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// One problem of all faults: the first, with the others behind it.
    pub(super) fn problem(&self, faults: &[Fault]) -> Problem {
        let mut problems = faults.iter().take(MOST_TOLD).map(|fault| self.one(fault));
        let mut first = problems.next().unwrap_or_else(|| {
            Problem::new(Code::Internal, format!("`{}` is wrong in an unknown way", self.file))
        });
        first.others.extend(problems);
        if let Some(more) = faults.len().checked_sub(MOST_TOLD).filter(|more| *more > 0) {
            first.others.push(Problem::new(Code::BadDefinition, format!("and {more} more problems")));
        }
        first
    }

    fn one(&self, fault: &Fault) -> Problem {
        let mut problem =
            Problem::new(Code::BadDefinition, redact(&fault.message)).at(self.place(&fault.span));
        problem.help.clone_from(&fault.help);
        problem.others = fault
            .also
            .iter()
            .map(|span| Problem::new(Code::BadDefinition, "and here").at(self.place(span)))
            .collect();
        problem
    }

    /// The number of the line in which this byte is, and where the line is, without its end.
    fn line(&self, at: usize) -> (usize, Range<usize>) {
        let lines = self.lines.get_or_init(|| {
            let ends = self.text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
            std::iter::once(0).chain(ends.map(|(end, _)| end + 1)).collect()
        });
        let number = lines.partition_point(|start| *start <= at);
        let end = lines.get(number).map_or(self.text.len(), |next| next - 1);
        (number, lines[number - 1]..end)
    }

    /// How many characters of its line are before this byte. Places are asked for from the first to the last.
    fn before(&self, start: usize, at: usize) -> usize {
        let (last, known) = self.last.get();
        let (from, known) = if (start..=at).contains(&last) { (last, known) } else { (start, 0) };
        let before = known + self.text[from..at].chars().count();
        self.last.set((at, before));
        before
    }

    pub(super) fn line_of(&self, span: &Range<usize>) -> usize {
        self.line(floor(&self.text, span.start)).0
    }

    pub(super) fn place(&self, span: &Range<usize>) -> Place {
        let start = floor(&self.text, span.start);
        let (number, line) = self.line(start);
        let end = floor(&self.text, span.end).clamp(start, line.end);
        let shown = line.start..floor(&self.text, line.end.min(line.start + LONGEST_SHOWN));
        let most = floor(&self.text, end.min(start + LONGEST_SHOWN));
        let mut place = Place {
            file: self.file.clone(),
            line: number,
            column: self.before(line.start, start) + 1,
            width: self.text[start..most].chars().count().max(1),
            snippet: self.text[shown.clone()].trim_end().to_owned(),
        };
        let mut hidden =
            self.private.get_or_init(|| Private::of(&self.text)).of_line(&self.text, shown.clone());
        hidden.retain(|part| part.end <= place.snippet.len());
        // What lies beyond the part that is shown cannot be marked.
        if start < shown.end || shown.end == line.end {
            place = place.hiding(&hidden);
        } else {
            place.snippet = redact::mask(&place.snippet, &hidden);
        }
        if shown.end < line.end {
            place.snippet.push('…');
        }
        place
    }
}

/// The nearest character boundary at or before `at`.
fn floor(text: &str, at: usize) -> usize {
    let at = at.min(text.len());
    (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}
