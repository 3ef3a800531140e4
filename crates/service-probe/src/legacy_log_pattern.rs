//! Matches `ready.log` for an older shim, which does not match log lines itself.

use regex::Regex;
use service_core::Moment;
use service_core::config::Service;
use service_core::health::next_startup_probe;
use service_host::clock;
use service_host::paths::Paths;
use service_shim::{Follower, terminal_text};
use std::sync::Arc;

/// The maximum number of examined lines of a run.
const MAX_LINES: usize = 1_000_000;
/// The number of blocks of a log that are read at once.
const MAX_BLOCKS: usize = 128;

/// Returns when a line of the run that was launched at this moment matches; `false` without a pattern.
pub async fn wait_for_match(paths: Arc<Paths>, service: Arc<Service>, launched: Moment) -> bool {
    let Some(pattern) = service.ready.log.as_deref().and_then(|pattern| Regex::new(pattern).ok()) else {
        return false;
    };
    let (files, since) = (paths.files(&service.name), clock::wall(launched));
    let mut follower = None;
    loop {
        // A log that cannot be opened or read is tried again in the next round.
        follower = follower.or_else(|| files.follow(MAX_LINES, Some(since)).ok());
        if follower.as_mut().is_some_and(|follower| has_match(follower, &pattern)) {
            return true;
        }
        clock::sleep_until(Some(next_startup_probe(launched, clock::now()))).await;
    }
}

/// Whether one of the lines written since the last call matches.
fn has_match(follower: &mut Follower, pattern: &Regex) -> bool {
    let mut lines = Vec::new();
    for _ in 0..MAX_BLOCKS {
        let more = follower.read(&mut lines).unwrap_or(false);
        if lines.drain(..).any(|line| pattern.is_match(&terminal_text::strip_escapes(&line.text))) {
            return true;
        }
        if !more {
            break;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use service_shim::Files;
    use std::fs::{OpenOptions, rename};
    use std::io::Write;

    fn append_line(files: &Files, text: &str) {
        let mut log = OpenOptions::new().create(true).append(true).open(files.log()).unwrap();
        writeln!(log, "2026-01-01T00:00:00.000000000Z stdout F {text}").unwrap();
    }

    #[test]
    fn a_line_matches_once_in_the_tail_or_after_a_rotation() {
        let directory = tempfile::tempdir().unwrap();
        let files = Files::new(directory.path());
        let pattern = Regex::new("^ready$").unwrap();
        append_line(&files, "begin");
        append_line(&files, "ready");
        let mut late = files.follow(MAX_LINES, None).unwrap();
        assert!(has_match(&mut late, &pattern));
        assert!(!has_match(&mut late, &pattern));
        append_line(&files, "\u{1b}[32mready\u{1b}[0m");
        rename(files.log(), files.rotated(1)).unwrap();
        append_line(&files, "more");
        assert!(has_match(&mut late, &pattern), "the line was written before the rotation");
        append_line(&files, "ready");
        assert!(has_match(&mut late, &pattern));
    }
}
