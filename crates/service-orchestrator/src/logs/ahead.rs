//! [`Ahead`]: the lines of many logs by time, of each of which no more than a block is in memory.
//!
//! Lines of one service keep their order, also where the clock was set back between them.

use crate::manager::LogFile;
use crate::views;
use jiff::Timestamp;
use service_api::view::LogLine;
use service_core::Name;
use service_shim::{Follower, Line, Tail};
use std::collections::VecDeque;
use std::io;

/// Where lines come from.
pub(super) enum Source {
    Tail(Tail),
    Follower(Follower),
    /// Its manager told what there is.
    Told(Option<LogFile>),
}

/// The logs of one reader.
pub(super) struct Ahead(Vec<Log>);

struct Log {
    name: Name,
    source: Source,
    /// Lines that were read and are not told yet.
    read: VecDeque<Placed>,
    /// The latest time of a line of this log.
    latest: Timestamp,
    /// Whether all that was there at first has been read.
    over: bool,
}

/// A line, and its time. Those without one come first: nobody knows when they were written.
type Placed = (Timestamp, LogLine);

impl FromIterator<(Name, Source)> for Ahead {
    fn from_iter<I: IntoIterator<Item = (Name, Source)>>(logs: I) -> Self {
        let log =
            |(name, source)| Log { name, source, read: VecDeque::new(), latest: Timestamp::MIN, over: false };
        Self(logs.into_iter().map(log).collect())
    }
}

impl Ahead {
    /// The next of the lines that were there at first.
    pub(super) fn next(&mut self) -> io::Result<Option<LogLine>> {
        for log in &mut self.0 {
            log.fill()?;
        }
        let first =
            self.0.iter_mut().filter_map(|log| Some((log.place()?, log))).min_by_key(|(place, _)| *place);
        Ok(first.and_then(|(_, log)| log.take()))
    }

    /// Adds what managers told.
    pub(super) fn add(&mut self, records: Vec<(Name, Option<LogFile>)>) {
        let records: Self = records.into_iter().map(|(name, record)| (name, Source::Told(record))).collect();
        self.0.extend(records.0);
    }

    /// What one of them has told since.
    pub(super) fn hear(&mut self, name: &Name, lines: Vec<LogLine>) {
        if let Some(log) =
            self.0.iter_mut().find(|log| matches!(log.source, Source::Told(_)) && log.name == *name)
        {
            let time = |line: &LogLine| line.time.parse().unwrap_or(Timestamp::MIN);
            log.read.extend(lines.into_iter().map(|line| (time(&line), line)));
        }
    }

    /// What has come since; whether there may be more by now.
    pub(super) fn come(&mut self, mut tell: impl FnMut(LogLine)) -> io::Result<bool> {
        let mut more = false;
        for log in &mut self.0 {
            let Source::Follower(follower) = &mut log.source else { continue };
            let mut lines = Vec::new();
            more |= follower.read(&mut lines)?;
            log.add(lines);
        }
        while let Some((_, log)) =
            self.0.iter_mut().filter_map(|log| Some((log.place()?, log))).min_by_key(|(place, _)| *place)
        {
            log.take().into_iter().for_each(&mut tell);
        }
        Ok(more)
    }
}

impl Log {
    /// Reads on, if there is nothing left of what was read.
    fn fill(&mut self) -> io::Result<()> {
        let mut lines = Vec::new();
        while self.read.is_empty() && !self.over {
            self.over = match &mut self.source {
                Source::Tail(tail) => !tail.read(&mut lines)?,
                Source::Follower(follower) => follower.is_past_tail() || !follower.read(&mut lines)?,
                Source::Told(record) => {
                    let next = record.as_mut().map(LogFile::next).transpose().map_err(io::Error::other)?;
                    let line = next.flatten().map(|(time, line)| (time.unwrap_or(Timestamp::MIN), line));
                    let over = line.is_none();
                    self.read.extend(line);
                    over
                }
            };
            self.add(std::mem::take(&mut lines));
        }
        Ok(())
    }

    fn add(&mut self, lines: Vec<Line>) {
        let name = &self.name;
        self.read.extend(lines.into_iter().map(|line| (line.time, views::log_line(name, line))));
    }

    /// By what its next line is placed among those of others.
    fn place(&self) -> Option<Timestamp> {
        self.read.front().map(|(time, _)| self.latest.max(*time))
    }

    fn take(&mut self) -> Option<LogLine> {
        let (time, line) = self.read.pop_front()?;
        self.latest = self.latest.max(time);
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use service_shim::Files;
    use service_shim::cri::{RecordWriter, Stream};

    #[test]
    fn lines_of_one_service_keep_their_order_when_the_clock_is_set_back() {
        let directory = tempfile::tempdir().unwrap();
        let log = |name: &str, lines: &[(&str, &str)]| {
            let files = Files::new(directory.path().join(name));
            std::fs::create_dir(files.directory()).unwrap();
            let mut text = Vec::new();
            for (time, line) in lines {
                RecordWriter::new(time.parse().unwrap(), Stream::Stdout)
                    .write_line(&mut text, line.as_bytes());
            }
            std::fs::write(files.log(), text).unwrap();
            (Name::new(name).unwrap(), Source::Tail(files.tail(10, None).unwrap()))
        };
        let mut ahead: Ahead = [
            log("a", &[("2026-01-02T00:00:00Z", "1"), ("2026-01-01T00:00:01Z", "2")]),
            log("b", &[("2026-01-01T00:00:00Z", "0"), ("2026-01-03T00:00:00Z", "3")]),
        ]
        .into_iter()
        .collect();
        let mut told = Vec::new();
        while let Some(line) = ahead.next().unwrap() {
            told.push(line.line);
        }
        assert_eq!(told, ["0", "1", "2", "3"]);
    }
}
