//! [`LogFile`]: lines of a service's log, as a manager returned them. The lines are in an unnamed file, so that only
//! one line at a time is in memory, whatever the size of the log and the speed of its reader.

use super::author::Author;
use super::error::{LogError, ManagerError, RaisedError};
use super::line::{ManagerLogLine, Timed};
use super::log_cursor::LogPosition;
use super::reply::ManagerReply;
use serde_json::Value;
use service_api::view::LogLine;
use service_core::Name;
use service_host::blocking::run_blocking;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::sync::Arc;
use std::vec;
use tokio::sync::Semaphore;

/// The maximum number of logs that are read at the same time, because reading uses the processor.
const MAX_READ_COUNT: usize = 2;

/// Limits the concurrent reads of managers' logs.
#[derive(Clone)]
pub(super) struct LogReads(Arc<Semaphore>);

impl Default for LogReads {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_READ_COUNT)))
    }
}

impl LogReads {
    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> std::io::Result<T> {
        run_blocking(&self.0, work).await
    }
}

/// The size of a batch of lines.
const BATCH_LINES: usize = 256;
const BATCH_BYTES: usize = 64 * 1024;

/// The word that follows a call's id before the lines. The next occurrence of the id ends the lines.
const LINES: &str = "lines";

/// The output of a call, from its first byte.
pub(super) struct PrintedLog {
    pub(super) file: File,
    /// The id that marks the reply within the output.
    pub(super) call_id: String,
    /// The standard error of the call, or its exit status.
    pub(super) error_output: String,
}

/// Lines of one service, the oldest first.
pub struct LogFile {
    file: BufReader<File>,
    call_id: String,
    service: Name,
    text: Vec<u8>,
}

/// A log file, and for each of its next lines whether the line is selected.
pub(super) type Rest = (LogFile, vec::IntoIter<bool>);

impl PrintedLog {
    /// Reads the last lines of the file and their identities. All lines are validated before the first is delivered.
    pub(super) async fn record(
        self,
        reads: &LogReads,
        service: &Name,
        most: usize,
        marked: usize,
    ) -> Result<(LogFile, Vec<LogPosition>), ManagerError> {
        let service = service.clone();
        let found = reads.run(move || self.find(service)?.checked(most, marked)).await;
        found.map_err(cannot_store)?
    }

    fn find(mut self, service: Name) -> Result<LogFile, ManagerError> {
        self.file.seek(SeekFrom::Start(0)).map_err(cannot_store)?;
        let mut file = BufReader::new(self.file);
        let (mut text, mut first) = (Vec::new(), String::new());
        loop {
            text.clear();
            if file.read_until(b'\n', &mut text).map_err(cannot_store)? == 0 {
                let said = if first.is_empty() { self.error_output } else { first };
                return Err(LogError::NoReply { output: said }.into());
            }
            let line = String::from_utf8_lossy(&text);
            let Some(word) = line.strip_prefix(&self.call_id).map(str::trim) else {
                // Other output of a module is shown only if there is no reply.
                if first.is_empty() {
                    line.trim().clone_into(&mut first);
                }
                continue;
            };
            if word == LINES {
                return Ok(LogFile { file, call_id: self.call_id, service, text });
            }
            return Err(match serde_json::from_str(word) {
                Ok(error) => RaisedError::read(&error, Author::Us).into(),
                // The output is returned, because only clients that may read logs receive this error.
                Err(_) => LogError::OtherReply { output: word.to_owned() }.into(),
            });
        }
    }
}

fn cannot_store(error: std::io::Error) -> LogError {
    LogError::Store(Arc::new(error))
}

impl LogFile {
    fn checked(mut self, most: usize, marked: usize) -> Result<(Self, Vec<LogPosition>), ManagerError> {
        let begin = self.file.stream_position().map_err(cannot_store)?;
        let (mut lines, mut marks) = (0_usize, VecDeque::new());
        while let Some(line) = self.next_line()? {
            marks.push_back(LogPosition::from_line(&line));
            if marks.len() > marked {
                marks.pop_front();
            }
            lines += 1;
        }
        self.file.seek(SeekFrom::Start(begin)).map_err(cannot_store)?;
        for _ in most..lines {
            self.next_line()?;
        }
        Ok((self, marks.into()))
    }

    /// The next line.
    pub fn next_line(&mut self) -> Result<Option<Timed>, LogError> {
        loop {
            self.text.clear();
            let read = self.file.read_until(b'\n', &mut self.text);
            let read = read.map_err(|error| LogError::Read(Arc::new(error)))?;
            if read == 0 {
                return Err(LogError::Incomplete);
            }
            let text = self.text.trim_ascii();
            if text.starts_with(self.call_id.as_bytes()) {
                return Ok(None);
            }
            if !text.is_empty() {
                let line: Value = serde_json::from_slice(text)
                    .map_err(|_| LogError::NotJson { line: String::from_utf8_lossy(text).into_owned() })?;
                return Ok(Some(ManagerLogLine::read(line, Author::Us)?.view(&self.service)));
            }
        }
    }

    /// The next batch of selected lines, and the remaining file if lines are left.
    pub(super) async fn some(
        mut self,
        reads: &LogReads,
        mut wanted: vec::IntoIter<bool>,
    ) -> (Vec<LogLine>, Option<Rest>) {
        let read = reads.run(move || {
            let (mut lines, mut bytes) = (Vec::new(), 0);
            while lines.len() < BATCH_LINES && bytes < BATCH_BYTES {
                match self.next_line() {
                    Ok(Some((_, line))) if wanted.next() == Some(true) => {
                        bytes += line.line.len();
                        lines.push(line);
                    }
                    Ok(Some(_)) => {}
                    Ok(None) | Err(_) => return (lines, None),
                }
            }
            (lines, Some((self, wanted)))
        });
        read.await.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    async fn record(text: &str, most: usize) -> Result<Vec<String>, ManagerError> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let printed = PrintedLog { file, call_id: "7".into(), error_output: String::new() };
        let (mut record, marks) =
            printed.record(&LogReads::default(), &Name::new("a").unwrap(), most, 1).await?;
        assert!(marks.len() <= 1);
        let mut lines = Vec::new();
        while let Some((_, line)) = record.next_line().unwrap() {
            lines.push(line.line);
        }
        Ok(lines)
    }

    #[tokio::test]
    async fn the_last_lines_are_told_and_what_is_printed_beside_them_is_not() {
        let text = "noise\n7 lines\n\"one\"\n{\"line\":\"two\",\"time\":\"2026-01-01T00:00:00Z\"}\n\"three\"\n\n7 end\n";
        assert_eq!(record(text, 2).await.unwrap(), ["two", "three"]);
        assert!(record("\n7 lines\n\n7 end\n", 2).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn what_is_no_line_is_told_before_one_is() {
        let said = |text: &'static str| async move { record(text, 9).await.unwrap_err().to_string() };
        assert_eq!(
            said("7 lines\n\"one\"\n5\n7 end\n").await,
            "a line should be a string or a record, not 5"
        );
        assert!(said("7 lines\n\"one\"\n").await.contains("in the middle"));
        assert_eq!(said("it broke\n").await, "its manager failed: it broke");
        let raised = record("7 {\"error\":{\"msg\":\"no log\",\"help\":null}}\n", 9).await.unwrap_err();
        assert_eq!(raised.to_string(), "no log");
    }
}
