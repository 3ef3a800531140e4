//! The output of a service is in its log.

use crate::harness::{Connection, eventually, program, script};
use service_shim::cri::Part;
use service_shim::{DroppedLines, Exit, LaunchFds, LogLimits, OrphanedOutput};
use std::os::unix::fs::{PermissionsExt, symlink};

#[test]
fn lines_arrive_in_order_with_their_stream() {
    let mut shim = script("echo one; echo two; exec >&2; echo three; echo").start();
    let lines = shim.output();
    let stdout: Vec<_> = lines.iter().filter(|line| line.starts_with("stdout")).collect();
    let stderr: Vec<_> = lines.iter().filter(|line| line.starts_with("stderr")).collect();
    assert_eq!(stdout, ["stdout: one", "stdout: two"]);
    assert_eq!(stderr, ["stderr: three", "stderr: "]);
}

#[test]
fn every_line_of_the_file_is_a_record_that_only_the_owner_can_read() {
    let mut shim = program(&["seq", "1000"]).start();
    shim.exit();
    let log = std::fs::read(shim.files.log()).unwrap();
    let records: Vec<_> = log.strip_suffix(b"\n").unwrap().split(|&b| b == b'\n').map(Part::parse).collect();
    assert_eq!(records.len(), 1000);
    assert!(records.iter().all(Option::is_some));
    for file in [shim.files.log(), shim.files.record()] {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn what_a_service_said_before_its_shim_was_killed_is_written_down_once() {
    for round in 0..10 {
        let mut shim = script("i=0; while :; do i=$((i+1)); echo $i; echo $i > said; done").start();
        eventually("it is under way", || shim.lines().len() > 50 * round);
        shim.kill();
        let said = shim.files.directory().join("said");
        let OrphanedOutput { shared_buffer, outputs } = &shim.orphaned_output;
        let outputs = outputs.each_ref().map(|output| output.as_ref().map(|fd| fd.try_clone().unwrap()));
        let orphaned_output = OrphanedOutput { shared_buffer: shared_buffer.clone(), outputs };
        orphaned_output
            .flush_to_log(&shim.files, LogLimits { max_size: 1 << 20, max_files: 3 }, DroppedLines::default())
            .unwrap();
        let lines: Vec<usize> =
            shim.lines().iter().map(|line| line.strip_prefix("stdout: ").unwrap().parse().unwrap()).collect();
        assert!(lines.iter().copied().eq(1..=lines.len()), "{lines:?}");
        let said: usize =
            std::fs::read_to_string(said).unwrap_or_default().trim().parse().unwrap_or_default();
        assert!(lines.len() >= said, "{} of {said} lines", lines.len());
    }
}

#[test]
fn without_a_daemon_the_zygote_writes_down_what_a_killed_shim_had_not() {
    let mut shim = script("i=0; while :; do i=$((i+1)); echo $i; echo $i > said; done").start();
    eventually("it is under way", || shim.lines().len() > 100);
    shim.connection.hang_up();
    shim.zygote.hang_up();
    shim.kill();
    let said: usize = std::fs::read_to_string(shim.files.directory().join("said"))
        .unwrap_or_default()
        .trim()
        .parse()
        .unwrap_or_default();
    let lines = || -> Vec<usize> {
        let lines = shim.lines();
        lines.iter().map(|line| line.strip_prefix("stdout: ").unwrap().parse().unwrap()).collect()
    };
    eventually("all of its output is in the log", || lines().len() >= said);
    // The log is read again: the zygote may still write lines that the service had no time to record.
    let lines = lines();
    assert!(lines.iter().copied().eq(1..=lines.len()), "{lines:?}");
}

#[test]
fn a_shim_lends_its_output() {
    let mut shim = script("exec 2> /dev/null; echo up; exec sleep 600").start();
    shim.wait_for_line("stdout: up");
    let request_output = || Connection::open(&shim.files).request_output();
    eventually("the one open output is shared", || {
        request_output().outputs.each_ref().map(Option::is_some) == [true, false]
    });
    let orphaned_output = request_output();
    shim.kill();
    orphaned_output
        .flush_to_log(&shim.files, LogLimits { max_size: 1 << 20, max_files: 3 }, DroppedLines::default())
        .unwrap();
    assert_eq!(shim.lines(), ["stdout: up"]);
}

#[test]
fn a_last_line_without_a_newline_is_a_line() {
    assert_eq!(script("printf 'a\\nb'").start().output(), ["stdout: a", "stdout: b"]);
}

#[test]
fn a_line_without_a_newline_is_written_when_its_stream_ends() {
    let shim = script("printf begun; exec >/dev/null; exec sleep 60").start();
    shim.wait_for_line("stdout: begun");
}

#[test]
fn a_line_that_does_not_go_on_is_in_the_log_and_goes_on_there() {
    let service = script(
        "printf 'booting\\nOverwrite? '; while ! [ -e go ]; do sleep .01; done; echo yes; exec sleep 60",
    );
    let go = service.directory.path().join("go");
    let shim = service.start();
    shim.wait_for_line("stdout: Overwrite? ");
    assert_eq!(shim.lines(), ["stdout: booting", "stdout: Overwrite? "]);
    std::fs::write(go, "").unwrap();
    shim.wait_for_line("stdout: Overwrite? yes");
    assert_eq!(shim.lines(), ["stdout: booting", "stdout: Overwrite? yes"]);
}

#[test]
fn a_line_that_goes_on_for_ever_is_in_the_log_as_a_person_sees_it() {
    let shim = script("while :; do printf '\\r..%%'; sleep .02; printf '\\r100%%'; sleep .02; done").start();
    eventually("it is in the log", || {
        let lines = shim.lines();
        lines.len() == 1 && ["stdout: 100%", "stdout: ..%", "stdout: ..%%"].contains(&lines[0].as_str())
    });
}

#[test]
fn a_line_that_was_shown_and_then_ended_with_its_stream_is_one() {
    let mut shim = script("printf 'last words'; sleep .4").start();
    assert_eq!(shim.output(), ["stdout: last words"]);
    let log = std::fs::read_to_string(shim.files.log()).unwrap();
    let tags: Vec<_> = log.lines().map(|line| line.split(' ').nth(2).unwrap()).collect();
    assert_eq!(tags, ["P", "F"]);
}

#[test]
fn a_line_that_was_shown_is_ended_once_when_its_shim_is_killed() {
    for more in ["", "printf 'and more'; "] {
        let service = script(&format!(
            "printf 'begun '; while ! [ -e go ]; do sleep .01; done; {more}echo > done; exec sleep 60"
        ));
        let directory = service.directory.path().to_owned();
        let mut shim = service.start();
        shim.wait_for_line("stdout: begun ");
        let shim_process = shim.process();
        let pid = nix::unistd::Pid::from_raw(shim_process.pid.cast_signed());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGSTOP).unwrap();
        std::fs::write(directory.join("go"), "").unwrap();
        eventually("the output is written", || directory.join("done").exists());
        shim.kill();
        let orphaned_output = std::mem::replace(&mut shim.orphaned_output, LaunchFds::create().unwrap().2);
        let limits = LogLimits { max_size: 1 << 20, max_files: 3 };
        orphaned_output.flush_to_log(&shim.files, limits, DroppedLines::default()).unwrap();
        let whole = if more.is_empty() { "stdout: begun " } else { "stdout: begun and more" };
        assert_eq!(shim.lines(), [whole]);
        let log = std::fs::read_to_string(shim.files.log()).unwrap();
        assert_eq!(log.lines().filter(|line| line.split(' ').nth(2) == Some("F")).count(), 1, "{log}");
    }
}

#[test]
fn the_line_that_says_ready_is_heard_also_where_it_cannot_be_written() {
    let ready = |said: &str| {
        let service = script(&format!("printf '{said}'; exec sleep 60"));
        symlink("/dev/full", service.directory.path().join("service.log")).unwrap();
        service.with(|launch| launch.ready_log = Some("^Server Ready on".to_owned())).start()
    };
    for said in [
        "Server Ready on 1\\n",
        "Server Ready on> ",
        "\\033[32mServer\\033[0m Ready on 1\\r\\n",
        "0%%\\rServer Ready on 1",
    ] {
        let mut shim = ready(said);
        while !shim.connection.record().unwrap().notified {}
    }
}

#[test]
fn a_log_that_was_moved_away_is_made_anew() {
    let mut shim = script("i=0; while ! [ -e go ]; do i=$((i+1)); echo $i; sleep .01; done").start();
    eventually("it is under way", || shim.lines().len() > 3);
    let moved = shim.files.directory().join("service.log.old");
    std::fs::rename(shim.files.log(), &moved).unwrap();
    eventually("the log continues", || shim.files.log().exists() && shim.lines().len() > 3);
    std::fs::write(shim.files.directory().join("go"), "").unwrap();
    shim.exit();
    let texts = |log: &std::path::Path| -> Vec<usize> {
        let lines = service_shim::tail::lines(&std::fs::read(log).unwrap());
        lines.iter().map(|line| line.text.parse().unwrap()).collect()
    };
    let all = [texts(&moved), texts(&shim.files.log())].concat();
    assert!(all.iter().copied().eq(1..=all.len()), "{all:?}");
}

#[test]
fn what_is_written_by_turns_to_both_streams_keeps_its_order() {
    // The pause is longer than a read, so that the test covers the order of reads.
    let mut shim =
        script("for i in 1 2 3 4 5 6 7 8 9; do echo $i; sleep .02; echo $i >&2; sleep .02; done").start();
    let wanted = (1..10).flat_map(|n| [format!("stdout: {n}"), format!("stderr: {n}")]);
    assert!(shim.output().into_iter().eq(wanted));
}

#[test]
fn a_long_line_is_split_in_the_file_and_whole_for_a_reader() {
    let mut shim = script("head -c 40960 /dev/zero | tr '\\0' x; echo; echo next").start();
    assert_eq!(shim.output(), [format!("stdout: {}", "x".repeat(40960)), "stdout: next".into()]);
    let log = std::fs::read_to_string(shim.files.log()).unwrap();
    let tags: Vec<_> = log.lines().map(|line| line.split(' ').nth(2).unwrap()).collect();
    assert_eq!(tags, ["P", "P", "F", "F"]);
}

#[test]
fn a_line_that_ends_with_its_part_and_its_stream_is_finished() {
    let mut shim = script("head -c 32768 /dev/zero | tr '\\0' x").start();
    shim.exit();
    let log = std::fs::read_to_string(shim.files.log()).unwrap();
    let tags: Vec<_> = log.lines().map(|line| line.split(' ').nth(2).unwrap()).collect();
    assert_eq!(tags, ["P", "F"]);
}

#[test]
fn rotation_loses_nothing_and_splits_no_line() {
    let limits = LogLimits { max_size: 20_000, max_files: 1000 };
    let mut shim = program(&["seq", "20000"]).with(|launch| launch.log = limits).start();
    let wanted: Vec<_> = (1..=20_000).map(|n| format!("stdout: {n}")).collect();
    assert!(shim.output() == wanted, "the lines are those that were written");
    let sizes = (1..).map_while(|n| shim.files.rotated(n).metadata().ok()).map(|file| file.len());
    assert!(sizes.inspect(|size| assert!((19_000..=20_000).contains(size))).count() > 40);
}

#[test]
fn only_so_many_rotated_files_are_kept() {
    for max_files in [0, 2] {
        let limits = LogLimits { max_size: 20_000, max_files };
        let service = program(&["seq", "20000"]).with(|launch| launch.log = limits);
        for n in 1..=4 {
            let rotated = service.directory.path().join(format!("service.log.{n}"));
            std::fs::write(rotated, "from an earlier, larger limit\n").unwrap();
        }
        let mut shim = service.start();
        assert_eq!(shim.output().last().unwrap(), "stdout: 20000");
        assert_eq!((1..9).filter(|&n| shim.files.rotated(n).exists()).count(), max_files as usize);
    }
}

#[test]
fn a_run_continues_the_log_even_behind_a_torn_record() {
    let service = script("echo new");
    std::fs::write(service.directory.path().join("service.log"), "2024-01-01T00:00:00Z stdout F ol").unwrap();
    assert_eq!(service.start().output(), ["stdout: ol", "stdout: new"]);
}

#[test]
fn a_full_disk_does_not_hold_up_the_service_and_lost_lines_are_counted() {
    let service = program(&["seq", "100000"]);
    symlink("/dev/full", service.directory.path().join("service.log")).unwrap();
    let mut shim = service.start();
    let last = shim.records().pop().unwrap();
    assert_eq!(last.dropped, 100_000);
    assert!(matches!(last.phase, service_shim::Phase::Finished { exit: Exit::Code(0), .. }));
}

#[test]
fn many_small_writes_are_all_kept() {
    let mut shim = script("i=0; while [ $i -lt 5000 ]; do i=$((i+1)); echo $i; done").start();
    let wanted: Vec<_> = (1..=5000).map(|n| format!("stdout: {n}")).collect();
    assert_eq!(shim.output(), wanted);
}
