//! Tests of reading a log from its end.

use super::*;
use crate::cri::RecordWriter;
use crate::line_assembler::MAX_LINE_BYTES;
use std::fs;

fn second(n: i64) -> Timestamp {
    Timestamp::from_second(n).unwrap()
}

/// A log whose line `n` is written in second `n`.
fn numbered(numbers: std::ops::Range<i64>) -> Vec<u8> {
    let mut out = Vec::new();
    for n in numbers {
        RecordWriter::new(second(n), Stream::Stdout).write_line(&mut out, format!("line {n}").as_bytes());
    }
    out
}

fn texts(lines: &[Line]) -> Vec<&str> {
    lines.iter().map(|line| line.text.as_str()).collect()
}

fn tail(files: &Files, most: usize, since: Option<Timestamp>) -> Vec<Line> {
    files.tail(most, since).unwrap().all().unwrap()
}

fn empty_service() -> (tempfile::TempDir, Files) {
    let directory = tempfile::tempdir().unwrap();
    let files = Files::new(directory.path());
    (directory, files)
}

#[test]
fn a_service_without_a_log_has_no_lines() {
    let (_directory, files) = empty_service();
    assert_eq!(tail(&files, 10, None), []);
}

#[test]
fn the_last_lines_come_oldest_first() {
    let (_directory, files) = empty_service();
    fs::write(files.log(), numbered(0..10_000)).unwrap();
    assert_eq!(texts(&tail(&files, 3, None)), ["line 9997", "line 9998", "line 9999"]);
    assert_eq!(tail(&files, 0, None), []);
    assert_eq!(tail(&files, usize::MAX, None).len(), 10_000);
}

#[test]
fn a_tail_reaches_into_rotated_files_as_far_as_it_must() {
    let (_directory, files) = empty_service();
    fs::write(files.log(), numbered(7..8)).unwrap();
    fs::write(files.rotated(1), numbered(4..7)).unwrap();
    fs::write(files.rotated(2), numbered(0..4)).unwrap();
    assert_eq!(texts(&tail(&files, 5, None)), ["line 3", "line 4", "line 5", "line 6", "line 7"]);
    assert_eq!(texts(&tail(&files, 100, Some(second(6)))), ["line 6", "line 7"]);
}

#[test]
fn a_file_seen_again_after_a_rotation_is_read_once() {
    let (_directory, files) = empty_service();
    fs::write(files.log(), numbered(1..3)).unwrap();
    fs::hard_link(files.log(), files.rotated(1)).unwrap();
    fs::write(files.rotated(2), numbered(0..1)).unwrap();
    assert_eq!(texts(&tail(&files, 10, None)), ["line 0", "line 1", "line 2"]);
}

#[test]
fn torn_and_foreign_lines_are_passed_over() {
    let (_directory, files) = empty_service();
    let mut log = b"torn at the beginning\n".to_vec();
    log.extend(numbered(0..1));
    log.extend(b"\n\xff\xfe garbage\n");
    log.extend(vec![b'x'; 3 * BLOCK_BYTES]);
    log.push(b'\n');
    log.extend(numbered(1..2));
    log.extend(b"1970-01-01T00:00:02Z stdout F being writ");
    fs::write(files.log(), &log).unwrap();
    assert_eq!(texts(&tail(&files, 10, None)), ["line 0", "line 1"]);
    assert_eq!(texts(&lines(&log))[..2], ["line 0", "line 1"]);
}

#[test]
fn parts_are_joined_by_stream_even_when_the_other_stream_cuts_in() {
    let (_directory, files) = empty_service();
    let mut log = Vec::new();
    let (out, err) =
        (RecordWriter::new(second(1), Stream::Stdout), RecordWriter::new(second(1), Stream::Stderr));
    out.write_record(&mut log, Tag::Full, b"before");
    out.write_record(&mut log, Tag::Partial, b"a");
    err.write_record(&mut log, Tag::Partial, b"x");
    out.write_record(&mut log, Tag::Partial, "é".as_bytes().split_at(1).0);
    err.write_record(&mut log, Tag::Full, b"y");
    out.write_record(&mut log, Tag::Full, "é".as_bytes().split_at(1).1);
    fs::write(files.log(), &log).unwrap();
    assert_eq!(texts(&lines(&log)), ["before", "xy", "aé"]);
    assert_eq!(texts(&tail(&files, 2, None)), ["xy", "aé"]);
    assert_eq!(texts(&tail(&files, 1, None)), ["aé"]);
}

#[test]
fn an_unfinished_line_is_shown_as_far_as_it_goes() {
    let mut log = Vec::new();
    RecordWriter::new(second(1), Stream::Stdout).write_record(&mut log, Tag::Partial, b"so far");
    assert_eq!(texts(&lines(&log)), ["so far"]);
}

#[test]
fn of_a_line_without_end_the_beginning_is_kept() {
    let mut log = Vec::new();
    let writer = RecordWriter::new(second(1), Stream::Stdout);
    writer.write_record(&mut log, Tag::Partial, b"begin ");
    for _ in 0..100 {
        writer.write_record(&mut log, Tag::Partial, &vec![b'x'; MAX_PART_BYTES]);
    }
    let line = lines(&log).pop().unwrap();
    assert!(line.text.starts_with("begin xx") && line.text.len() <= MAX_LINE_BYTES);
}
