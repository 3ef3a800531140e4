//! [`Text`]: the text of a file, which converts byte offsets to locations.

use super::secret::SecretSpans;
use super::section::Diagnostic;
use service_api::redact::{self, redact};
use service_api::{Code, Problem, SourceLocation};
use std::cell::{Cell, OnceCell};
use std::ops::Range;

/// The maximum length of a shown line. A longer one is truncated.
const MAX_SNIPPET_BYTES: usize = 1_000;
/// The maximum number of problems that are reported for a file.
const MAX_PROBLEM_COUNT: usize = 100;

/// The name and the text of a file, with indices that the first lookup builds.
#[expect(clippy::struct_field_names, reason = "the field holds the text itself")]
pub(super) struct Text {
    file: String,
    text: String,
    /// The byte offset of each line.
    lines: OnceCell<Vec<usize>>,
    secrets: OnceCell<SecretSpans>,
    /// The offset of the last lookup, and the number of characters between the start of the line and this offset.
    last: Cell<(usize, usize)>,
}

impl Text {
    pub(super) fn new(file: String, text: String) -> Self {
        let (lines, secrets, last) = Default::default();
        Self { file, text, lines, secrets, last }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// The first diagnostic as a problem, with the others in [`Problem::others`].
    pub(super) fn problem(&self, diagnostics: &[Diagnostic]) -> Problem {
        let mut problems =
            diagnostics.iter().take(MAX_PROBLEM_COUNT).map(|diagnostic| self.to_problem(diagnostic));
        let mut first = problems.next().unwrap_or_else(|| {
            Problem::new(Code::Internal, format!("`{}` is invalid for an unknown reason", self.file))
        });
        first.others.extend(problems);
        if let Some(more) = diagnostics.len().checked_sub(MAX_PROBLEM_COUNT).filter(|more| *more > 0) {
            first.others.push(Problem::new(Code::BadDefinition, format!("and {more} more problems")));
        }
        first
    }

    fn to_problem(&self, diagnostic: &Diagnostic) -> Problem {
        let mut problem =
            Problem::new(Code::BadDefinition, redact(&diagnostic.message)).at(self.place(&diagnostic.span));
        problem.help.clone_from(&diagnostic.help);
        problem.others = diagnostic
            .also
            .iter()
            .map(|span| Problem::new(Code::BadDefinition, "and here").at(self.place(span)))
            .collect();
        problem
    }

    /// The line of a byte: its number, and its range without the line break.
    fn line(&self, at: usize) -> (usize, Range<usize>) {
        let lines = self.lines.get_or_init(|| {
            let ends = self.text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
            std::iter::once(0).chain(ends.map(|(end, _)| end + 1)).collect()
        });
        let number = lines.partition_point(|start| *start <= at);
        let end = lines.get(number).map_or(self.text.len(), |next| next - 1);
        (number, lines[number - 1]..end)
    }

    /// The number of characters between the start of the line and a byte. The function is fast if offsets ascend.
    fn count_characters(&self, start: usize, at: usize) -> usize {
        let (last, known) = self.last.get();
        let (from, known) = if (start..=at).contains(&last) { (last, known) } else { (start, 0) };
        let before = known + self.text[from..at].chars().count();
        self.last.set((at, before));
        before
    }

    pub(super) fn line_number(&self, span: &Range<usize>) -> usize {
        self.line(floor(&self.text, span.start)).0
    }

    pub(super) fn place(&self, span: &Range<usize>) -> SourceLocation {
        let start = floor(&self.text, span.start);
        let (number, line) = self.line(start);
        let end = floor(&self.text, span.end).clamp(start, line.end);
        let shown = line.start..floor(&self.text, line.end.min(line.start + MAX_SNIPPET_BYTES));
        let most = floor(&self.text, end.min(start + MAX_SNIPPET_BYTES));
        let mut place = SourceLocation {
            file: self.file.clone(),
            line: number,
            column: self.count_characters(line.start, start) + 1,
            width: self.text[start..most].chars().count().max(1),
            snippet: self.text[shown.clone()].trim_end().to_owned(),
        };
        let mut hidden =
            self.secrets.get_or_init(|| SecretSpans::find(&self.text)).within_line(&self.text, shown.clone());
        hidden.retain(|part| part.end <= place.snippet.len());
        // A span after the shown part cannot be marked.
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
