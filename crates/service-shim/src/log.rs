//! [`LogWriter`]: the log file, its rotation, and how a full disk is handled.
//!
//! A checkpoint in the [`SharedBuffer`] precedes and follows each write. If the shim dies, another process writes
//! exactly the rest.
//!
//! A service must not block because its log cannot be written. Records that cannot be written are dropped and counted.
//! The next record that can be written reports the number of lines that are missing before it.

use crate::cri::{Part, RecordWriter, Stream, Tag};
use crate::error_text::describe_error;
use crate::files::Files;
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

/// The current log file, and the collected records.
#[derive(Debug)]
pub struct LogWriter {
    files: Files,
    limits: LogLimits,
    file: File,
    inode: u64,
    size: u64,
    batch: Vec<u8>,
    /// The number of bytes of the next records that are already in the log.
    skip: u64,
    dropped: u64,
    /// The number of dropped lines that the log does not report yet, and the reason.
    unreported: Option<(u64, String)>,
    /// The pattern of `ready.log`.
    watch: Option<Watch>,
}

/// Records that could not be written.
struct Unwritten<'a> {
    records: &'a [u8],
    error: io::Error,
}

impl LogWriter {
    /// Opens the log at the beginning of a run.
    pub fn open(files: Files, limits: LogLimits) -> io::Result<Self> {
        let mut log = Self::resume(files, limits, 0)?;
        if log.size > 0 && !ends_with_newline(&log.files.log(), log.size)? {
            // The last writer was killed in the middle of a record, and no process has completed the record.
            log.file.write_all(b"\n")?;
            log.size += 1;
        }
        Ok(log)
    }

    /// Opens the log in place of a dead shim. The first `skip` bytes of the next records are already in the log.
    pub fn resume(files: Files, limits: LogLimits, skip: u64) -> io::Result<Self> {
        let file = open_append(&files.log())?;
        let meta = file.metadata()?;
        let (inode, size, batch) = (meta.ino(), meta.len(), Vec::new());
        Ok(Self { files, limits, file, inode, size, batch, skip, dropped: 0, unreported: None, watch: None })
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

    /// Ends unfinished lines of a former run, as a power failure leaves them.
    pub fn end_open_lines(&mut self) {
        let Ok(open) = streams_with_open_line(&self.files.log(), self.size) else { return };
        for stream in open {
            let mut record = Vec::new();
            RecordWriter::new(Timestamp::now(), stream).write_record(&mut record, Tag::Full, b"");
            let _ = self.write(None, &record);
        }
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
        self.reopen_if_moved();
        while !records.is_empty() {
            let mut length = whole_records_within(records, self.limits.max_size.saturating_sub(self.size));
            if length == 0 {
                if self.size > 0 && self.rotate().is_ok() {
                    continue;
                }
                // The record exceeds the maximum size of a file, or the directory cannot be written. A log that is too
                // large is better than a lost line.
                length = memchr(b'\n', records).map_or(records.len(), |newline| newline + 1);
            }
            if let Some(shared_buffer) = shared_buffer {
                shared_buffer.begin_append(self.inode, self.size);
            }
            let (written, outcome) = self.write_whole(&records[..length]);
            if let Some(shared_buffer) = shared_buffer {
                shared_buffer.end_append(written as u64);
                shared_buffer.add_written(written as u64);
            }
            records = &records[written..];
            outcome.map_err(|error| Unwritten { records, error })?;
        }
        Ok(())
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

    /// Opens a new log if another program, such as `logrotate`, has moved or removed the log. If the directory was
    /// deleted or cannot be written, the old file stays in use.
    fn reopen_if_moved(&mut self) {
        let path = self.files.log();
        let is_ours = match std::fs::metadata(&path) {
            Ok(meta) => meta.ino() == self.inode,
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        };
        if is_ours {
            return;
        }
        let anew = open_append(&path).and_then(|file| Ok((file.metadata()?, file)));
        if let Ok((meta, file)) = anew {
            (self.inode, self.size, self.file) = (meta.ino(), meta.len(), file);
        }
    }

    /// Rotates the log. The new file is created first, so that nothing has changed if that fails.
    fn rotate(&mut self) -> io::Result<()> {
        let aside = self.files.directory().join("service.log.new");
        let _ = std::fs::remove_file(&aside);
        let file = open_append(&aside)?;
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
        (self.inode, self.file, self.size) = (file.metadata()?.ino(), file, 0);
        Ok(())
    }
}

/// The number of bytes of complete records that fit into `room`.
fn whole_records_within(records: &[u8], room: u64) -> usize {
    match usize::try_from(room) {
        Ok(room) if room < records.len() => memrchr(b'\n', &records[..room]).map_or(0, |newline| newline + 1),
        _ => records.len(),
    }
}

fn open_append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
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
