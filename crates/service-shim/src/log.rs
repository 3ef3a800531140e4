//! [`LogWriter`]: the log file, its rotation, and how a full disk is handled.
//!
//! A checkpoint in the [`SharedBuffer`] precedes and follows each write. If the shim dies, another process writes
//! exactly the rest.
//!
//! A service must not block because its log cannot be written. Records that cannot be written are dropped and counted.
//! The next record that can be written reports the number of lines that are missing before it.

use crate::cri::{Part, RecordWriter, Stream, Tag};
use crate::error_text::describe_error;
use crate::files::{Files, private_dir};
use crate::protocol::{DroppedLines, LogLimits};
use crate::ready_pattern::Watch;
use crate::shared_buffer::SharedBuffer;
use jiff::Timestamp;
use memchr::{memchr, memchr_iter, memrchr};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

/// The size at which collected records are written: the records of one read of usual lines. The records of empty lines
/// are forty times as large as the lines and are written in several steps.
const BATCH_BYTES: usize = 128 * 1024;

/// The current log file, and the records that are on their way into it. The file is created with the first record: a
/// start does not wait for the disk, and many services write nothing.
#[derive(Debug)]
pub struct LogWriter {
    files: Files,
    limits: LogLimits,
    /// `None` before the first record.
    current: Option<LogFile>,
    batch: Vec<u8>,
    /// The number of bytes of the next records that are already in the log.
    skip: u64,
    dropped: u64,
    /// The number of dropped lines that the log does not report yet, and the reason.
    unreported: Option<(u64, String)>,
    /// The pattern of `ready.log`.
    watch: Option<Watch>,
}

/// An open log file.
#[derive(Debug)]
struct LogFile {
    file: File,
    inode: u64,
    size: u64,
}

impl LogFile {
    /// Opens a file for appending, and creates it if missing.
    fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        let meta = file.metadata()?;
        Ok(Self { file, inode: meta.ino(), size: meta.len() })
    }

    /// Writes as much as possible. A record that could be written only in part is truncated.
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
            // If this fails as well, readers skip the torn record.
            let _ = self.file.set_len(self.size);
        }
        (whole, outcome)
    }
}

/// Records that could not be written.
struct Unwritten<'a> {
    records: &'a [u8],
    error: io::Error,
}

impl LogWriter {
    /// The log of a new run.
    pub fn new(files: Files, limits: LogLimits) -> Self {
        let (current, batch, skip, dropped, unreported, watch) = Default::default();
        Self { files, limits, current, batch, skip, dropped, unreported, watch }
    }

    /// Opens the log as a successor of a dead shim, which was killed between two reads.
    pub fn open(files: Files, limits: LogLimits) -> io::Result<Self> {
        let current = Some(open_for_records(&files)?);
        Ok(Self { current, ..Self::new(files, limits) })
    }

    /// Opens the log in place of a dead shim. The first `skip` bytes of the next records are already in the log.
    pub fn resume(files: Files, limits: LogLimits, skip: u64) -> io::Result<Self> {
        let current = Some(LogFile::open(&files.log())?);
        Ok(Self { current, skip, ..Self::new(files, limits) })
    }

    /// Adds the dropped lines of former runs.
    #[must_use]
    pub fn with_dropped(mut self, missing: DroppedLines) -> Self {
        self.dropped = missing.total;
        self.unreported =
            (missing.unreported > 0).then(|| (missing.unreported, "they were of a former run".to_owned()));
        self
    }

    /// Matches the lines against a pattern.
    #[must_use]
    pub fn with_watch(mut self, watch: Option<Watch>) -> Self {
        self.watch = watch;
        self
    }

    /// Whether a line has matched the pattern.
    pub fn is_ready(&self) -> bool {
        self.watch.as_ref().is_some_and(Watch::has_matched)
    }

    /// Adds a line, or the last part of one.
    pub fn write_line(&mut self, shared_buffer: &SharedBuffer, writer: &RecordWriter, text: &[u8]) {
        self.match_ready(shared_buffer, Tag::Full, text);
        writer.write_line(&mut self.batch, text);
        self.flush_if_large(shared_buffer);
    }

    /// Adds a part of an unfinished line.
    pub fn write_part(&mut self, shared_buffer: &SharedBuffer, writer: &RecordWriter, text: &[u8]) {
        self.match_ready(shared_buffer, Tag::Partial, text);
        writer.write_record(&mut self.batch, Tag::Partial, text);
        self.flush_if_large(shared_buffer);
    }

    /// Writes the collected records.
    pub fn flush(&mut self, shared_buffer: &SharedBuffer) {
        if self.batch.is_empty() && self.unreported.is_none() {
            return;
        }
        let mut batch = std::mem::take(&mut self.batch);
        let known = usize::try_from(self.skip).unwrap_or(usize::MAX).min(batch.len());
        self.skip -= known as u64;
        if let Err(Unwritten { records, error }) = self.write_with_drop_notice(shared_buffer, &batch[known..])
        {
            let lines = memchr_iter(b'\n', records).count() as u64;
            let before = self.unreported.take().map_or(0, |(lines, _)| lines);
            self.dropped += lines;
            self.unreported = Some((before + lines, describe_error(&error)));
            shared_buffer.end_append(records.len() as u64);
        }
        batch.clear();
        self.batch = batch;
    }

    /// Frees the memory of a burst of output.
    #[expect(unsafe_code, reason = "the allocator retains the memory otherwise")]
    pub fn shrink(&mut self) {
        self.batch = Vec::new();
        // SAFETY: `malloc_trim` frees only unused memory, and this process has one thread.
        #[cfg(target_env = "gnu")]
        unsafe {
            nix::libc::malloc_trim(0);
        }
    }

    /// The lines that were dropped so far.
    pub fn dropped_lines(&self) -> DroppedLines {
        DroppedLines {
            total: self.dropped,
            unreported: self.unreported.as_ref().map_or(0, |(lines, _)| *lines),
        }
    }

    fn match_ready(&mut self, shared_buffer: &SharedBuffer, tag: Tag, text: &[u8]) {
        if let Some(watch) = &mut self.watch {
            watch.match_part(Part { time: Timestamp::UNIX_EPOCH, stream: shared_buffer.stream(), tag, text });
        }
    }

    fn flush_if_large(&mut self, shared_buffer: &SharedBuffer) {
        if self.batch.len() >= BATCH_BYTES {
            self.flush(shared_buffer);
        }
    }

    /// Writes the batch, and before it a record that reports the dropped lines.
    fn write_with_drop_notice<'a>(
        &mut self,
        shared_buffer: &SharedBuffer,
        batch: &'a [u8],
    ) -> Result<(), Unwritten<'a>> {
        if let Some((lines, why)) = &self.unreported {
            let were = if *lines == 1 { "line was" } else { "lines were" };
            let mut record = Vec::new();
            let text = format!("{lines} {were} dropped: {why}");
            RecordWriter::new(Timestamp::now(), Stream::Shim).write_line(&mut record, text.as_bytes());
            self.write(None, &record)
                .map_err(|unwritten| Unwritten { records: batch, error: unwritten.error })?;
            shared_buffer.add_written(record.len() as u64);
            self.unreported = None;
        }
        self.write(Some(shared_buffer), batch)
    }

    /// Writes complete records, and rotates between them. Records of a read are noted in its shared buffer.
    fn write<'a>(
        &mut self,
        shared_buffer: Option<&SharedBuffer>,
        mut records: &'a [u8],
    ) -> Result<(), Unwritten<'a>> {
        let mut current = match self.current.take() {
            Some(current) => self.reopen_if_moved(current),
            None => self.begin().map_err(|error| Unwritten { records, error })?,
        };
        let mut outcome = Ok(());
        while !records.is_empty() && outcome.is_ok() {
            let room = self.limits.max_size.saturating_sub(current.size);
            let mut length = whole_records_within(records, room);
            if length == 0 {
                if current.size > 0 && self.rotate(&mut current).is_ok() {
                    continue;
                }
                // The record exceeds the maximum size of a file, or the directory cannot be written. A log that is too
                // large is better than a lost line.
                length = memchr(b'\n', records).map_or(records.len(), |newline| newline + 1);
            }
            if let Some(shared_buffer) = shared_buffer {
                shared_buffer.begin_append(current.inode, current.size);
            }
            let written;
            (written, outcome) = current.write_whole(&records[..length]);
            if let Some(shared_buffer) = shared_buffer {
                shared_buffer.end_append(written as u64);
                shared_buffer.add_written(written as u64);
            }
            records = &records[written..];
        }
        self.current = Some(current);
        outcome.map_err(|error| Unwritten { records, error })
    }

    /// Opens the log for the first record of a run, and ends the unfinished lines of a former run, which a power failure
    /// may leave.
    fn begin(&self) -> io::Result<LogFile> {
        let mut current = open_for_records(&self.files)?;
        let mut ends = Vec::new();
        for stream in streams_with_open_line(&self.files.log(), current.size).unwrap_or_default() {
            RecordWriter::new(Timestamp::now(), stream).write_record(&mut ends, Tag::Full, b"");
        }
        current.write_whole(&ends).1?;
        Ok(current)
    }

    /// Opens a new log if another program, such as `logrotate`, has moved or removed the log. If the directory cannot be
    /// written, the old file stays in use.
    fn reopen_if_moved(&self, current: LogFile) -> LogFile {
        let is_ours = match std::fs::metadata(self.files.log()) {
            Ok(meta) => meta.ino() == current.inode,
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        };
        if is_ours { current } else { open_or_create(&self.files).unwrap_or(current) }
    }

    /// Begins a new file. The file is created first: if that fails, nothing has changed.
    fn rotate(&self, current: &mut LogFile) -> io::Result<()> {
        let aside = self.files.directory().join("service.log.new");
        let _ = std::fs::remove_file(&aside);
        let next = LogFile::open(&aside)?;
        let kept = self.limits.max_files;
        // Rotated files beyond the limit, from an earlier and larger limit.
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
        *current = next;
        Ok(())
    }
}

/// Opens the log of a service, and creates it and its directory if missing.
fn open_or_create(files: &Files) -> io::Result<LogFile> {
    match LogFile::open(&files.log()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            private_dir(files.directory())?;
            LogFile::open(&files.log())
        }
        opened => opened,
    }
}

/// Opens the log of a service as [`open_or_create`] does, and ends a torn record.
fn open_for_records(files: &Files) -> io::Result<LogFile> {
    let mut current = open_or_create(files)?;
    if current.size > 0 && !ends_with_newline(&files.log(), current.size)? {
        // The last writer was killed in the middle of a record, and so was every process that could have completed it.
        current.write_whole(b"\n").1?;
    }
    Ok(current)
}

/// The number of bytes of complete records that fit into `room`.
fn whole_records_within(records: &[u8], room: u64) -> usize {
    match usize::try_from(room) {
        Ok(room) if room < records.len() => memrchr(b'\n', &records[..room]).map_or(0, |newline| newline + 1),
        _ => records.len(),
    }
}

/// The streams whose last record near the end of the log does not end its line.
fn streams_with_open_line(path: &Path, size: u64) -> io::Result<Vec<Stream>> {
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
