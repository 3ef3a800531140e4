//! [`Ahead`]: what a reader of the journal has before them, told as they take it.
//!
//! Between two pieces nothing is kept but how far they have come: each piece is read from the files again, which were
//! held open as they were. So what waits for slow readers does not add up, however long their answers are.

use super::read::Way;
use super::{Past, Question, starts};
use service_api::event::Start;
use service_api::{Event, Problem};
use std::ops::ControlFlow;

/// Rows that are still to be told.
pub(crate) trait Ahead {
    type Row;

    /// Tells the next until that is enough. Returns whether there may be more.
    fn go_on(&mut self, tell: &mut dyn FnMut(Self::Row) -> ControlFlow<()>) -> Result<bool, Problem>;
}

/// All of them.
pub(crate) fn all<A: Ahead>(mut ahead: A) -> Result<Vec<A::Row>, Problem> {
    let mut rows = Vec::new();
    let more = ahead.go_on(&mut |row| {
        rows.push(row);
        ControlFlow::Continue(())
    })?;
    debug_assert!(!more, "nobody said that it is enough");
    Ok(rows)
}

/// Events.
pub(crate) struct Events {
    past: Past,
    question: Question,
    way: Way,
}

impl Events {
    /// # Errors
    /// As [`Past::find`].
    pub(crate) fn new(past: Past, question: Question) -> Result<Self, Problem> {
        let way = past.way(&question)?;
        Ok(Self { past, question, way })
    }
}

impl Ahead for Events {
    type Row = Event;

    fn go_on(&mut self, tell: &mut dyn FnMut(Event) -> ControlFlow<()>) -> Result<bool, Problem> {
        self.past.go_on(&self.question, &mut self.way, tell)
    }
}

/// The critical path of starts.
pub(crate) struct Starts {
    past: Past,
    question: Question,
    told: usize,
}

impl Starts {
    pub(crate) fn new(past: Past, question: Question) -> Self {
        Self { past, question, told: 0 }
    }
}

impl Ahead for Starts {
    type Row = Start;

    fn go_on(&mut self, tell: &mut dyn FnMut(Start) -> ControlFlow<()>) -> Result<bool, Problem> {
        let mut rows = starts(&self.past.find(&Question { limit: None, ..self.question.clone() })?);
        if let Some(most) = self.question.limit {
            match self.question.since {
                Some(_) => rows.truncate(most),
                None => drop(rows.drain(..rows.len().saturating_sub(most))),
            }
        }
        for row in rows.into_iter().skip(self.told) {
            self.told += 1;
            if tell(row).is_break() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
