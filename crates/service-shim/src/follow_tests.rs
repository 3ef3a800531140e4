//! Tests of following a log: no gaps and no repeated lines.

use super::*;
use crate::cri::{MAX_PART_BYTES, RecordWriter, Tag};
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

fn append_line(files: &Files, text: &str) {
    let mut record = Vec::new();
    RecordWriter::new(Timestamp::now(), Stream::Stdout).write_line(&mut record, text.as_bytes());
    append(files, &record);
}

/// Rotates like the shim and keeps `kept` files.
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
    append_line(&files, "1");
    append_line(&files, "2");
    let mut follower = files.follow(1, None).unwrap();
    assert_eq!(read(&mut follower), ["2"]);
    assert_eq!(read(&mut follower), Vec::<String>::new());
    append_line(&files, "3");
    assert_eq!(read(&mut follower), ["3"]);
    assert_eq!(read(&mut follower), Vec::<String>::new());
}

#[test]
fn a_log_that_is_not_there_yet_is_read_from_its_beginning() {
    let (_directory, files) = service();
    let mut follower = files.follow(10, None).unwrap();
    assert_eq!(read(&mut follower), Vec::<String>::new());
    append_line(&files, "1");
    assert_eq!(read(&mut follower), ["1"]);
}

#[test]
fn a_rotation_loses_and_repeats_nothing() {
    let (_directory, files) = service();
    append_line(&files, "1");
    let mut follower = files.follow(0, None).unwrap();
    append_line(&files, "2");
    rotate(&files, 5);
    append_line(&files, "3");
    rotate(&files, 5);
    rotate(&files, 5);
    append_line(&files, "4");
    assert_eq!(read(&mut follower), ["2", "3", "4"]);
}

#[test]
fn what_was_rotated_away_unread_is_said_to_be_missing() {
    let (_directory, files) = service();
    append_line(&files, "1");
    let mut follower = files.follow(0, None).unwrap();
    for n in 2..6 {
        rotate(&files, 2);
        append_line(&files, &n.to_string());
    }
    assert_eq!(read(&mut follower), [LOST_LINES, "3", "4", "5"]);
}

#[test]
fn a_rotation_between_the_tail_and_the_first_look_changes_nothing() {
    let (_directory, files) = service();
    append_line(&files, "0");
    rotate(&files, 5);
    append_line(&files, "1");
    let mut follower = files.follow(10, None).unwrap();
    rotate(&files, 5);
    append_line(&files, "2");
    assert_eq!(read(&mut follower), ["0", "1", "2"]);
}

#[test]
fn a_line_whose_end_is_not_written_yet_is_told_once_and_whole() {
    let (_directory, files) = service();
    let writer = RecordWriter::new(Timestamp::now(), Stream::Stdout);
    let mut parts = [Vec::new(), Vec::new()];
    writer.write_record(&mut parts[0], Tag::Partial, &[b'a'; MAX_PART_BYTES]);
    writer.write_record(&mut parts[1], Tag::Full, b"b");
    append(&files, &parts[0]);
    let mut follower = files.follow(10, None).unwrap();
    assert_eq!(read(&mut follower), Vec::<String>::new());
    append(&files, &parts[1][..10]);
    assert_eq!(read(&mut follower), Vec::<String>::new());
    append(&files, &parts[1][10..]);
    assert_eq!(read(&mut follower), [format!("{}b", "a".repeat(MAX_PART_BYTES))]);
}

#[test]
fn a_line_that_was_written_because_it_was_silent_is_told_and_then_what_comes_behind() {
    let (_directory, files) = service();
    let writer = RecordWriter::new(Timestamp::now(), Stream::Stdout);
    let part = |tag, text: &[u8]| {
        let mut record = Vec::new();
        writer.write_record(&mut record, tag, text);
        append(&files, &record);
    };
    let told = |follower: &mut Follower| {
        let mut lines = Vec::new();
        while follower.read(&mut lines).unwrap() {}
        lines.into_iter().map(|line| (line.text, line.partial, line.continues)).collect::<Vec<_>>()
    };
    part(Tag::Partial, b"Overwrite? ");
    let mut follower = files.follow(10, None).unwrap();
    assert_eq!(told(&mut follower), [("Overwrite? ".to_owned(), true, false)]);
    rotate(&files, 5);
    part(Tag::Full, b"yes");
    assert_eq!(told(&mut follower), [("yes".to_owned(), false, true)]);
    let whole = files.tail(10, None).unwrap().all().unwrap();
    assert_eq!(whole.len(), 1);
    assert_eq!((whole[0].text.as_str(), whole[0].partial), ("Overwrite? yes", false));
}

#[test]
fn a_log_that_was_moved_away_is_followed_into_the_new_one_and_nothing_is_told_twice() {
    let (_directory, files) = service();
    append_line(&files, "0");
    rotate(&files, 5);
    append_line(&files, "1");
    let mut follower = files.follow(0, None).unwrap();
    assert_eq!(read(&mut follower), Vec::<String>::new());
    append_line(&files, "2");
    fs::rename(files.log(), files.directory().join("service.log.old")).unwrap();
    append_line(&files, "3");
    assert_eq!(read(&mut follower), ["2", "3"]);
    fs::remove_file(files.log()).unwrap();
    append_line(&files, "4");
    assert_eq!(read(&mut follower), ["4"]);
}

#[test]
fn many_lines_at_once_come_in_order_and_garbage_is_passed_over() {
    let (_directory, files) = service();
    let mut follower = files.follow(0, None).unwrap();
    append(&files, &vec![b'x'; 3 * BLOCK_BYTES]);
    append(&files, b"\n");
    for n in 0..5_000 {
        append_line(&files, &n.to_string());
    }
    let expected: Vec<String> = (0..5_000).map(|n: i32| n.to_string()).collect();
    assert_eq!(read(&mut follower), expected);
}

#[test]
fn a_writer_that_rotates_at_full_speed_is_followed_without_a_gap() {
    const LINES: u32 = 3_000;
    let (_directory, files) = service();
    append_line(&files, "begin");
    let mut follower = files.follow(0, None).unwrap();
    let writing = files.clone();
    let writer = std::thread::spawn(move || {
        for n in 0..LINES {
            append_line(&writing, &n.to_string());
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
