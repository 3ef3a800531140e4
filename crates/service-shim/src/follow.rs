//! Reading a log as it grows: [`Files::follow`], [`Follower`]. No line twice and none left out, also over rotations.
//!
//! A follower holds its file open and knows how far it has read. When the current log is another file, ours has been
//! rotated and gets no more; the next one is its neighbour, whatever number the two have by then. Waiting for more is
//! up to the caller: whatever the shim does to a log is an event of the log's directory.

use crate::begun::Begun;
use crate::cri::{Line, Part, Stream};
use crate::files::Files;
use crate::tail::{BLOCK, Search, Tail, sip};
use jiff::Timestamp;
use memchr::memrchr;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::Duration;

/// Between the two renames of a rotation there is no current log; it takes far less than this.
const BETWEEN_RENAMES: Duration = Duration::from_millis(1);
/// Said where lines were rotated away faster than they were read.
const MISSING: &str = "lines are missing here: they were rotated away before they could be read";

/// Reads the end of a log, and then what is added to it.
#[derive(Debug)]
pub struct Follower {
    files: Files,
    tail: Tail,
    /// `None` until there is a log.
    open: Option<Open>,
}

/// A file, and how far it has been read: to the end of a record.
#[derive(Debug)]
struct Open {
    file: File,
    inode: u64,
    read: u64,
    /// The file that was rotated last when this one was seen as the current log.
    before: Option<Rotated>,
}

/// Which rotated file it is: its inode, and when it was written last, as inodes are used again.
type Rotated = (u64, i64, i64);

/// What becomes of a follower whose file was rotated away.
enum Next {
    Follows(Open),
    AfterGap(Open),
    /// A rotation is under way.
    NotYet,
}

impl Files {
    /// A follower that begins with the last lines of the log, as [`Files::tail`] gives them, and goes on right after
    /// them.
    pub fn follow(&self, most: usize, since: Option<Timestamp>) -> io::Result<Follower> {
        let follower = self.follow_within(most, since, usize::MAX)?;
        follower.ok_or_else(|| io::Error::other("a search without a bound was given up"))
    }

    /// The same, unless more than so many bytes would have to be searched for the first of these lines.
    pub fn follow_within(
        &self,
        most: usize,
        since: Option<Timestamp>,
        bytes: usize,
    ) -> io::Result<Option<Follower>> {
        let (mut search, mut tail) = (Search::within(most, since, bytes), Tail::default());
        let mut open = self.current()?;
        if open.is_none() && self.rotated(1).exists() {
            std::thread::sleep(BETWEEN_RENAMES);
            open = self.current()?;
        }
        if let Some(open) = &mut open {
            open.read = whole_records(&open.file)?;
            if tail.reach_back(open.file.try_clone()?, open.read, &mut search)?.is_continue() {
                let older = self.number_of(open.inode)?.map_or(1, |number| number + 1);
                self.tail_back(older, Some(open.inode), &mut search, &mut tail)?;
            }
        }
        Ok((!search.gave_up()).then(|| Follower { files: self.clone(), tail, open }))
    }

    fn current(&self) -> io::Result<Option<Open>> {
        let before = self.rotated_last()?;
        Ok(Open::of(File::open(self.log()))?.map(|open| Open { before, ..open }))
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
        // While files are renamed, from the oldest on, there is one hole. Looking from the newest on misses none.
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
    fn of(file: io::Result<File>) -> io::Result<Option<Self>> {
        match file {
            Ok(file) => Ok(Some(Self { inode: file.metadata()?.ino(), file, read: 0, before: None })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Follower {
    /// Adds some of what was written since the last call to `lines`. Returns whether there may be more by now.
    pub fn read(&mut self, lines: &mut Vec<Line>) -> io::Result<bool> {
        if self.tail.read_whole(lines)? {
            return Ok(true);
        }
        let more = self.read_on(lines)?;
        if !more {
            lines.extend(self.tail.begun().shown());
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
        // Something may have been written between the last look and the rotation.
        if self.read_block(lines)? {
            return Ok(true);
        }
        match self.next_after(inode)? {
            Next::NotYet => return Ok(false),
            Next::Follows(next) => self.open = Some(next),
            Next::AfterGap(next) => {
                self.open = Some(next);
                *self.tail.begun() = Begun::default();
                let (time, text) = (Timestamp::now(), MISSING.to_owned());
                lines.push(Line { time, stream: Stream::Shim, text, partial: false, continues: false });
            }
        }
        Ok(true)
    }

    /// Takes in one block of whole records; whether there was one.
    fn read_block(&mut self, lines: &mut Vec<Line>) -> io::Result<bool> {
        let Some(open) = &mut self.open else { return Ok(false) };
        if open.file.metadata()?.len() < open.read {
            open.read = 0; // emptied by somebody
        }
        let (block, newline) = sip(&open.file, open.read, BLOCK)?;
        let whole = match newline {
            Some(newline) => newline + 1,
            None if block.len() == BLOCK => BLOCK, // no record is so long
            None => return Ok(false),
        };
        open.read += whole as u64;
        for record in block[..whole].split(|&byte| byte == b'\n') {
            if let Some(part) = Part::parse(record) {
                lines.extend(self.tail.begun().part(part, true));
            }
        }
        Ok(true)
    }

    /// Whether what was there at first has been read.
    pub fn is_past_tail(&self) -> bool {
        self.tail.is_over()
    }

    fn next_after(&self, inode: u64) -> io::Result<Next> {
        let path = |number| if number == 0 { self.files.log() } else { self.files.rotated(number) };
        let Some(number) = self.files.number_of(inode)? else {
            // If nothing was rotated since, it was moved or removed by somebody, and made anew.
            let before = self.open.as_ref().and_then(|open| open.before);
            if self.files.rotated_last()? == before {
                let next = self.files.current()?.filter(|next| next.inode != inode);
                return Ok(next.map_or(Next::NotYet, Next::Follows));
            }
            // Ours is gone: the oldest that is left is the nearest.
            let oldest = (0..u32::MAX).take_while(|number| path(*number).exists()).last().unwrap_or(0);
            let Some(next) = Open::of(File::open(path(oldest)))? else { return Ok(Next::NotYet) };
            return Ok(if oldest == 0 { Next::Follows(next) } else { Next::AfterGap(next) });
        };
        let next = Open::of(File::open(path(number - 1)))?.filter(|next| next.inode != inode);
        // Only if both still have their numbers was it the neighbour that was opened.
        let unmoved = std::fs::metadata(path(number)).is_ok_and(|ours| ours.ino() == inode);
        Ok(next.filter(|_| unmoved).map_or(Next::NotYet, Next::Follows))
    }
}

/// How much of a file is whole records.
fn whole_records(file: &File) -> io::Result<u64> {
    let mut end = file.metadata()?.len();
    while end > 0 {
        let length = end.min(BLOCK as u64);
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
