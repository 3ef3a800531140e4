//! Reading a log from its end: [`Files::tail`]. Only what is asked for is read, over all rotated files.

use crate::Files;
use crate::cri::{LONGEST_PART, Line, Part, Stream, Tag};
use jiff::Timestamp;
use memchr::memrchr;
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::ops::ControlFlow::{self, Break, Continue};
use std::os::unix::fs::{FileExt, MetadataExt};

/// How much is read at once.
pub(crate) const BLOCK: usize = 64 * 1024;
/// No record is longer; what is was not written by us.
const LONGEST_RECORD: usize = LONGEST_PART + 64;
/// The most that is kept of one line. A service that never ends its line must not fill the daemon's memory.
pub(crate) const LONGEST_LINE: usize = 1024 * 1024;
/// How far behind the oldest line wanted its first part is still looked for. A stream that has been silent for
/// longer than this had nothing to say that belongs to it.
const PATIENCE: usize = 1024 * 1024;

impl Files {
    /// The last lines of the log, at most `most`, and none from before `since`; oldest first.
    ///
    /// What is not a record is passed over. The shim may write and rotate at the same time.
    pub fn tail(&self, most: usize, since: Option<Timestamp>) -> io::Result<Vec<Line>> {
        let mut gather = Gather::new(most, since);
        self.gather_back(0, None, &mut gather)?;
        Ok(gather.finish())
    }

    /// Gathers from file number `first` on, 0 being the current log, to the oldest. `before`: the inode of the file
    /// that was read last.
    pub(crate) fn gather_back(
        &self,
        first: u32,
        mut before: Option<u64>,
        gather: &mut Gather,
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
            if backwards(&file, end, |record| gather.record(record))?.is_break() {
                break;
            }
        }
        Ok(())
    }
}

/// The lines of a whole log that is in memory, oldest first.
pub fn lines(log: &[u8]) -> Vec<Line> {
    let mut gather = Gather::new(usize::MAX, None);
    for record in log.split(|&byte| byte == b'\n').rev() {
        let _ = gather.record(record);
    }
    gather.finish()
}

/// Visits the file's lines before `end` from the last to the first. What follows the last newline is still being
/// written.
pub(crate) fn backwards(
    file: &File,
    end: u64,
    mut visit: impl FnMut(&[u8]) -> ControlFlow<()>,
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
            if visit(&block[newline + 1..end]).is_break() {
                return Ok(Break(()));
            }
            end = newline;
        }
        block.truncate(end.min(LONGEST_RECORD));
        unvisited = Some(block);
    }
    Ok(unvisited.map_or(Continue(()), |first| visit(&first)))
}

/// Puts lines together from records that come newest first.
///
/// A line's place is that of its last record, and so is its time. When there are enough lines, records are only
/// looked at until the line that each stream has open has its beginning.
pub(crate) struct Gather {
    most: usize,
    since: Option<Timestamp>,
    /// Newest first.
    lines: Vec<Pieces>,
    /// By stream: the line that an older partial record belongs to.
    open: [Option<usize>; Stream::COUNT],
    enough: bool,
    patience: usize,
}

/// A line in the making.
struct Pieces {
    time: Timestamp,
    stream: Stream,
    /// Whether its end is written.
    ended: bool,
    /// Oldest first.
    texts: VecDeque<Vec<u8>>,
    length: usize,
}

impl Gather {
    pub(crate) fn new(most: usize, since: Option<Timestamp>) -> Self {
        let (lines, open) = (Vec::new(), [None; Stream::COUNT]);
        Self { most, since, lines, open, enough: most == 0, patience: PATIENCE }
    }

    /// Takes the next older record. `Break`: no older one is needed.
    pub(crate) fn record(&mut self, record: &[u8]) -> ControlFlow<()> {
        if self.enough {
            self.patience = self.patience.saturating_sub(record.len() + 1);
        }
        if let Some(part) = Part::parse(record) {
            self.part(part);
        }
        let done = self.enough && (self.patience == 0 || self.open.iter().all(Option::is_none));
        if done { Break(()) } else { Continue(()) }
    }

    fn part(&mut self, part: Part<'_>) {
        let open = &mut self.open[part.stream as usize];
        match (part.tag, *open) {
            (Tag::Partial, Some(line)) => self.lines[line].put_before(part.text),
            (Tag::Partial | Tag::Full, _) => {
                self.enough |= self.since.is_some_and(|since| part.time < since);
                *open = (!self.enough).then_some(self.lines.len());
                if !self.enough {
                    self.lines.push(Pieces::ending_with(part));
                    self.enough = self.lines.len() == self.most;
                }
            }
        }
    }

    fn finish(self) -> Vec<Line> {
        self.lines.into_iter().rev().map(Pieces::join).collect()
    }

    /// The lines that have ended, and by stream the beginning of one that has not.
    pub(crate) fn finish_at_end(self) -> (Vec<Line>, [Vec<u8>; Stream::COUNT]) {
        let mut begun = [const { Vec::new() }; Stream::COUNT];
        let mut lines = Vec::with_capacity(self.lines.len());
        for line in self.lines.into_iter().rev() {
            if line.ended {
                lines.push(line.join());
            } else {
                begun[line.stream as usize] = line.texts.into_iter().flatten().collect();
            }
        }
        (lines, begun)
    }
}

impl Pieces {
    fn ending_with(part: Part<'_>) -> Self {
        let texts = VecDeque::from([part.text.to_vec()]);
        Self {
            time: part.time,
            stream: part.stream,
            ended: part.tag == Tag::Full,
            length: part.text.len(),
            texts,
        }
    }

    fn put_before(&mut self, text: &[u8]) {
        self.length += text.len();
        self.texts.push_front(text.to_vec());
        // The beginning says more than the end.
        while self.length > LONGEST_LINE {
            self.length -= self.texts.pop_back().map_or(0, |text| text.len());
        }
    }

    fn join(self) -> Line {
        let bytes: Vec<u8> = self.texts.into_iter().flatten().collect();
        Line { time: self.time, stream: self.stream, text: text(bytes) }
    }
}

/// Whatever a service wrote, as text.
pub(crate) fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

#[cfg(test)]
#[path = "tail_tests.rs"]
mod tests;
