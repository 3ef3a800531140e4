//! Reads a log as it grows, without gaps or repeated lines, across rotations: [`Files::follow`], [`Follower`].
//!
//! A follower keeps its file open and knows its position. If the current log is another file, the follower's file was
//! rotated and is complete. The next file is the one with the next lower number. The caller waits for new lines: each
//! change of a log is an inotify event of its directory.

use crate::cri::{Line, Part, Stream};
use crate::files::Files;
use crate::line_assembler::LineAssembler;
use crate::tail::{BLOCK_BYTES, Tail, TailSearch, read_some};
use jiff::Timestamp;
use memchr::memrchr;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::Duration;

/// Between the two renames of a rotation there is no current log. This delay is far longer than the gap.
const ROTATION_DELAY: Duration = Duration::from_millis(1);
/// The line that stands for lines that were rotated away before they were read.
const LOST_LINES: &str = "lines are missing here: they were rotated away before they could be read";

/// Reads the end of a log, and then the lines that are appended.
#[derive(Debug)]
pub struct Follower {
    files: Files,
    tail: Tail,
    /// The open file; `None` until there is a log.
    open: Option<Open>,
}

/// An open file, and the position up to which it was read: the end of a record.
#[derive(Debug)]
struct Open {
    file: File,
    inode: u64,
    read: u64,
    /// The newest rotated file at the time when this file was the current log.
    before: Option<Rotated>,
}

/// Identifies a rotated file: its inode and its modification time, because inodes are reused.
type Rotated = (u64, i64, i64);

/// The file that follows a rotated one.
enum Next {
    Follows(Open),
    AfterGap(Open),
    /// A rotation is under way.
    NotYet,
}

impl Files {
    /// A follower that begins with the last lines of the log, as [`Files::tail`] returns them, and continues with the
    /// lines after them.
    pub fn follow(&self, most: usize, since: Option<Timestamp>) -> io::Result<Follower> {
        let follower = self.follow_within(most, since, usize::MAX)?;
        follower.ok_or_else(|| io::Error::other("an unbounded search ended early"))
    }

    /// Like [`Files::follow`]; `None` if the first line is more than `bytes` bytes before the end.
    pub fn follow_within(
        &self,
        most: usize,
        since: Option<Timestamp>,
        bytes: usize,
    ) -> io::Result<Option<Follower>> {
        let (mut search, mut tail) = (TailSearch::within(most, since, bytes), Tail::default());
        let mut open = self.current()?;
        if open.is_none() && self.rotated(1).exists() {
            std::thread::sleep(ROTATION_DELAY);
            open = self.current()?;
        }
        if let Some(open) = &mut open {
            open.read = whole_records(&open.file)?;
            if tail.reach_back(open.file.try_clone()?, open.read, &mut search)?.is_continue() {
                let older = self.number_of(open.inode)?.map_or(1, |number| number + 1);
                self.tail_back(older, Some(open.inode), &mut search, &mut tail)?;
            }
        }
        Ok((!search.limit_reached()).then(|| Follower { files: self.clone(), tail, open }))
    }

    fn current(&self) -> io::Result<Option<Open>> {
        let before = self.rotated_last()?;
        Ok(Open::from_result(File::open(self.log()))?.map(|open| Open { before, ..open }))
    }

    fn rotated_last(&self) -> io::Result<Option<Rotated>> {
        match std::fs::metadata(self.rotated(1)) {
            Ok(file) => Ok(Some((file.ino(), file.mtime(), file.mtime_nsec()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The number of the rotated file with this inode.
    fn number_of(&self, inode: u64) -> io::Result<Option<u32>> {
        // A rotation renames the oldest file first, so that one number is missing meanwhile. A search that begins with
        // the newest file finds the file nevertheless.
        let mut holes = 0;
        for number in 1.. {
            match std::fs::metadata(self.rotated(number)) {
                Ok(found) if found.ino() == inode => return Ok(Some(number)),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound && holes == 0 => holes += 1,
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }
}

impl Open {
    fn from_result(file: io::Result<File>) -> io::Result<Option<Self>> {
        match file {
            Ok(file) => Ok(Some(Self { inode: file.metadata()?.ino(), file, read: 0, before: None })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Follower {
    /// Appends lines that were written since the last call to `lines`. Returns whether there may be more.
    pub fn read(&mut self, lines: &mut Vec<Line>) -> io::Result<bool> {
        if self.tail.read_whole(lines)? {
            return Ok(true);
        }
        let more = self.read_on(lines)?;
        if !more {
            lines.extend(self.tail.assembler().take_visible());
        }
        Ok(more)
    }

    fn read_on(&mut self, lines: &mut Vec<Line>) -> io::Result<bool> {
        if self.open.is_none() {
            self.open = self.files.current()?;
        }
        let Some(open) = &self.open else { return Ok(false) };
        let inode = open.inode;
        if self.read_block(lines)? {
            return Ok(true);
        }
        let current = self.files.current()?;
        if current.as_ref().is_none_or(|current| current.inode == inode) {
            if let (Some(open), Some(current)) = (&mut self.open, current) {
                open.before = current.before;
            }
            return Ok(false);
        }
        // The shim may have written between the last read and the rotation.
        if self.read_block(lines)? {
            return Ok(true);
        }
        match self.next_after(inode)? {
            Next::NotYet => return Ok(false),
            Next::Follows(next) => self.open = Some(next),
            Next::AfterGap(next) => {
                self.open = Some(next);
                *self.tail.assembler() = LineAssembler::default();
                let (time, text) = (Timestamp::now(), LOST_LINES.to_owned());
                lines.push(Line { time, stream: Stream::Shim, text, partial: false, continues: false });
            }
        }
        Ok(true)
    }

    /// Reads one block of complete records. Returns whether there was one.
    fn read_block(&mut self, lines: &mut Vec<Line>) -> io::Result<bool> {
        let Some(open) = &mut self.open else { return Ok(false) };
        if open.file.metadata()?.len() < open.read {
            open.read = 0; // the file was truncated
        }
        let (block, newline) = read_some(&open.file, open.read, BLOCK_BYTES)?;
        let whole = match newline {
            Some(newline) => newline + 1,
            None if block.len() == BLOCK_BYTES => BLOCK_BYTES, // longer than any record
            None => return Ok(false),
        };
        open.read += whole as u64;
        for record in block[..whole].split(|&byte| byte == b'\n') {
            if let Some(part) = Part::parse(record) {
                lines.extend(self.tail.assembler().push(part, true));
            }
        }
        Ok(true)
    }

    /// Whether the lines that existed at the beginning have been read.
    pub fn is_past_tail(&self) -> bool {
        self.tail.is_over()
    }

    fn next_after(&self, inode: u64) -> io::Result<Next> {
        let path = |number| if number == 0 { self.files.log() } else { self.files.rotated(number) };
        let Some(number) = self.files.number_of(inode)? else {
            // If nothing was rotated since, another program has moved or removed the log, and the shim has created a
            // new one.
            let before = self.open.as_ref().and_then(|open| open.before);
            if self.files.rotated_last()? == before {
                let next = self.files.current()?.filter(|next| next.inode != inode);
                return Ok(next.map_or(Next::NotYet, Next::Follows));
            }
            // The follower's file was deleted. The oldest remaining file is the next one.
            let oldest = (0..u32::MAX).take_while(|number| path(*number).exists()).last().unwrap_or(0);
            let Some(next) = Open::from_result(File::open(path(oldest)))? else { return Ok(Next::NotYet) };
            return Ok(if oldest == 0 { Next::Follows(next) } else { Next::AfterGap(next) });
        };
        let next = Open::from_result(File::open(path(number - 1)))?.filter(|next| next.inode != inode);
        // The file is the next one only if no rotation has renumbered the files meanwhile.
        let unmoved = std::fs::metadata(path(number)).is_ok_and(|ours| ours.ino() == inode);
        Ok(next.filter(|_| unmoved).map_or(Next::NotYet, Next::Follows))
    }
}

/// The length of the complete records of a file.
fn whole_records(file: &File) -> io::Result<u64> {
    let mut end = file.metadata()?.len();
    while end > 0 {
        let length = end.min(BLOCK_BYTES as u64);
        let mut block = vec![0; usize::try_from(length).expect("a block fits in memory")];
        file.read_exact_at(&mut block, end - length)?;
        if let Some(newline) = memrchr(b'\n', &block) {
            return Ok(end - length + newline as u64 + 1);
        }
        end -= length;
    }
    Ok(0)
}

#[cfg(test)]
#[path = "follow_tests.rs"]
mod tests;
