//! Reading a log from one of its last lines on: [`Files::tail`], [`Tail`]. Only what is asked for is read, over all
//! rotated files, and of that no more is in memory than a block.
//!
//! The way back from the end looks for the place to begin at and keeps nothing. The files are held open from then on, so
//! neither a rotation nor what is written meanwhile disturbs a reader that takes its time.

use crate::begun::Begun;
use crate::cri::{LONGEST_PART, Line, Part, Stream, Tag};
use crate::files::Files;
use jiff::Timestamp;
use memchr::memrchr;
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::ops::ControlFlow::{self, Break, Continue};
use std::os::unix::fs::{FileExt, MetadataExt};

/// How much is read at once.
pub(crate) const BLOCK: usize = 64 * 1024;
/// How much is told at once, where records are no longer than that: lines that wait for their reader take many times it.
pub(crate) const SIP: usize = 4 * 1024;
/// No record is longer; what is was not written by us.
const LONGEST_RECORD: usize = LONGEST_PART + 64;
/// How far behind the oldest line wanted its first part is still looked for. A stream that has been silent for
/// longer than this had nothing to say that belongs to it.
const PATIENCE: usize = 1024 * 1024;

/// The end of a log, still to be read.
#[derive(Debug, Default)]
pub struct Tail {
    /// Oldest first.
    spans: VecDeque<Span>,
    begun: Begun,
}

/// A part of one file.
#[derive(Debug)]
struct Span {
    file: File,
    from: u64,
    to: u64,
    /// The lines that end before this are not asked for.
    first: u64,
}

impl Files {
    /// The last lines of the log, at most `most`, and none from before `since`; oldest first.
    ///
    /// What is not a record is passed over. The shim may write and rotate at the same time.
    pub fn tail(&self, most: usize, since: Option<Timestamp>) -> io::Result<Tail> {
        let tail = self.tail_within(most, since, usize::MAX)?;
        Ok(tail.unwrap_or_default())
    }

    /// The same, unless more than so many bytes would have to be searched for the first of these lines.
    pub fn tail_within(
        &self,
        most: usize,
        since: Option<Timestamp>,
        bytes: usize,
    ) -> io::Result<Option<Tail>> {
        let (mut tail, mut search) = (Tail::default(), Search::within(most, since, bytes));
        self.tail_back(0, None, &mut search, &mut tail)?;
        Ok((!search.gave_up()).then_some(tail))
    }

    /// Goes back from file number `first` on, 0 being the current log, to the oldest that is needed. `before`: the
    /// inode of the file that was looked at last.
    pub(crate) fn tail_back(
        &self,
        first: u32,
        mut before: Option<u64>,
        search: &mut Search,
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
            // A rotation since the last turn shows us the same file again under its next name.
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
    /// Takes in as much of a file before `end` as is needed. `Break`: no older one is.
    pub(crate) fn reach_back(
        &mut self,
        file: File,
        end: u64,
        search: &mut Search,
    ) -> io::Result<ControlFlow<()>> {
        let (mut from, mut first) = (0, end);
        let flow = backwards(&file, end, |place, record| {
            let (found, flow) = search.record(record);
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

    /// Adds the next of the lines. Returns whether there may be more.
    pub fn read(&mut self, lines: &mut Vec<Line>) -> io::Result<bool> {
        let more = self.read_whole(lines)?;
        if !more {
            lines.extend(std::mem::take(&mut self.begun).rest());
        }
        Ok(more)
    }

    /// All of the lines.
    pub fn all(mut self) -> io::Result<Vec<Line>> {
        let mut lines = Vec::new();
        while self.read(&mut lines)? {}
        Ok(lines)
    }

    /// The same without a line that has not ended.
    pub(crate) fn read_whole(&mut self, lines: &mut Vec<Line>) -> io::Result<bool> {
        let Some(span) = self.spans.front_mut() else { return Ok(false) };
        let most = usize::try_from(span.to - span.from).unwrap_or(BLOCK).min(BLOCK);
        let (block, newline) = sip(&span.file, span.from, most)?;
        let length = block.len();
        // No record is so long that it fills a block; and the last of a file may not be written to its end.
        let whole = newline.map_or(length, |newline| newline + 1);
        let mut place = span.from;
        for record in block[..whole].split_inclusive(|&byte| byte == b'\n') {
            if let Some(part) = record.strip_suffix(b"\n").and_then(Part::parse) {
                lines.extend(self.begun.part(part, place >= span.first));
            }
            place += record.len() as u64;
        }
        span.from = place;
        if length == 0 || span.from == span.to {
            self.spans.pop_front();
        }
        Ok(true)
    }

    /// Whether all has been read.
    pub fn is_over(&self) -> bool {
        self.spans.is_empty()
    }

    /// The beginnings of lines that have not ended, once all has been read.
    pub(crate) fn begun(&mut self) -> &mut Begun {
        &mut self.begun
    }
}

/// The next records of a file, in as little as has the end of one, and where the last of them ends.
pub(crate) fn sip(file: &File, from: u64, most: usize) -> io::Result<(Vec<u8>, Option<usize>)> {
    for size in [SIP.min(most), most] {
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

/// The lines of a whole log that is in memory, oldest first.
pub fn lines(log: &[u8]) -> Vec<Line> {
    let mut begun = Begun::default();
    let parts = log.split(|&byte| byte == b'\n').filter_map(Part::parse);
    let mut lines: Vec<Line> = parts.filter_map(|part| begun.part(part, true)).collect();
    lines.extend(begun.rest());
    lines
}

/// Visits the file's lines before `end` from the last to the first, each with its place. What follows the last newline is still being
/// written.
fn backwards(
    file: &File,
    end: u64,
    mut visit: impl FnMut(u64, &[u8]) -> ControlFlow<()>,
) -> io::Result<ControlFlow<()>> {
    let mut start = end;
    // Everything from `start` on that has not been visited: `None` until the first newline.
    let mut unvisited: Option<Vec<u8>> = None;
    while start > 0 {
        let length = start.min(BLOCK as u64);
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
        block.truncate(end.min(LONGEST_RECORD));
        unvisited = Some(block);
    }
    Ok(unvisited.map_or(Continue(()), |first| visit(0, &first)))
}

/// Looks for the first record that is needed, in records that come newest first.
///
/// A line's place is that of its last record, and so is its time. When there are enough lines, records are only
/// looked at until the line that each stream has open has its beginning.
pub(crate) struct Search {
    most: usize,
    since: Option<Timestamp>,
    found: usize,
    /// By stream: whether an older partial record belongs to a line that was found.
    open: [bool; Stream::COUNT],
    enough: bool,
    patience: usize,
    /// How much may be looked at; 0: the search was given up.
    left: usize,
}

impl Search {
    pub(crate) fn within(most: usize, since: Option<Timestamp>, bytes: usize) -> Self {
        let (open, enough, patience) = (Default::default(), most == 0, PATIENCE);
        Self { most, since, found: 0, open, enough, patience, left: bytes }
    }

    pub(crate) fn gave_up(&self) -> bool {
        self.left == 0
    }

    /// Takes the next older record: whether it ends a line that is asked for, and `Break` if no older one is needed.
    fn record(&mut self, record: &[u8]) -> (bool, ControlFlow<()>) {
        self.left = self.left.saturating_sub(record.len() + 1);
        if self.left == 0 {
            return (false, Break(()));
        }
        if self.enough {
            self.patience = self.patience.saturating_sub(record.len() + 1);
        }
        let found = Part::parse(record).is_some_and(|part| self.part(part));
        let done = self.enough && (self.patience == 0 || self.open.iter().all(|open| !open));
        (found, if done { Break(()) } else { Continue(()) })
    }

    fn part(&mut self, part: Part<'_>) -> bool {
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
        self.enough = self.found == self.most;
        true
    }
}

#[cfg(test)]
#[path = "tail_tests.rs"]
mod tests;
