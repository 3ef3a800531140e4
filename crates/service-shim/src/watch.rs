//! [`Watch`]: hears the line that says that a service is ready (`ready.log`), on its way into the log.
//!
//! What cannot be written is heard all the same, and a daemon that was away finds it in the record, as `READY=1`.

use crate::begun::Begun;
use crate::cri::{LONGEST_PART, Part, Tag};
use crate::seen;
use regex::Regex;

/// A pattern, and whether a line has matched it.
#[derive(Debug)]
pub struct Watch {
    pattern: Regex,
    begun: Begun,
    heard: bool,
}

impl Watch {
    /// For this pattern, which the daemon has tried.
    pub fn new(pattern: &str) -> Result<Self, regex::Error> {
        Ok(Self { pattern: Regex::new(pattern)?, begun: Begun::default(), heard: false })
    }

    /// Whether there was such a line.
    pub(crate) fn heard(&self) -> bool {
        self.heard
    }

    /// Takes the next part of a line. One that is to be seen already is looked at as far as it goes.
    pub(crate) fn part(&mut self, part: Part<'_>) {
        if self.heard {
            return;
        }
        let (stream, shows) = (part.stream, part.tag == Tag::Partial && part.text.len() < LONGEST_PART);
        let line = match self.begun.part(part, true) {
            Some(line) => Some(line.text),
            None if shows => self.begun.so_far(stream),
            None => None,
        };
        self.heard = line.is_some_and(|line| self.pattern.is_match(&seen::plain(&line)));
        if self.heard {
            self.begun = Begun::default();
        }
    }
}
