//! Tests of lines that cannot be written, of files that other programs change, and of the byte counter.

use super::*;

fn shared_buffer() -> SharedBuffer {
    SharedBuffer::open(SharedBuffer::create().unwrap()).unwrap()
}

/// A log whose file cannot be written.
fn on_a_full_disk() -> (tempfile::TempDir, LogWriter) {
    let directory = tempfile::tempdir().unwrap();
    let files = Files::new(directory.path());
    let mut log = LogWriter::open(files, LogLimits { max_size: 1 << 20, max_files: 1 }).unwrap();
    fill_disk(&mut log);
    (directory, log)
}

/// Lets every write to the log fail.
fn fill_disk(log: &mut LogWriter) {
    let inode = std::fs::metadata(log.files.log()).unwrap().ino();
    log.current = Some(LogFile { inode, ..LogFile::open(Path::new("/dev/full")).unwrap() });
}

fn write(log: &mut LogWriter, lines: &[&str]) {
    let writer = RecordWriter::new(Timestamp::UNIX_EPOCH, Stream::Stdout);
    let shared_buffer = shared_buffer();
    for line in lines {
        log.write_line(&shared_buffer, &writer, line.as_bytes());
    }
    log.flush(&shared_buffer);
}

fn texts(log: &LogWriter) -> Vec<String> {
    log.files.tail(usize::MAX, None).unwrap().all().unwrap().into_iter().map(|line| line.text).collect()
}

#[test]
fn lines_missing_are_spoken_of_in_their_place() {
    let (_directory, mut log) = on_a_full_disk();
    write(&mut log, &["lost", "lost"]);
    write(&mut log, &["lost"]);
    log.current = Some(LogFile::open(&log.files.log()).unwrap());
    write(&mut log, &["kept"]);
    assert_eq!(texts(&log), ["3 lines were dropped: no space left on device", "kept"]);
    assert_eq!(log.dropped_lines().total, 3);
}

#[test]
fn what_the_log_was_given_is_counted_for_whoever_has_the_memory() {
    let directory = tempfile::tempdir().unwrap();
    let files = Files::new(directory.path());
    let limits = LogLimits { max_size: 200, max_files: 1 };
    let memory = File::from(SharedBuffer::create().unwrap());
    assert_eq!(crate::shared_buffer::bytes_written(&memory), None);
    let shared_buffer = SharedBuffer::open(&memory).unwrap();
    shared_buffer.set_owner(directory.path(), limits);
    assert_eq!(crate::shared_buffer::bytes_written(&memory), Some(0));
    let mut log = LogWriter::open(files.clone(), limits).unwrap();
    let writer = RecordWriter::new(Timestamp::UNIX_EPOCH, Stream::Stdout);
    let mut sum = 0;
    for _ in 0..20 {
        let mut record = Vec::new();
        writer.write_line(&mut record, b"said");
        sum += record.len() as u64;
        log.write_line(&shared_buffer, &writer, b"said");
        log.flush(&shared_buffer);
    }
    assert_eq!(crate::shared_buffer::bytes_written(&memory), Some(sum));
    // The counter continues after rotated files are removed.
    assert!(std::fs::metadata(files.log()).unwrap().len() < sum);
    fill_disk(&mut log);
    log.write_line(&shared_buffer, &writer, b"lost");
    log.flush(&shared_buffer);
    assert_eq!((crate::shared_buffer::bytes_written(&memory), log.dropped_lines().total), (Some(sum), 1));
}

#[test]
fn lines_missing_at_the_end_are_spoken_of_too() {
    let (_directory, mut log) = on_a_full_disk();
    write(&mut log, &["lost"]);
    log.current = Some(LogFile::open(&log.files.log()).unwrap());
    log.flush(&shared_buffer());
    assert_eq!(texts(&log), ["1 line was dropped: no space left on device"]);
}

#[test]
fn what_a_former_run_lost_is_spoken_of_in_the_next() {
    let directory = tempfile::tempdir().unwrap();
    let files = Files::new(directory.path());
    let log = LogWriter::open(files, LogLimits { max_size: 1 << 20, max_files: 1 }).unwrap();
    let mut log = log.with_dropped(DroppedLines { total: 5, unreported: 2 });
    write(&mut log, &["kept"]);
    assert_eq!(texts(&log), ["2 lines were dropped: they were of a former run", "kept"]);
    assert_eq!(log.dropped_lines(), DroppedLines { total: 5, unreported: 0 });
}

#[test]
fn a_log_that_was_moved_or_removed_is_made_anew() {
    let directory = tempfile::tempdir().unwrap();
    let files = Files::new(directory.path());
    let mut log = LogWriter::open(files.clone(), LogLimits { max_size: 1 << 20, max_files: 1 }).unwrap();
    write(&mut log, &["old"]);
    std::fs::rename(files.log(), directory.path().join("service.log.old")).unwrap();
    write(&mut log, &["moved"]);
    assert_eq!(texts(&log), ["moved"]);
    std::fs::remove_file(files.log()).unwrap();
    write(&mut log, &["removed"]);
    assert_eq!((texts(&log), log.dropped_lines().total), (vec!["removed".to_owned()], 0));
    std::fs::remove_dir_all(directory.path()).unwrap();
    write(&mut log, &["with its directory"]);
    assert_eq!((texts(&log), log.dropped_lines().total), (vec!["with its directory".to_owned()], 0));
}

#[test]
fn the_log_of_a_new_run_is_created_with_its_first_line() {
    let directory = tempfile::tempdir().unwrap();
    let files = Files::new(directory.path().join("web"));
    let mut log = LogWriter::new(files.clone(), LogLimits { max_size: 1 << 20, max_files: 1 });
    log.flush(&shared_buffer());
    assert!(!files.directory().exists());
    write(&mut log, &["first"]);
    assert_eq!(texts(&log), ["first"]);
}

#[test]
fn lines_that_nobody_could_end_are_ended_by_the_next_run() {
    let directory = tempfile::tempdir().unwrap();
    let files = Files::new(directory.path());
    let mut record = Vec::new();
    RecordWriter::new(Timestamp::UNIX_EPOCH, Stream::Stderr).write_record(
        &mut record,
        Tag::Partial,
        b"begun",
    );
    std::fs::write(files.log(), record).unwrap();
    let mut log = LogWriter::new(files, LogLimits { max_size: 1 << 20, max_files: 1 });
    write(&mut log, &["new"]);
    assert_eq!(texts(&log), ["begun", "new"]);
}

#[test]
fn what_cannot_be_written_is_ready_all_the_same() {
    let (_directory, log) = on_a_full_disk();
    let mut log = log.with_watch(Some(Watch::new("^Server Ready on").unwrap()));
    write(&mut log, &["booting"]);
    assert!(!log.is_ready());
    write(&mut log, &["\u{1b}[32mServer\u{1b}[0m \u{1b}[1mReady\u{1b}[0m on port 1"]);
    assert!(log.is_ready());
}

#[test]
fn a_log_that_cannot_be_rotated_grows() {
    let directory = tempfile::tempdir().unwrap();
    let files = Files::new(directory.path());
    let mut log = LogWriter::open(files, LogLimits { max_size: 100, max_files: 1 }).unwrap();
    // A directory in place of the new file.
    std::fs::create_dir(directory.path().join("service.log.new")).unwrap();
    write(&mut log, &["a"; 10]);
    assert_eq!((texts(&log).len(), log.dropped_lines().total), (10, 0));
}
