//! Reads the last lines of a log: [`Files::tail`], [`Tail`].
//!
//! A tail reads only the requested lines, across all rotated files, with at most one block in memory. The backward
//! search finds the offset of the first line and retains no lines. The files stay open after the search, so that
//! neither rotations nor new lines disturb a slow reader.

use crate::cri::{Line, MAX_PART_BYTES, Part, Stream, Tag};
use crate::files::Files;
use crate::line_assembler::LineAssembler;
use jiff::Timestamp;
use memchr::memrchr;
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::ops::ControlFlow::{self, Break, Continue};
use std::os::unix::fs::{FileExt, MetadataExt};

/// The size of a read.
pub(crate) const BLOCK_BYTES: usize = 64 * 1024;
/// The size of the first read for a line. This size is small, because returned lines use many times as much memory
/// while they wait for their reader.
pub(crate) const FIRST_READ_BYTES: usize = 4 * 1024;
/// The limit of a record. A longer line was not written by a shim.
const MAX_RECORD_BYTES: usize = MAX_PART_BYTES + 64;
/// The maximum distance between the oldest requested line and its first part.
const MAX_LOOKBACK_BYTES: usize = 1024 * 1024;

/// The last lines of a log, which are still to be read.
#[derive(Debug, Default)]
pub struct Tail {
    /// The parts of the files to be read, oldest first.
    spans: VecDeque<Span>,
    assembler: LineAssembler,
}

/// A part of one file.
#[derive(Debug)]
struct Span {
    file: File,
    from: u64,
    to: u64,
    /// Lines that end before this offset are not requested.
    first: u64,
}

impl Files {
    /// The last lines of the log, oldest first: at most `most` lines, and only lines since `since`.
    ///
    /// Lines that are not records are skipped. The shim may write and rotate at the same time.
    pub fn tail(&self, most: usize, since: Option<Timestamp>) -> io::Result<Tail> {
        let tail = self.tail_within(most, since, usize::MAX)?;
        Ok(tail.unwrap_or_default())
    }

    /// Like [`Files::tail`]; `None` if the first line is more than `bytes` bytes before the end.
    pub fn tail_within(
        &self,
        most: usize,
        since: Option<Timestamp>,
        bytes: usize,
    ) -> io::Result<Option<Tail>> {
        let (mut tail, mut search) = (Tail::default(), TailSearch::within(most, since, bytes));
        self.tail_back(0, None, &mut search, &mut tail)?;
        Ok((!search.limit_reached()).then_some(tail))
    }

    /// Searches back from file number `first`, where 0 is the current log, to the oldest file that is needed. `before`:
    /// the inode of the file that was searched last.
    pub(crate) fn tail_back(
        &self,
        first: u32,
        mut before: Option<u64>,
        search: &mut TailSearch,
        tail: &mut Tail,
    ) -> io::Result<()> {
        for n in first.. {
            let path = if n == 0 { self.log() } else { self.rotated(n) };
            let file = match File::open(path) {
                Ok(file) => file,
                // Between the two renames of a rotation there is no current log.
                Err(error) if error.kind() == io::ErrorKind::NotFound && n == 0 => continue,
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                Err(error) => return Err(error),
            };
            // After a rotation the same file appears again under its next name.
            let inode = Some(file.metadata()?.ino());
            if inode == before {
                continue;
            }
            before = inode;
            let end = file.metadata()?.len();
            if tail.reach_back(file, end, search)?.is_break() {
                break;
            }
        }
        Ok(())
    }
}

impl Tail {
    /// Searches a file before `end`. `Break`: no older file is needed.
    pub(crate) fn reach_back(
        &mut self,
        file: File,
        end: u64,
        search: &mut TailSearch,
    ) -> io::Result<ControlFlow<()>> {
        let (mut from, mut first) = (0, end);
        let flow = backwards(&file, end, |place, record| {
            let (found, flow) = search.visit_record(record);
            if found {
                first = place;
            }
            if flow.is_break() {
                from = place;
            }
            flow
        })?;
        self.spans.push_front(Span { file, from, to: end, first });
        Ok(flow)
    }

    /// Appends the next lines. Returns whether there may be more.
    pub fn read(&mut self, lines: &mut Vec<Line>) -> io::Result<bool> {
        let more = self.read_whole(lines)?;
        if !more {
            lines.extend(std::mem::take(&mut self.assembler).finish());
        }
        Ok(more)
    }

    /// Reads all of the lines.
    pub fn all(mut self) -> io::Result<Vec<Line>> {
        let mut lines = Vec::new();
        while self.read(&mut lines)? {}
        Ok(lines)
    }

    /// Reads all of the lines that have ended.
    pub(crate) fn read_whole(&mut self, lines: &mut Vec<Line>) -> io::Result<bool> {
        let Some(span) = self.spans.front_mut() else { return Ok(false) };
        let most = usize::try_from(span.to - span.from).unwrap_or(BLOCK_BYTES).min(BLOCK_BYTES);
        let (block, newline) = read_some(&span.file, span.from, most)?;
        let length = block.len();
        // No record fills a block, and the last record of a file may be incomplete.
        let whole = newline.map_or(length, |newline| newline + 1);
        let mut place = span.from;
        for record in block[..whole].split_inclusive(|&byte| byte == b'\n') {
            if let Some(part) = record.strip_suffix(b"\n").and_then(Part::parse) {
                lines.extend(self.assembler.push(part, place >= span.first));
            }
            place += record.len() as u64;
        }
        span.from = place;
        if length == 0 || span.from == span.to {
            self.spans.pop_front();
        }
        Ok(true)
    }

    /// Whether everything has been read.
    pub fn is_over(&self) -> bool {
        self.spans.is_empty()
    }

    /// The unfinished lines, once everything has been read.
    pub(crate) fn assembler(&mut self) -> &mut LineAssembler {
        &mut self.assembler
    }
}

/// Reads the next records of a file, in the smallest read that contains a whole record. Returns them with the offset of
/// their end.
pub(crate) fn read_some(file: &File, from: u64, most: usize) -> io::Result<(Vec<u8>, Option<usize>)> {
    for size in [FIRST_READ_BYTES.min(most), most] {
        let mut block = vec![0; size];
        let length = file.read_at(&mut block, from)?;
        block.truncate(length);
        let newline = memrchr(b'\n', &block);
        if newline.is_some() || length < size || size == most {
            return Ok((block, newline));
        }
    }
    Ok((Vec::new(), None))
}

/// The lines of a whole log in memory, oldest first.
pub fn lines(log: &[u8]) -> Vec<Line> {
    let mut assembler = LineAssembler::default();
    let parts = log.split(|&byte| byte == b'\n').filter_map(Part::parse);
    let mut lines: Vec<Line> = parts.filter_map(|part| assembler.push(part, true)).collect();
    lines.extend(assembler.finish());
    lines
}

/// Visits the file's lines before `end` from the last to the first, each with its offset. Text after the last newline
/// is still being written.
fn backwards(
    file: &File,
    end: u64,
    mut visit: impl FnMut(u64, &[u8]) -> ControlFlow<()>,
) -> io::Result<ControlFlow<()>> {
    let mut start = end;
    // The bytes from `start` on that were not visited; `None` until the first newline.
    let mut unvisited: Option<Vec<u8>> = None;
    while start > 0 {
        let length = start.min(BLOCK_BYTES as u64);
        start -= length;
        let mut block = vec![0; usize::try_from(length).expect("a block fits in memory")];
        file.read_exact_at(&mut block, start)?;
        let mut end = match &unvisited {
            Some(rest) => {
                block.extend_from_slice(rest);
                block.len()
            }
            None => match memrchr(b'\n', &block) {
                Some(newline) => newline,
                None => continue,
            },
        };
        while let Some(newline) = memrchr(b'\n', &block[..end]) {
            if visit(start + newline as u64 + 1, &block[newline + 1..end]).is_break() {
                return Ok(Break(()));
            }
            end = newline;
        }
        block.truncate(end.min(MAX_RECORD_BYTES));
        unvisited = Some(block);
    }
    Ok(unvisited.map_or(Continue(()), |first| visit(0, &first)))
}

/// Finds the first record that is needed, among records in order from the newest to the oldest.
///
/// The offset and the time of a line are the offset and the time of its last record. Once there are enough lines, the
/// search continues only until it has found the beginning of each stream's unfinished line.
pub(crate) struct TailSearch {
    max_lines: usize,
    since: Option<Timestamp>,
    found: usize,
    /// By stream: whether an older partial record belongs to a line that was found.
    open: [bool; Stream::COUNT],
    enough: bool,
    lookback: usize,
    /// The number of bytes that may still be searched; 0 means that the limit is reached.
    bytes_left: usize,
}

impl TailSearch {
    pub(crate) fn within(most: usize, since: Option<Timestamp>, bytes: usize) -> Self {
        let (open, enough, lookback) = (Default::default(), most == 0, MAX_LOOKBACK_BYTES);
        Self { max_lines: most, since, found: 0, open, enough, lookback, bytes_left: bytes }
    }

    pub(crate) fn limit_reached(&self) -> bool {
        self.bytes_left == 0
    }

    /// Visits the next older record. Returns whether it ends a requested line, and `Break` if no older record is
    /// needed.
    fn visit_record(&mut self, record: &[u8]) -> (bool, ControlFlow<()>) {
        self.bytes_left = self.bytes_left.saturating_sub(record.len() + 1);
        if self.bytes_left == 0 {
            return (false, Break(()));
        }
        if self.enough {
            self.lookback = self.lookback.saturating_sub(record.len() + 1);
        }
        let found = Part::parse(record).is_some_and(|part| self.visit_part(part));
        let done = self.enough && (self.lookback == 0 || self.open.iter().all(|open| !open));
        (found, if done { Break(()) } else { Continue(()) })
    }

    fn visit_part(&mut self, part: Part<'_>) -> bool {
        let open = &mut self.open[part.stream as usize];
        if part.tag == Tag::Partial && *open {
            return false;
        }
        self.enough |= self.since.is_some_and(|since| part.time < since);
        *open = !self.enough;
        if self.enough {
            return false;
        }
        self.found += 1;
        self.enough = self.found == self.max_lines;
        true
    }
}

#[cfg(test)]
#[path = "tail_tests.rs"]
mod tests;
