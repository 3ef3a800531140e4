//! Reading a log as it grows: [`Files::follow`], [`Follower`]. No line twice and none left out, also over rotations.
//!
//! A follower holds its file open and knows how far it has read. When the current log is another file, ours has been
//! rotated and gets no more; the next one is its neighbour, whatever number the two have by then. Waiting for more is
//! up to the caller: whatever the shim does to a log is an event of the log's directory.

use crate::Files;
use crate::begun::Begun;
use crate::cri::{Line, Part, Stream};
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
}

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
        Open::of(File::open(self.log()))
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
            Ok(file) => Ok(Some(Self { inode: file.metadata()?.ino(), file, read: 0 })),
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
        if self.open.is_none() {
            self.open = self.files.current()?;
        }
        let Some(open) = &self.open else { return Ok(false) };
        let inode = open.inode;
        if self.read_block(lines)? {
            return Ok(true);
        }
        if self.files.current()?.is_none_or(|current| current.inode == inode) {
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
                lines.push(Line { time: Timestamp::now(), stream: Stream::Shim, text: MISSING.to_owned() });
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
mod tests {
    use super::*;
    use crate::cri::{Pen, Tag};
    use std::fs::{self, OpenOptions};
    use std::io::Write;

    fn service() -> (tempfile::TempDir, Files) {
        let directory = tempfile::tempdir().unwrap();
        let files = Files::new(directory.path());
        (directory, files)
    }

    fn append(files: &Files, bytes: &[u8]) {
        let mut log = OpenOptions::new().create(true).append(true).open(files.log()).unwrap();
        log.write_all(bytes).unwrap();
    }

    fn say(files: &Files, text: &str) {
        let mut record = Vec::new();
        Pen::new(Timestamp::now(), Stream::Stdout).line(&mut record, text.as_bytes());
        append(files, &record);
    }

    /// As the shim does it, with so many rotated files kept.
    fn rotate(files: &Files, kept: u32) {
        for n in (1..kept).rev() {
            let _ = fs::rename(files.rotated(n), files.rotated(n + 1));
        }
        fs::rename(files.log(), files.rotated(1)).unwrap();
        fs::write(files.log(), "").unwrap();
    }

    fn read(follower: &mut Follower) -> Vec<String> {
        let mut lines = Vec::new();
        while follower.read(&mut lines).unwrap() {}
        lines.into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn it_goes_on_right_after_the_tail() {
        let (_directory, files) = service();
        say(&files, "1");
        say(&files, "2");
        let mut follower = files.follow(1, None).unwrap();
        assert_eq!(read(&mut follower), ["2"]);
        assert_eq!(read(&mut follower), Vec::<String>::new());
        say(&files, "3");
        assert_eq!(read(&mut follower), ["3"]);
        assert_eq!(read(&mut follower), Vec::<String>::new());
    }

    #[test]
    fn a_log_that_is_not_there_yet_is_read_from_its_beginning() {
        let (_directory, files) = service();
        let mut follower = files.follow(10, None).unwrap();
        assert_eq!(read(&mut follower), Vec::<String>::new());
        say(&files, "1");
        assert_eq!(read(&mut follower), ["1"]);
    }

    #[test]
    fn a_rotation_loses_and_repeats_nothing() {
        let (_directory, files) = service();
        say(&files, "1");
        let mut follower = files.follow(0, None).unwrap();
        say(&files, "2");
        rotate(&files, 5);
        say(&files, "3");
        rotate(&files, 5);
        rotate(&files, 5);
        say(&files, "4");
        assert_eq!(read(&mut follower), ["2", "3", "4"]);
    }

    #[test]
    fn what_was_rotated_away_unread_is_said_to_be_missing() {
        let (_directory, files) = service();
        say(&files, "1");
        let mut follower = files.follow(0, None).unwrap();
        for n in 2..6 {
            rotate(&files, 2);
            say(&files, &n.to_string());
        }
        assert_eq!(read(&mut follower), [MISSING, "3", "4", "5"]);
    }

    #[test]
    fn a_rotation_between_the_tail_and_the_first_look_changes_nothing() {
        let (_directory, files) = service();
        say(&files, "0");
        rotate(&files, 5);
        say(&files, "1");
        let mut follower = files.follow(10, None).unwrap();
        rotate(&files, 5);
        say(&files, "2");
        assert_eq!(read(&mut follower), ["0", "1", "2"]);
    }

    #[test]
    fn a_line_whose_end_is_not_written_yet_is_told_once_and_whole() {
        let (_directory, files) = service();
        let pen = Pen::new(Timestamp::now(), Stream::Stdout);
        let mut parts = [Vec::new(), Vec::new()];
        pen.record(&mut parts[0], Tag::Partial, b"a");
        pen.record(&mut parts[1], Tag::Full, b"b");
        append(&files, &parts[0]);
        let mut follower = files.follow(10, None).unwrap();
        assert_eq!(read(&mut follower), Vec::<String>::new());
        append(&files, &parts[1][..10]);
        assert_eq!(read(&mut follower), Vec::<String>::new());
        append(&files, &parts[1][10..]);
        assert_eq!(read(&mut follower), ["ab"]);
    }

    #[test]
    fn many_lines_at_once_come_in_order_and_garbage_is_passed_over() {
        let (_directory, files) = service();
        let mut follower = files.follow(0, None).unwrap();
        append(&files, &vec![b'x'; 3 * BLOCK]);
        append(&files, b"\n");
        for n in 0..5_000 {
            say(&files, &n.to_string());
        }
        let expected: Vec<String> = (0..5_000).map(|n: i32| n.to_string()).collect();
        assert_eq!(read(&mut follower), expected);
    }

    #[test]
    fn a_writer_that_rotates_at_full_speed_is_followed_without_a_gap() {
        const LINES: u32 = 3_000;
        let (_directory, files) = service();
        say(&files, "begin");
        let mut follower = files.follow(0, None).unwrap();
        let writing = files.clone();
        let writer = std::thread::spawn(move || {
            for n in 0..LINES {
                say(&writing, &n.to_string());
                if n % 31 == 0 {
                    rotate(&writing, 10_000);
                }
            }
        });
        let mut lines = Vec::new();
        while lines.len() < LINES as usize {
            lines.extend(read(&mut follower));
            assert!(!writer.is_finished() || !lines.is_empty());
        }
        writer.join().unwrap();
        let expected: Vec<String> = (0..LINES).map(|n| n.to_string()).collect();
        assert_eq!(lines, expected);
    }
}
