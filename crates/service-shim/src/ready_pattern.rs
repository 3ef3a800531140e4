//! [`Watch`]: matches output against the pattern of `ready.log`, on its way into the log.
//!
//! Output is matched even if it cannot be written. A restarted daemon finds the match in the record, as `READY=1`.

use crate::cri::{MAX_PART_BYTES, Part, Tag};
use crate::line_assembler::LineAssembler;
use crate::terminal_text;
use regex::Regex;

/// A pattern, and whether a line has matched it.
#[derive(Debug)]
pub struct Watch {
    pattern: Regex,
    assembler: LineAssembler,
    matched: bool,
}

impl Watch {
    /// A watch for this pattern, which the daemon has validated.
    pub fn new(pattern: &str) -> Result<Self, regex::Error> {
        Ok(Self { pattern: Regex::new(pattern)?, assembler: LineAssembler::default(), matched: false })
    }

    /// Whether a line has matched.
    pub(crate) fn has_matched(&self) -> bool {
        self.matched
    }

    /// Matches the next part of a line. A part that is visible before the end of its line is matched as well.
    pub(crate) fn match_part(&mut self, part: Part<'_>) {
        if self.matched {
            return;
        }
        let (stream, shows) = (part.stream, part.tag == Tag::Partial && part.text.len() < MAX_PART_BYTES);
        let line = match self.assembler.push(part, true) {
            Some(line) => Some(line.text),
            None if shows => self.assembler.visible(stream),
            None => None,
        };
        self.matched = line.is_some_and(|line| self.pattern.is_match(&terminal_text::strip_escapes(&line)));
        if self.matched {
            self.assembler = LineAssembler::default();
        }
    }
}
