//! Matches `ready.log` for an older shim, which does not match log lines itself.

use regex::Regex;
use service_core::Moment;
use service_core::config::Service;
use service_core::health::next_startup_probe;
use service_host::clock;
use service_host::paths::Paths;
use service_shim::{Files, Line, Tail, tail, terminal_text};
use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::Arc;

/// The maximum number of examined lines of a run.
const MAX_LINES: usize = 1_000_000;
/// The maximum number of bytes in one read.
const MAX_READ_BYTES: usize = 8 * 1024 * 1024;

/// Returns `true` once a line of the run that was launched at this moment matches; `false` without a pattern.
pub async fn wait_for_match(paths: Arc<Paths>, service: Arc<Service>, launched: Moment) -> bool {
    let Some(pattern) = service.ready.log.as_deref().and_then(|pattern| Regex::new(pattern).ok()) else {
        return false;
    };
    let files = paths.files(&service.name);
    let mut follower = PatternFollower::at_end(files.clone());
    let mut lines =
        files.tail(MAX_LINES, Some(clock::wall(launched))).and_then(Tail::all).unwrap_or_default();
    while !lines.iter().any(|line| pattern.is_match(&terminal_text::strip_escapes(&line.text))) {
        clock::sleep_until(Some(next_startup_probe(launched, clock::now()))).await;
        lines = follower.lines();
    }
    true
}

/// Reads the new lines of a log across its rotations.
#[derive(Debug)]
struct PatternFollower {
    files: Files,
    /// The file that was read last; `None` without one.
    file: Option<File>,
    offset: u64,
    /// The beginning of a record that is still being written.
    rest: Vec<u8>,
}

impl PatternFollower {
    /// Starts at the present end of the log.
    fn at_end(files: Files) -> Self {
        let file = File::open(files.log()).ok();
        let offset = file.as_ref().and_then(|file| Some(file.metadata().ok()?.len())).unwrap_or(0);
        Self { files, file, offset, rest: Vec::new() }
    }

    /// The lines written since the last call. After an error they are read by the next call.
    fn lines(&mut self) -> Vec<Line> {
        let mut bytes = std::mem::take(&mut self.rest);
        while bytes.len() < MAX_READ_BYTES {
            // This is determined before the read, because a rotated file does not grow any more.
            let is_log = self.file.is_some()
                && inode(File::open(self.files.log()).ok().as_ref()) == inode(self.file.as_ref());
            if self.read(&mut bytes) {
                continue;
            }
            match self.next().filter(|_| !is_log) {
                Some(next) => (self.file, self.offset) = (Some(next), 0),
                None => break,
            }
        }
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        self.rest = bytes.split_off(whole);
        tail::lines(&bytes)
    }

    /// Reads the rest of the present file. Returns whether it had any.
    fn read(&mut self, bytes: &mut Vec<u8>) -> bool {
        let mut block = vec![0; 64 * 1024];
        let read = self.file.as_ref().map_or(0, |file| file.read_at(&mut block, self.offset).unwrap_or(0));
        bytes.extend_from_slice(&block[..read]);
        self.offset += read as u64;
        read > 0
    }

    /// The file after the present one: the next newer one, or the oldest if the present one was deleted.
    fn next(&self) -> Option<File> {
        let mut newer = None;
        for n in 0.. {
            let path = if n == 0 { self.files.log() } else { self.files.rotated(n) };
            match File::open(path) {
                Ok(file) if inode(Some(&file)) == inode(self.file.as_ref()) => break,
                Ok(file) => newer = Some(file),
                // Between the two renames of a rotation there is no current log.
                Err(_) if n == 0 => return None,
                Err(_) => break,
            }
        }
        newer
    }
}

fn inode(file: Option<&File>) -> Option<u64> {
    file.and_then(|file| Some(file.metadata().ok()?.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{OpenOptions, rename};
    use std::io::Write;

    fn append_line(files: &Files, text: &str) {
        let mut log = OpenOptions::new().create(true).append(true).open(files.log()).unwrap();
        writeln!(log, "2026-01-01T00:00:00.000000000Z stdout F {text}").unwrap();
    }

    fn texts(follower: &mut PatternFollower) -> Vec<String> {
        follower.lines().into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn what_is_added_is_read_once_and_over_rotations() {
        let directory = tempfile::tempdir().unwrap();
        let files = Files::new(directory.path());
        let mut first = PatternFollower::at_end(files.clone());
        assert_eq!(texts(&mut first), [""; 0]);
        append_line(&files, "a");
        let mut second = PatternFollower::at_end(files.clone());
        assert_eq!(texts(&mut first), ["a"]);
        append_line(&files, "b");
        rename(files.log(), files.rotated(1)).unwrap();
        append_line(&files, "c");
        rename(files.rotated(1), files.rotated(2)).unwrap();
        rename(files.log(), files.rotated(1)).unwrap();
        assert_eq!(texts(&mut first), ["b"], "in the middle of a rotation");
        append_line(&files, "d");
        assert_eq!(texts(&mut first), ["c", "d"]);
        assert_eq!(texts(&mut second), ["b", "c", "d"]);
        std::fs::remove_file(files.rotated(2)).unwrap();
        append_line(&files, "e");
        assert_eq!((texts(&mut first), texts(&mut second)), (vec!["e".to_owned()], vec!["e".to_owned()]));
    }
}
