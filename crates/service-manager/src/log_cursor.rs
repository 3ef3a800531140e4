//! [`LogCursor`]: the delivered lines of a manager's log, which select the new lines of the next reply.
//!
//! A manager is queried for the lines since shortly before the last line. Engines write two streams concurrently, so a
//! line may appear after a line with a later time. Lines are identified by time, stream and text; equal lines are
//! counted. Lines without time are matched by the longest overlap of the new reply with the last one.

use super::line::Timed;
use jiff::{SignedDuration, Timestamp};
use service_host::clock;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// The maximum delay of a line relative to a line with a later time.
const MAX_LINE_DELAY: SignedDuration = SignedDuration::from_secs(1);

/// The identity of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogPosition {
    time: Option<Timestamp>,
    hash: u64,
}

/// The lines delivered last.
#[derive(Debug)]
pub struct LogCursor {
    /// Lines after this time are new.
    began: Timestamp,
    /// Lines up to this time are not new, even if they were not delivered.
    floor: Option<Timestamp>,
    marks: Vec<LogPosition>,
    /// Whether `marks` holds all lines of the reply.
    all: bool,
}

/// The new lines of a reply.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NewLines {
    /// Whether each line is new.
    pub(super) is_new: Vec<bool>,
    /// Whether lines are missing because the reply was full.
    pub(super) gap: bool,
}

impl LogPosition {
    pub(super) fn from_line((time, line): &Timed) -> Self {
        let mut hasher = DefaultHasher::new();
        (&line.time, &line.stream, &line.line).hash(&mut hasher);
        Self { time: *time, hash: hasher.finish() }
    }
}

impl Default for LogCursor {
    /// A cursor before the first line.
    fn default() -> Self {
        Self::new(clock::today(), Vec::new(), true)
    }
}

impl LogCursor {
    /// A cursor after the first reply, which has `all` lines or only the last ones.
    pub(super) fn new(began: Timestamp, marks: Vec<LogPosition>, all: bool) -> Self {
        let mut seen = Self { began, floor: None, marks, all };
        seen.prune_marks();
        seen
    }

    /// The earliest time of a new line; `None` for lines without time.
    pub(super) fn since(&self) -> Option<Timestamp> {
        match self.marks.last() {
            None => Some(self.floor.unwrap_or(self.began)),
            Some(_) => self.last().map(|last| last - MAX_LINE_DELAY),
        }
    }

    /// Selects the new lines of a reply, which has `all` lines since [`Self::since`] or only the last ones.
    pub(super) fn select_new(&mut self, marks: Vec<LogPosition>, all: bool) -> NewLines {
        let timed = marks.iter().chain(&self.marks).all(|mark| mark.time.is_some());
        let news = if timed { self.by_time(&marks, all) } else { self.by_order(&marks, all) };
        if !marks.is_empty() {
            (self.marks, self.all) = (marks, all);
            self.prune_marks();
        }
        news
    }

    fn by_time(&self, marks: &[LogPosition], all: bool) -> NewLines {
        let mut known = HashMap::<u64, usize>::new();
        for mark in &self.marks {
            *known.entry(mark.hash).or_default() += 1;
        }
        let is_new: Vec<bool> = marks
            .iter()
            .map(|mark| match known.get_mut(&mark.hash).filter(|left| **left > 0) {
                Some(left) => {
                    *left -= 1;
                    false
                }
                None => mark.time > self.floor,
            })
            .collect();
        NewLines { gap: !all && is_new.iter().all(|new| *new), is_new }
    }

    fn by_order(&self, marks: &[LogPosition], all: bool) -> NewLines {
        let grown = self.all && all && marks.starts_with(&self.marks);
        // The first lines of the reply equal the last delivered lines.
        let is_known = |lines: &usize| {
            let common = self.marks.len().min(*lines);
            marks[lines - common..*lines] == self.marks[self.marks.len() - common..]
        };
        let known =
            if grown { self.marks.len() } else { (0..=marks.len()).rev().find(is_known).unwrap_or(0) };
        let is_new = (0..marks.len()).map(|line| line >= known).collect();
        NewLines { gap: !all && known == 0 && !self.marks.is_empty(), is_new }
    }

    fn last(&self) -> Option<Timestamp> {
        self.marks
            .iter()
            .all(|mark| mark.time.is_some())
            .then(|| self.marks.iter().filter_map(|mark| mark.time).max())?
    }

    /// Drops the marks that the next reply cannot contain.
    fn prune_marks(&mut self) {
        let Some(last) = self.last() else { return };
        let first = self.marks.iter().filter_map(|mark| mark.time).min().filter(|_| !self.all);
        let from = last - MAX_LINE_DELAY;
        let before = from - SignedDuration::from_nanos(1);
        self.floor = self.floor.max(first).max(Some(before));
        self.marks.retain(|mark| mark.time >= Some(from));
        self.all = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use service_api::view::LogLine;

    fn mark(millis: Option<i64>, text: &str) -> LogPosition {
        let time = millis.map(|millis| Timestamp::from_millisecond(millis).unwrap());
        let words = time.map(|time| time.to_string()).unwrap_or_default();
        let (service, stream, line) = ("a".into(), "stdout".into(), text.into());
        let line = LogLine { time: words, service, stream, line, partial: false, continues: false };
        LogPosition::from_line(&(time, line))
    }

    fn timed(lines: &[(i64, &str)]) -> Vec<LogPosition> {
        lines.iter().map(|(millis, text)| mark(Some(*millis), text)).collect()
    }

    fn plain(lines: &str) -> Vec<LogPosition> {
        lines.chars().map(|line| mark(None, &line.to_string())).collect()
    }

    fn new(news: &NewLines) -> Vec<usize> {
        news.is_new.iter().enumerate().filter(|(_, new)| **new).map(|(place, _)| place).collect()
    }

    fn began() -> Timestamp {
        Timestamp::from_second(100).unwrap()
    }

    #[test]
    fn lines_of_one_moment_are_counted_and_one_that_comes_late_is_new() {
        let mut seen = LogCursor::new(began(), timed(&[(99_000, "a"), (100_500, "b"), (100_500, "b")]), true);
        assert_eq!(seen.since().unwrap().as_millisecond(), 99_500);
        let answer =
            timed(&[(99_900, "late"), (100_500, "b"), (100_500, "b"), (100_500, "b"), (100_600, "c")]);
        let news = seen.select_new(answer.clone(), true);
        assert_eq!((new(&news), news.gap), (vec![0, 3, 4], false));
        assert!(new(&seen.select_new(answer, true)).is_empty());
        assert!(new(&seen.select_new(Vec::new(), true)).is_empty());
        assert_eq!(new(&seen.select_new(timed(&[(100_600, "c"), (100_600, "d")]), true)), [1]);
    }

    #[test]
    fn what_was_before_the_lines_that_were_told_first_is_not_new() {
        // The reply was full: these are its last two lines.
        let mut seen = LogCursor::new(began(), timed(&[(100_400, "c"), (100_500, "d")]), false);
        let answer = timed(&[(100_300, "b"), (100_400, "b"), (100_400, "c"), (100_500, "d"), (100_501, "e")]);
        assert_eq!(new(&seen.select_new(answer, true)), [4]);
    }

    #[test]
    fn an_answer_that_does_not_reach_back_to_what_was_told_has_a_gap() {
        let mut seen = LogCursor::new(began(), timed(&[(100_000, "a")]), true);
        let news = seen.select_new(timed(&[(100_700, "x"), (100_800, "y")]), false);
        assert_eq!((new(&news), news.gap), (vec![0, 1], true));
        let news = seen.select_new(timed(&[(100_800, "y"), (100_900, "z")]), false);
        assert_eq!((new(&news), news.gap), (vec![1], false));
    }

    #[test]
    fn where_nothing_was_told_all_is_new() {
        let mut seen = LogCursor::new(began(), Vec::new(), true);
        assert_eq!(seen.since(), Some(began()));
        assert_eq!(new(&seen.select_new(timed(&[(100_001, "a")]), true)), [0]);
        let mut seen = LogCursor::new(began(), Vec::new(), true);
        assert_eq!(new(&seen.select_new(plain("ab"), true)), [0, 1]);
    }

    #[test]
    fn lines_without_times_are_laid_over_those_that_were_told() {
        let mut seen = LogCursor::new(began(), plain("abc"), true);
        assert_eq!(seen.since(), None);
        assert_eq!(new(&seen.select_new(plain("abcd"), true)), [3]);
        assert_eq!(new(&seen.select_new(plain("cdef"), false)), [2, 3]);
        assert_eq!(seen.select_new(plain("xyz"), false), NewLines { is_new: vec![true; 3], gap: true });
        // The log was truncated and begins again.
        assert_eq!(seen.select_new(plain("ab"), true), NewLines { is_new: vec![true; 2], gap: false });
        let mut same = LogCursor::new(began(), plain("tt"), true);
        assert_eq!(new(&same.select_new(plain("tttt"), true)), [2, 3]);
    }

    #[test]
    fn few_lines_of_many_are_found_again_among_more() {
        let mut seen = LogCursor::new(began(), plain("yz"), false);
        assert_eq!(new(&seen.select_new(plain("vwxyz1"), true)), [5]);
    }
}
