//! [`LogMerger`]: merges the lines of many logs by time, with at most one block of each log in memory.
//!
//! The lines of one service keep their order, even if the clock was set back between them.

use jiff::Timestamp;
use service_api::view::LogLine;
use service_core::Name;
use service_manager::LogFile;
use service_orchestrator::views;
use service_shim::{Follower, Line, Tail};
use std::collections::VecDeque;
use std::io;

/// The source of the lines of one service.
pub(super) enum LogSource {
    Tail(Tail),
    Follower(Follower),
    /// The lines that the manager returned.
    Manager(Option<LogFile>),
}

/// The logs of one reader.
pub(super) struct LogMerger(Vec<MergedLog>);

struct MergedLog {
    name: Name,
    source: LogSource,
    /// The lines that were read and not yet returned.
    read: VecDeque<TimedLine>,
    /// The latest time of a returned line.
    latest: Timestamp,
    /// Whether all lines that existed at the start are read.
    is_over: bool,
}

/// A line and its time. Lines without a time come first.
type TimedLine = (Timestamp, LogLine);

impl FromIterator<(Name, LogSource)> for LogMerger {
    fn from_iter<I: IntoIterator<Item = (Name, LogSource)>>(logs: I) -> Self {
        let log = |(name, source)| MergedLog {
            name,
            source,
            read: VecDeque::new(),
            latest: Timestamp::MIN,
            is_over: false,
        };
        Self(logs.into_iter().map(log).collect())
    }
}

impl LogMerger {
    /// The next line among the lines that existed at the start.
    pub(super) fn next(&mut self) -> io::Result<Option<LogLine>> {
        for log in &mut self.0 {
            log.fill()?;
        }
        let first =
            self.0.iter_mut().filter_map(|log| Some((log.next_time()?, log))).min_by_key(|(time, _)| *time);
        Ok(first.and_then(|(_, log)| log.pop()))
    }

    /// Adds logs of managers.
    pub(super) fn add(&mut self, records: Vec<(Name, Option<LogFile>)>) {
        let records: Self =
            records.into_iter().map(|(name, record)| (name, LogSource::Manager(record))).collect();
        self.0.extend(records.0);
    }

    /// Adds new lines of one service with a manager.
    pub(super) fn push(&mut self, name: &Name, lines: Vec<LogLine>) {
        if let Some(log) =
            self.0.iter_mut().find(|log| matches!(log.source, LogSource::Manager(_)) && log.name == *name)
        {
            let time = |line: &LogLine| line.time.parse().unwrap_or(Timestamp::MIN);
            log.read.extend(lines.into_iter().map(|line| (time(&line), line)));
        }
    }

    /// Passes new lines of the files to the writer. Returns whether there may be more.
    pub(super) fn read_new(&mut self, mut emit: impl FnMut(LogLine)) -> io::Result<bool> {
        let mut has_more = false;
        for log in &mut self.0 {
            let LogSource::Follower(follower) = &mut log.source else { continue };
            let mut lines = Vec::new();
            has_more |= follower.read(&mut lines)?;
            log.add(lines);
        }
        while let Some((_, log)) =
            self.0.iter_mut().filter_map(|log| Some((log.next_time()?, log))).min_by_key(|(time, _)| *time)
        {
            log.pop().into_iter().for_each(&mut emit);
        }
        Ok(has_more)
    }
}

impl MergedLog {
    /// Reads the next lines, if none are left.
    fn fill(&mut self) -> io::Result<()> {
        let mut lines = Vec::new();
        while self.read.is_empty() && !self.is_over {
            self.is_over = match &mut self.source {
                LogSource::Tail(tail) => !tail.read(&mut lines)?,
                LogSource::Follower(follower) => follower.is_past_tail() || !follower.read(&mut lines)?,
                LogSource::Manager(record) => {
                    let next =
                        record.as_mut().map(LogFile::next_line).transpose().map_err(io::Error::other)?;
                    let line = next.flatten().map(|(time, line)| (time.unwrap_or(Timestamp::MIN), line));
                    let is_over = line.is_none();
                    self.read.extend(line);
                    is_over
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

    /// The time by which the next line is ordered.
    fn next_time(&self) -> Option<Timestamp> {
        self.read.front().map(|(time, _)| self.latest.max(*time))
    }

    fn pop(&mut self) -> Option<LogLine> {
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
            (Name::new(name).unwrap(), LogSource::Tail(files.tail(10, None).unwrap()))
        };
        let mut merger: LogMerger = [
            log("a", &[("2026-01-02T00:00:00Z", "1"), ("2026-01-01T00:00:01Z", "2")]),
            log("b", &[("2026-01-01T00:00:00Z", "0"), ("2026-01-03T00:00:00Z", "3")]),
        ]
        .into_iter()
        .collect();
        let mut lines = Vec::new();
        while let Some(line) = merger.next().unwrap() {
            lines.push(line.line);
        }
        assert_eq!(lines, ["0", "1", "2", "3"]);
    }
}
