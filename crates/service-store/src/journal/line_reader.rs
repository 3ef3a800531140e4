//! [`LineReader`]: reads the lines of a log from an offset on, in blocks, so that a chunk of a response costs no more
//! than its own lines.

use super::segment::{SegmentPart, SegmentSnapshot};
use serde::de::DeserializeOwned;
use std::cell::Cell;
use std::io;
use std::marker::PhantomData;

/// The number of bytes of one read.
const BLOCK_BYTES: usize = 16 * 1024;

/// An iterator over the values in the lines of both files, each with the offset after its line. Offsets count the two
/// files as one. A line that cannot be parsed is left out. A read error ends the iteration and is left in `error`.
pub(super) struct LineReader<'a, T> {
    parts: [SegmentPart<'a>; 2],
    /// The offset of the buffer.
    offset: usize,
    buffer: Vec<u8>,
    /// The length of the delivered part of the buffer.
    delivered: usize,
    /// The length of the part of the buffer in which line ends were searched.
    searched: usize,
    error: &'a Cell<Option<io::Error>>,
    value: PhantomData<T>,
}

impl<'a, T> LineReader<'a, T> {
    /// The lines from an offset on.
    pub(super) fn new(
        segments: &'a SegmentSnapshot,
        offset: usize,
        error: &'a Cell<Option<io::Error>>,
    ) -> Self {
        let (buffer, parts) = (Vec::new(), segments.parts());
        Self { parts, offset, buffer, delivered: 0, searched: 0, error, value: PhantomData }
    }

    /// Appends a block to the buffer; `false` at the end of both files.
    fn fill(&mut self) -> io::Result<bool> {
        self.buffer.drain(..self.delivered);
        self.offset += self.delivered;
        self.searched -= self.delivered;
        self.delivered = 0;
        let kept = self.buffer.len();
        let mut begin = 0;
        for part in self.parts {
            let end = begin + part.len();
            let at = self.offset + kept;
            if at < end {
                self.buffer.resize(kept + BLOCK_BYTES.min(end - at), 0);
                let read = part.read_at(&mut self.buffer[kept..], at - begin)?;
                self.buffer.truncate(kept + read);
                if read > 0 {
                    return Ok(true);
                }
                // The file was truncated.
                self.buffer.clear();
                (self.offset, self.searched) = (end, 0);
                return self.fill();
            }
            begin = end;
        }
        Ok(false)
    }
}

impl<T: DeserializeOwned> Iterator for LineReader<'_, T> {
    type Item = (usize, T);

    fn next(&mut self) -> Option<(usize, T)> {
        loop {
            if let Some(end) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') {
                let (begin, end) = (self.delivered, self.searched + end);
                (self.delivered, self.searched) = (end + 1, end + 1);
                if let Ok(value) = serde_json::from_slice(&self.buffer[begin..end]) {
                    return Some((self.offset + self.delivered, value));
                }
                continue;
            }
            self.searched = self.buffer.len();
            match self.fill() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => {
                    self.error.set(Some(error));
                    return None;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::segment::SegmentedLog;

    fn read(segments: &SegmentSnapshot, offset: usize) -> Vec<(usize, u64)> {
        let error = Cell::new(None);
        let lines = LineReader::new(segments, offset, &error).collect();
        assert!(error.take().is_none());
        lines
    }

    #[test]
    fn lines_of_both_files_are_read_from_any_offset_whatever_their_length() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = SegmentedLog::open(directory.path().join("x.jsonl"), 4 * BLOCK_BYTES as u64, None);
        let (mut expected, mut offset) = (Vec::new(), 0);
        for number in 1..=5_u64 {
            // Spaces are not part of a JSON value.
            let padding = " ".repeat(BLOCK_BYTES / 3 * usize::try_from(number).unwrap());
            let line = format!("{number}{padding}\n");
            log.append(line.as_bytes(), Vec::new).unwrap();
            offset += line.len();
            expected.push((offset, number));
        }
        log.append(b"{torn\n", Vec::new).unwrap();
        let segments = log.segments();
        assert!(segments.parts().iter().all(|part| part.len() > 0), "there are two files");
        for skipped in 0..expected.len() {
            let from = if skipped == 0 { 0 } else { expected[skipped - 1].0 };
            assert_eq!(read(&segments, from), expected[skipped..], "{skipped}");
        }
        assert_eq!(read(&segments, offset + 100), []);
    }
}
