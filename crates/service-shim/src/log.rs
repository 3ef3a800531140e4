//! [`Log`]: the file that records go to, its rotation, and what happens when the disk is full.
//!
//! What is written is noted on the [`Desk`] before and after, so that whoever takes over writes the rest and nothing twice.
//!
//! A service must not stand still because its log cannot be written. What cannot be written is dropped and counted,
//! and the next thing that can be written is the number of lines that are missing at that place.

use crate::cri::{Part, Pen, Stream, Tag};
use crate::desk::Desk;
use crate::files::Files;
use crate::protocol::{LogLimits, Missing};
use crate::watch::Watch;
use crate::words::in_words;
use jiff::Timestamp;
use memchr::{memchr, memchr_iter, memrchr};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

/// As much is collected before it is written: what one read of usual lines amounts to. Reads of empty lines, which
/// grow fortyfold, are written in pieces.
const BATCH: usize = 128 * 1024;

/// The current log file, and records that are on their way into it.
#[derive(Debug)]
pub struct Log {
    files: Files,
    limits: LogLimits,
    file: File,
    inode: u64,
    size: u64,
    batch: Vec<u8>,
    /// Bytes of the records to come that are in the log already.
    skip: u64,
    dropped: u64,
    /// Lines dropped that the log does not speak of yet, and why.
    unsaid: Option<(u64, String)>,
    /// Who looks at what comes.
    watch: Option<Watch>,
}

/// Records that could not be written.
struct Unwritten<'a> {
    records: &'a [u8],
    error: io::Error,
}

impl Log {
    /// The log of a service, for the first one to write of a run.
    pub fn open(files: Files, limits: LogLimits) -> io::Result<Self> {
        let mut log = Self::resume(files, limits, 0)?;
        if log.size > 0 && !ends_with_newline(&log.files.log(), log.size)? {
            // Whoever wrote last was killed in the middle of a record, and so was whoever could have finished it.
            log.file.write_all(b"\n")?;
            log.size += 1;
        }
        Ok(log)
    }

    /// The same for somebody who takes over: so many bytes of the records to come are in it already.
    pub fn resume(files: Files, limits: LogLimits, skip: u64) -> io::Result<Self> {
        let file = append(&files.log())?;
        let meta = file.metadata()?;
        let (inode, size, batch) = (meta.ino(), meta.len(), Vec::new());
        Ok(Self { files, limits, file, inode, size, batch, skip, dropped: 0, unsaid: None, watch: None })
    }

    /// Goes on with what is missing already.
    #[must_use]
    pub fn missing(mut self, missing: Missing) -> Self {
        self.dropped = missing.lines;
        self.unsaid = (missing.untold > 0).then(|| (missing.untold, "they were of a former run".to_owned()));
        self
    }

    /// Has somebody look at what comes.
    #[must_use]
    pub fn watched_by(mut self, watch: Option<Watch>) -> Self {
        self.watch = watch;
        self
    }

    /// Whether what was waited for has come.
    pub fn is_heard(&self) -> bool {
        self.watch.as_ref().is_some_and(Watch::heard)
    }

    /// Ends the lines that a run before has begun, where nobody could: the machine was switched off.
    pub fn end_lines(&mut self) {
        let Ok(open) = unended(&self.files.log(), self.size) else { return };
        for stream in open {
            let mut record = Vec::new();
            Pen::new(Timestamp::now(), stream).record(&mut record, Tag::Full, b"");
            let _ = self.write(None, &record);
        }
    }

    /// Takes a line, or the last part of one.
    pub fn line(&mut self, desk: &Desk, pen: &Pen, text: &[u8]) {
        self.look(desk, Tag::Full, text);
        pen.line(&mut self.batch, text);
        self.flush_if_large(desk);
    }

    /// Takes a part of a line that goes on.
    pub fn part(&mut self, desk: &Desk, pen: &Pen, text: &[u8]) {
        self.look(desk, Tag::Partial, text);
        pen.record(&mut self.batch, Tag::Partial, text);
        self.flush_if_large(desk);
    }

    /// Writes what was taken.
    pub fn flush(&mut self, desk: &Desk) {
        if self.batch.is_empty() && self.unsaid.is_none() {
            return;
        }
        let mut batch = std::mem::take(&mut self.batch);
        let known = usize::try_from(self.skip).unwrap_or(usize::MAX).min(batch.len());
        self.skip -= known as u64;
        if let Err(Unwritten { records, error }) = self.say_what_is_missing(desk, &batch[known..]) {
            let lines = memchr_iter(b'\n', records).count() as u64;
            let before = self.unsaid.take().map_or(0, |(lines, _)| lines);
            self.dropped += lines;
            self.unsaid = Some((before + lines, in_words(&error)));
            desk.written(records.len() as u64);
        }
        batch.clear();
        self.batch = batch;
    }

    /// Gives memory back that a burst took.
    #[expect(unsafe_code, reason = "the allocator keeps it otherwise")]
    pub fn shrink(&mut self) {
        self.batch = Vec::new();
        // SAFETY: it looks at free memory only, and this process has one thread.
        #[cfg(target_env = "gnu")]
        unsafe {
            nix::libc::malloc_trim(0);
        }
    }

    /// Lines that were lost so far.
    pub fn lost(&self) -> Missing {
        Missing { lines: self.dropped, untold: self.unsaid.as_ref().map_or(0, |(lines, _)| *lines) }
    }

    fn look(&mut self, desk: &Desk, tag: Tag, text: &[u8]) {
        if let Some(watch) = &mut self.watch {
            watch.part(Part { time: Timestamp::UNIX_EPOCH, stream: desk.stream(), tag, text });
        }
    }

    fn flush_if_large(&mut self, desk: &Desk) {
        if self.batch.len() >= BATCH {
            self.flush(desk);
        }
    }

    /// Writes the batch, and before it the number of lines that are missing there.
    fn say_what_is_missing<'a>(&mut self, desk: &Desk, batch: &'a [u8]) -> Result<(), Unwritten<'a>> {
        if let Some((lines, why)) = &self.unsaid {
            let were = if *lines == 1 { "line was" } else { "lines were" };
            let mut record = Vec::new();
            let text = format!("{lines} {were} dropped: {why}");
            Pen::new(Timestamp::now(), Stream::Shim).line(&mut record, text.as_bytes());
            self.write(None, &record)
                .map_err(|unwritten| Unwritten { records: batch, error: unwritten.error })?;
            desk.count(record.len() as u64);
            self.unsaid = None;
        }
        self.write(Some(desk), batch)
    }

    /// Writes whole records, and rotates between them. Those of a read are noted on its desk.
    fn write<'a>(&mut self, desk: Option<&Desk>, mut records: &'a [u8]) -> Result<(), Unwritten<'a>> {
        self.make_anew();
        while !records.is_empty() {
            let mut length = fitting(records, self.limits.max_size.saturating_sub(self.size));
            if length == 0 {
                if self.size > 0 && self.rotate().is_ok() {
                    continue;
                }
                // A record larger than a file, or a directory in which nothing can be renamed: better a large log
                // than a lost line.
                length = memchr(b'\n', records).map_or(records.len(), |newline| newline + 1);
            }
            if let Some(desk) = desk {
                desk.writing(self.inode, self.size);
            }
            let (written, outcome) = self.write_whole(&records[..length]);
            if let Some(desk) = desk {
                desk.written(written as u64);
                desk.count(written as u64);
            }
            records = &records[written..];
            outcome.map_err(|error| Unwritten { records, error })?;
        }
        Ok(())
    }

    /// Writes as much as can be; a record of which only the beginning could be written is taken back.
    fn write_whole(&mut self, records: &[u8]) -> (usize, io::Result<()>) {
        let mut written = 0;
        let mut outcome = Ok(());
        while written < records.len() && outcome.is_ok() {
            match self.file.write(&records[written..]) {
                Ok(0) => outcome = Err(io::ErrorKind::WriteZero.into()),
                Ok(length) => written += length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => outcome = Err(error),
            }
        }
        let whole = memrchr(b'\n', &records[..written]).map_or(0, |newline| newline + 1);
        self.size += whole as u64;
        if whole < written {
            // If this fails too, readers pass over the torn record.
            let _ = self.file.set_len(self.size);
        }
        (whole, outcome)
    }

    /// Somebody has moved or removed the log, as `logrotate` does: what comes belongs into one of that name. A directory that
    /// is gone or cannot be written leaves the old file.
    fn make_anew(&mut self) {
        let path = self.files.log();
        let is_ours = match std::fs::metadata(&path) {
            Ok(meta) => meta.ino() == self.inode,
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        };
        if is_ours {
            return;
        }
        let anew = append(&path).and_then(|file| Ok((file.metadata()?, file)));
        if let Ok((meta, file)) = anew {
            (self.inode, self.size, self.file) = (meta.ino(), meta.len(), file);
        }
    }

    /// Starts a new file. It is made first: if that fails, everything is as it was.
    fn rotate(&mut self) -> io::Result<()> {
        let aside = self.files.directory().join("service.log.new");
        let _ = std::fs::remove_file(&aside);
        let file = append(&aside)?;
        let kept = self.limits.max_files;
        // Files that an earlier, larger limit has left.
        let mut surplus = kept.saturating_add(1);
        while std::fs::remove_file(self.files.rotated(surplus)).is_ok() {
            surplus = surplus.saturating_add(1);
        }
        for n in (1..kept).rev() {
            match std::fs::rename(self.files.rotated(n), self.files.rotated(n + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        if kept > 0 {
            std::fs::rename(self.files.log(), self.files.rotated(1))?;
        }
        std::fs::rename(aside, self.files.log())?;
        (self.inode, self.file, self.size) = (file.metadata()?.ino(), file, 0);
        Ok(())
    }
}

/// How many bytes of whole records fit into `room`.
fn fitting(records: &[u8], room: u64) -> usize {
    match usize::try_from(room) {
        Ok(room) if room < records.len() => memrchr(b'\n', &records[..room]).map_or(0, |newline| newline + 1),
        _ => records.len(),
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

/// The streams whose last record near the end of a log does not end its line.
fn unended(path: &Path, size: u64) -> io::Result<Vec<Stream>> {
    let mut end = vec![0; usize::try_from(size.min(4096)).unwrap_or_default()];
    let start = size - end.len() as u64;
    File::open(path)?.read_exact_at(&mut end, start)?;
    let mut open: Vec<Stream> = Vec::new();
    for part in end.split(|&byte| byte == b'\n').filter_map(Part::parse) {
        open.retain(|stream| *stream != part.stream);
        if part.tag == Tag::Partial {
            open.push(part.stream);
        }
    }
    Ok(open)
}

fn ends_with_newline(path: &Path, size: u64) -> io::Result<bool> {
    let mut last = [0];
    File::open(path)?.read_exact_at(&mut last, size - 1)?;
    Ok(last == *b"\n")
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
