//! [`SegmentedLog`]: a file of JSON lines with a size limit. A full file is rotated: it replaces the old file, and a
//! new current file is created.
//!
//! A line counts once its line end is written. The next line overwrites a partial line that a full disk or a killed
//! writer has left.

use service_host::disk::Disk;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The current file and the old one.
pub(super) struct SegmentedLog {
    path: PathBuf,
    limit: u64,
    current: Option<SegmentFile>,
    old: Option<SegmentFile>,
    closed: bool,
    /// The syncing of the file; `None` for files that are not synced.
    disk: Option<Disk>,
}

/// A file, and the length of its complete lines.
#[derive(Debug, Clone)]
struct SegmentFile {
    file: Arc<File>,
    length: u64,
}

/// Both files at one moment, for a reader on another thread. Later lines and rotations do not affect the snapshot.
#[derive(Debug, Clone, Default)]
pub(super) struct SegmentSnapshot {
    old: Option<SegmentFile>,
    current: Option<SegmentFile>,
}

impl SegmentedLog {
    /// Opens the existing files. Nothing is created before the first line.
    pub(super) fn open(path: PathBuf, limit: u64, disk: Option<Disk>) -> Self {
        let take_up = |path: &Path| {
            let found = existing(path, OpenOptions::new().read(true).write(true));
            found.unwrap_or_else(|error| {
                tracing::error!(%error, path = %path.display(), "cannot open the existing file; beginning a new one");
                None
            })
        };
        let (current, old) = (take_up(&path), take_up(&old(&path)));
        if let Some(SegmentFile { file, length }) = &current {
            let _ = file.set_len(*length); // otherwise the next line overwrites the torn one
        }
        Self { path, limit, current, old, closed: false, disk }
    }

    /// The readable files.
    pub(super) fn segments(&self) -> SegmentSnapshot {
        SegmentSnapshot { old: self.old.clone(), current: self.current.clone() }
    }

    /// Appends whole lines in one write. A new file begins with the line `head`.
    pub(super) fn append(&mut self, lines: &[u8], head: impl FnOnce() -> Vec<u8>) -> io::Result<()> {
        let full = |written: &SegmentFile| written.length + lines.len() as u64 > self.limit;
        if self.closed || self.current.as_ref().is_none_or(full) {
            match self.rotate(&head()) {
                // A rotation can fail, for example without a free descriptor. The current file then grows beyond its limit.
                Err(error) if self.may_go_on() => {
                    tracing::warn!(%error, path = %self.path.display(), "cannot begin a new file");
                }
                begun => begun?,
            }
        }
        let Some(SegmentFile { file, length }) = &mut self.current else { return Ok(()) };
        match file.write_all_at(lines, *length) {
            Ok(()) => {
                *length += lines.len() as u64;
                if let Some(disk) = &self.disk {
                    disk.mark(&self.path);
                }
            }
            Err(error) => {
                let _ = file.set_len(*length); // a partly written text must not count as lines
                // The file could only be opened for reading. Once the disk is writable again, a new file is created.
                self.closed |= error.raw_os_error() == Some(nix::libc::EBADF);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Closes the current file. The next line creates a new one.
    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    fn may_go_on(&self) -> bool {
        !self.closed && self.current.as_ref().is_some_and(|current| current.length < 2 * self.limit)
    }

    /// Overwrites bytes of the current file, which needs no space on the disk.
    pub(super) fn overwrite(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.current.as_ref().map_or(Ok(()), |current| current.file.write_all_at(bytes, at))
    }

    /// Replaces the old file by the current one. The new file is prepared under another name, so that a current file
    /// always exists.
    fn rotate(&mut self, head: &[u8]) -> io::Result<()> {
        let aside = self.path.with_extension("new");
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
        file.write_all_at(head, 0)?;
        match std::fs::rename(&self.path, old(&self.path)) {
            Ok(()) => {
                self.old = self.current.take();
                if let Some(disk) = &self.disk {
                    disk.mark(&old(&self.path));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        std::fs::rename(&aside, &self.path)?;
        self.current = Some(SegmentFile { file: Arc::new(file), length: head.len() as u64 });
        self.closed = false;
        Ok(())
    }
}

impl SegmentSnapshot {
    /// The files of a project without a daemon.
    pub(super) fn at(path: &Path) -> io::Result<Self> {
        let options = |path: &Path| existing(path, OpenOptions::new().read(true));
        Ok(Self { old: options(&old(path))?, current: options(path)? })
    }

    /// The old file and the current one.
    pub(super) fn parts(&self) -> [SegmentPart<'_>; 2] {
        [SegmentPart(self.old.as_ref()), SegmentPart(self.current.as_ref())]
    }

    /// Keeps only the files whose first line is accepted.
    pub(super) fn retain(mut self, accepts: impl Fn(&[u8]) -> bool) -> io::Result<Self> {
        for file in [&mut self.old, &mut self.current] {
            if !accepts(&SegmentPart(file.as_ref()).first_line()?) {
                *file = None;
            }
        }
        Ok(self)
    }

    /// The text of the old file and of the current one.
    pub(super) fn read(&self) -> io::Result<[Vec<u8>; 2]> {
        Ok([text(self.old.as_ref())?, text(self.current.as_ref())?])
    }
}

/// One of the two files, which is empty if it does not exist.
#[derive(Clone, Copy)]
pub(super) struct SegmentPart<'a>(Option<&'a SegmentFile>);

impl SegmentPart<'_> {
    /// The total length of the complete lines.
    pub(super) fn len(self) -> usize {
        self.0.map_or(0, |written| usize::try_from(written.length).unwrap_or(usize::MAX))
    }

    /// Reads some bytes; none at the end of the file.
    pub(super) fn read_at(self, buffer: &mut [u8], offset: usize) -> io::Result<usize> {
        let Some(SegmentFile { file, .. }) = self.0 else { return Ok(0) };
        loop {
            match file.read_at(buffer, offset as u64) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => return read,
            }
        }
    }

    /// The first line, without its end.
    fn first_line(self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        while line.len() < self.len() {
            let begin = line.len();
            line.resize(self.len().min(begin + 4096), 0);
            let read = self.read_at(&mut line[begin..], begin)?;
            line.truncate(begin + read);
            if let Some(end) = line[begin..].iter().position(|byte| *byte == b'\n') {
                line.truncate(begin + end);
                break;
            }
            if read == 0 {
                break;
            }
        }
        Ok(line)
    }
}

fn old(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

fn existing(path: &Path, how: &OpenOptions) -> io::Result<Option<SegmentFile>> {
    let opened = match how.open(path) {
        // On a read-only file system the file can still be read.
        Err(error) if matches!(error.raw_os_error(), Some(nix::libc::EROFS | nix::libc::EACCES)) => {
            File::open(path)
        }
        opened => opened,
    };
    let file = match opened {
        Ok(file) => Arc::new(file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let length = file.metadata()?.len();
    let text = text(Some(&SegmentFile { file: Arc::clone(&file), length }))?;
    let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    Ok(Some(SegmentFile { file, length: whole as u64 }))
}

fn text(written: Option<&SegmentFile>) -> io::Result<Vec<u8>> {
    let part = SegmentPart(written);
    let mut text = vec![0; part.len()];
    let mut filled = 0;
    while filled < text.len() {
        match part.read_at(&mut text[filled..], filled)? {
            // The file was truncated.
            0 => break,
            read => filled += read,
        }
    }
    text.truncate(filled);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn lines(segments: &SegmentSnapshot) -> String {
        segments.read().unwrap().iter().map(|text| String::from_utf8_lossy(text).into_owned()).collect()
    }

    #[test]
    fn a_full_file_becomes_the_old_one_and_is_still_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.jsonl");
        let mut file = SegmentedLog::open(path.clone(), 10, None);
        for line in ["one\n", "two\n", "three\n", "four\n"] {
            file.append(line.as_bytes(), || b"#\n".to_vec()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "#\nfour\n");
        assert_eq!(lines(&SegmentedLog::open(path.clone(), 10, None).segments()), "#\nthree\n#\nfour\n");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_line_written_in_part_is_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.jsonl");
        std::fs::write(&path, "one\ntw").unwrap();
        let mut file = SegmentedLog::open(path.clone(), 100, None);
        assert_eq!(lines(&file.segments()), "one\n");
        file.append(b"three\n", Vec::new).unwrap();
        assert_eq!(std::fs::read_to_string(path).unwrap(), "one\nthree\n");
    }

    #[test]
    fn a_reader_is_not_disturbed_by_what_is_written_after_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = SegmentedLog::open(dir.path().join("x.jsonl"), 10, None);
        file.append(b"one\n", Vec::new).unwrap();
        let segments = file.segments();
        for _ in 0..5 {
            file.append(b"another\n", Vec::new).unwrap();
        }
        assert_eq!(lines(&segments), "one\n");
    }
}
