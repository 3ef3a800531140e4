//! [`Text`]: the text of a file, for turning byte offsets into places.

use super::private;
use super::section::Fault;
use service_api::{Code, Place, Problem, redact};
use std::ops::Range;

/// A file's name and text.
pub(super) struct Text {
    file: String,
    text: String,
}

impl Text {
    pub(super) fn new(file: String, text: String) -> Self {
        Self { file, text }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// One problem of all faults: the first, with the others behind it.
    pub(super) fn problem(&self, faults: &[Fault]) -> Problem {
        let mut problems = faults.iter().map(|fault| self.one(fault));
        let mut first = problems.next().unwrap_or_else(|| {
            Problem::new(Code::Internal, format!("`{}` is wrong in an unknown way", self.file))
        });
        first.others.extend(problems);
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

    pub(super) fn place(&self, span: &Range<usize>) -> Place {
        let start = floor(&self.text, span.start);
        let line_start = self.text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = self.text[start..].find('\n').map_or(self.text.len(), |at| start + at);
        let end = floor(&self.text, span.end).clamp(start, line_end);
        let line = line_start..line_end;
        let place = Place {
            file: self.file.clone(),
            line: self.text[..start].matches('\n').count() + 1,
            column: self.text[line_start..start].chars().count() + 1,
            width: self.text[start..end].chars().count().max(1),
            snippet: self.text[line_start..line_end].trim_end().to_owned(),
        };
        let mut hidden = private::of_line(&self.text, line);
        hidden.retain(|part| part.end <= place.snippet.len());
        place.hiding(&hidden)
    }
}

/// The nearest character boundary at or before `at`.
fn floor(text: &str, at: usize) -> usize {
    let at = at.min(text.len());
    (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}
