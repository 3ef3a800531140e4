//! Logs of managers: read, bounded, and followed although a manager cannot report new lines.

use service_tests::{Project, ServiceTable, alive, eventually, follow, memory};
use std::fs::OpenOptions;
use std::io::Write;

/// A module whose log is a file, and which records its calls.
const LAMP: &str = r#"
export def start []: record -> record { {state: running} }
export def stop []: record -> record { {state: stopped} }
export def status []: record -> record { {state: running} }
export def logs []: record -> any {
    let lamp = $in
    cd $lamp.working_dir
    if ("hang" | path exists) { sleep 10min }
    if not ("log" | path exists) { return [] }
    let lines = open --raw log | lines
    if ("plain" | path exists) { return ($lines | last $lamp.tail) }
    $lines
    | each {|line| {time: ($line | split row " " | first | into int | $in * 1_000_000 | into datetime) stream: stdout line: $line} }
    | where { $lamp.since == null or $in.time >= $lamp.since }
    | last $lamp.tail
}
"#;

fn lamp() -> Option<Project> {
    let project = Project::new("[services.lamp]\nmanager = \"lamp.nu\"")?;
    project.write("lamp.nu", LAMP);
    Some(project)
}

/// Adds lines, each beginning with its time in milliseconds.
fn add(project: &Project, lines: impl IntoIterator<Item = String>) {
    let text: String = lines.into_iter().map(|line| line + "\n").collect();
    let mut log =
        OpenOptions::new().create(true).append(true).open(project.path("log")).expect("the log opens");
    log.write_all(text.as_bytes()).expect("the log grows");
}

/// The beginning of this test, on the clock of lines.
fn now() -> u128 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("the clock is past 1970")
        .as_millis()
}

/// Five lines with the same time, which times alone do not distinguish.
fn line_of(begun: u128, number: u64) -> String {
    format!("{} {number}", begun + u128::from(number / 5))
}

#[test]
fn what_a_manager_tells_later_is_followed_without_a_gap_or_a_line_twice() {
    let Some(project) = lamp() else { return };
    let at = now();
    let line = |number| line_of(at, number);
    add(&project, (0..3).map(line));
    project.value("service start lamp");
    let mut lines = follow(&project.socket(), "/api/v1/services/lamp/logs?follow=true&tail=2");
    let mut expect = |number: u64| {
        let line = lines.next().expect("a line")["data"]["line"].as_str().unwrap().to_owned();
        assert_eq!(line, line_of(at, number));
    };
    (1..3).for_each(&mut expect);
    // The manager is also called in the middle of each batch.
    for round in 0..5 {
        for from in (3 + 60 * round..63 + 60 * round).step_by(7) {
            add(&project, (from..(from + 7).min(63 + 60 * round)).map(line));
        }
        (3 + 60 * round..63 + 60 * round).for_each(&mut expect);
    }
}

#[test]
fn lines_without_times_are_followed_too() {
    let Some(project) = lamp() else { return };
    project.write("plain", "");
    add(&project, ["0".to_owned()]);
    project.value("service start lamp");
    let mut lines = follow(&project.socket(), "/api/v1/services/lamp/logs?follow=true");
    for number in 0..4 {
        let line = lines.next().expect("a line");
        assert_eq!(line["data"]["line"], number.to_string());
        add(&project, [(number + 1).to_string()]);
    }
}

#[test]
fn following_ends_with_its_reader() {
    let Some(project) = lamp() else { return };
    add(&project, ["1 1".to_owned()]);
    project.value("service start lamp");
    let mut lines = follow(&project.socket(), "/api/v1/services/lamp/logs?follow=true");
    assert!(lines.next().is_some());
    project.write("hang", "");
    let daemon = project.daemon();
    let calls = || project.processes().into_iter().filter(|pid| *pid != daemon && alive(*pid)).count();
    eventually("it is asked again", || (calls() > 0).then_some(()));
    drop(lines);
    eventually("nobody asks any more", || (calls() == 0).then_some(()));
}

#[test]
fn more_than_is_taken_at_once_is_refused_with_a_way_out() {
    let Some(project) = lamp() else { return };
    let at = now();
    let long = "x".repeat(100_000);
    add(&project, (0..100).map(|number| format!("{at} {long} {number}")));
    project.value("service start lamp");
    let error = project.error("service logs lamp");
    assert_eq!(error["code"], "service::too_much", "{error}");
    assert!(error["help"].as_str().unwrap().contains("--tail"), "{error}");
    assert_eq!(project.value("service logs lamp --tail 3").column("service").len(), 3);
}

#[test]
fn all_since_a_time_can_be_asked_for() {
    let Some(project) = lamp() else { return };
    add(&project, ["1 0".to_owned(), format!("{} 1", now())]);
    project.value("service start lamp");
    let lines = project.value("service logs lamp --since 5min | get line");
    assert_eq!(lines.as_array().unwrap().len(), 1, "{lines}");
}

#[test]
fn what_is_no_line_is_told_in_plain_words() {
    let Some(project) = Project::new("[services.lamp]\nmanager = \"lamp.nu\"") else { return };
    for (answer, word) in [("[1 2]", "a string or a record, not 1"), ("{a: 1}", "list of lines")] {
        project
            .write("lamp.nu", &LAMP.replace("let lamp = $in", &format!("return {answer}\n let lamp = $in")));
        project.trust();
        let error = project.error("service logs lamp");
        assert_eq!(error["code"], "service::manager_failed", "{error}");
        assert!(error["msg"].as_str().unwrap().contains(word), "{error}");
    }
}

#[test]
fn a_long_log_that_nobody_takes_is_not_in_memory() {
    let Some(project) = lamp() else { return };
    let at = now();
    add(&project, (0..12_000).map(|number| format!("{at} {} {number}", "x".repeat(400))));
    project.value("service start lamp");
    let before = memory(project.daemon());
    let readers: Vec<_> = (0..6)
        .map(|_| {
            let mut lines = follow(&project.socket(), "/api/v1/services/lamp/logs?tail=100000&follow=true");
            assert!(lines.next().is_some());
            lines
        })
        .collect();
    let grown = memory(project.daemon()).saturating_sub(before);
    assert!(grown < 16 << 20, "{} KiB", grown >> 10);
    drop(readers);
}
