//! Tests of the journal with working and failing disks, and after killed daemons.

use super::*;
use crate::journal::History;
use crate::journal::{EventQuery, Since};
use service_api::Code;
use std::fs;
use std::path::Path;

fn paths(state_dir: &Path) -> Paths {
    Paths { boot_id: "boot".to_owned(), ..Paths::new(state_dir) }
}

fn open(state_dir: &Path) -> Journal {
    Journal::open(&paths(state_dir), 0)
}

fn change(journal: &mut Journal, service: &str) {
    journal.changed(&Name::new(service).unwrap(), None);
    journal.commit(clock::now());
}

fn find(journal: &mut Journal, query: &EventQuery) -> Result<Vec<Event>, service_api::Problem> {
    journal.subscribe(clock::now()).past().find(query)
}

fn all(journal: &mut Journal) -> Vec<Event> {
    find(journal, &EventQuery::default()).unwrap()
}

fn numbers(events: &[Event]) -> Vec<u64> {
    events.iter().map(|event| event.seq).collect()
}

#[test]
fn numbers_go_on_over_daemons_that_end_and_daemons_that_are_killed() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = open(dir.path());
    first.close(clock::now());
    drop(first);
    let mut killed = open(dir.path());
    change(&mut killed, "web");
    drop(killed);
    let mut last = open(dir.path());
    last.commit(clock::now());
    let events = all(&mut last);
    assert_eq!(numbers(&events), [1, 2, 3, 4, 5]);
    let from: Vec<Option<&str>> = events.iter().map(|event| event.from.as_deref()).collect();
    assert_eq!(from, [None, Some("running"), Some("ended"), None, Some("lost")]);
    assert_eq!(events[4].boot_id.as_deref(), Some("boot"));
}

#[test]
fn what_cannot_be_understood_is_passed_over_and_numbers_go_on_after_the_highest() {
    for (text, next) in [
        ("", 1),
        ("\n\n\n", 1),
        ("garbage\n\u{0}\u{1}\n{}\n", 1),
        ("{\"journal\":1,\"given\":\"00000000000000000041\"}\n", 42),
        ("{\"journal\":1,\"given\":\"x\",\"seen\":{}}\n{\"seq\":7,\"news\":true}\n{\"seq\":8,\"ti", 8),
        ("{\"journal\":9,\"given\":\"12\",\"odd\":1}\n{\"seq\":30}\n", 31),
        ("{\"journal\":9,\"what\":[]}\n{\"seq\":30}\n", 31),
    ] {
        let dir = tempfile::tempdir().unwrap();
        fs::write(path(dir.path()), text).unwrap();
        let mut journal = open(dir.path());
        change(&mut journal, "web");
        assert_eq!(numbers(&all(&mut journal)), [next, next + 1], "{text:?}");
        drop(journal);
        let mut again = open(dir.path());
        again.commit(clock::now());
        assert_eq!(numbers(&all(&mut again)), [next, next + 1, next + 2], "{text:?}");
    }
}

#[test]
fn a_file_of_another_version_is_kept_beside() {
    let dir = tempfile::tempdir().unwrap();
    let theirs = "{\"journal\":2,\"given\":\"5\"}\n{\"seq\":6}\n";
    fs::write(path(dir.path()), theirs).unwrap();
    open(dir.path()).commit(clock::now());
    assert_eq!(fs::read_to_string(dir.path().join("journal.jsonl.1")).unwrap(), theirs);
}

#[test]
fn the_files_stay_within_their_limit_and_what_is_gone_is_called_a_gap() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::open_limited(&paths(dir.path()), 0, 4096);
    for _ in 0..200 {
        change(&mut journal, "web");
    }
    for name in ["journal.jsonl", "journal.jsonl.1"] {
        assert!(fs::metadata(dir.path().join(name)).unwrap().len() <= 4096);
    }
    let kept = numbers(&all(&mut journal));
    let (oldest, newest) = (kept[0], kept[kept.len() - 1]);
    assert!(oldest > 100 && newest == 201, "{kept:?}");
    assert_eq!(kept, (oldest..=newest).collect::<Vec<_>>());
    let after = |seq| EventQuery { since: Some(Since::After(seq)), ..EventQuery::default() };
    let problem = find(&mut journal, &after(3)).unwrap_err();
    assert_eq!(problem.code, Code::Gap);
    assert!(problem.message.ends_with(&format!("the oldest is {oldest}")), "{problem}");
    assert_eq!(find(&mut journal, &after(202)).unwrap_err().code, Code::Gap);
    assert_eq!(numbers(&find(&mut journal, &after(oldest - 1)).unwrap()), kept);
    assert_eq!(numbers(&find(&mut journal, &after(199)).unwrap()), [200, 201]);
    assert_eq!(numbers(&find(&mut journal, &after(201)).unwrap()), Vec::<u64>::new());
}

#[test]
fn a_service_that_was_quiet_for_long_is_not_forgotten_with_the_old_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::open_limited(&paths(dir.path()), 0, 4096);
    let names = [Name::new("quiet").unwrap(), Name::new("loud").unwrap()];
    journal.defined(names.iter(), &BTreeSet::new(), None);
    for _ in 0..100 {
        change(&mut journal, "loud");
    }
    drop(journal);
    let mut next = Journal::open_limited(&paths(dir.path()), 0, 4096);
    next.defined(names.iter(), &BTreeSet::new(), None);
    next.commit(clock::now());
    assert_eq!(all(&mut next).last().unwrap().event, "daemon", "no definition is recorded again");
}

#[test]
fn limit_takes_the_last_ones_or_the_first_since() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = open(dir.path());
    for name in ["a", "b", "a", "b"] {
        change(&mut journal, name);
    }
    let mut ask = |query: EventQuery| numbers(&find(&mut journal, &query).unwrap());
    let (limit, names) = (Some(1), vec!["a".to_owned()]);
    assert_eq!(ask(EventQuery { limit, ..EventQuery::default() }), [5]);
    assert_eq!(ask(EventQuery { names: names.clone(), ..EventQuery::default() }), [2, 4]);
    assert_eq!(ask(EventQuery { names, limit, ..EventQuery::default() }), [4]);
    let since = Some(Since::After(2));
    assert_eq!(ask(EventQuery { since, limit, ..EventQuery::default() }), [3]);
    let since = Some(Since::Time(clock::today()));
    assert_eq!(ask(EventQuery { since, ..EventQuery::default() }), Vec::<u64>::new());
}

#[test]
fn without_a_disk_events_wait_in_memory_and_follow_when_there_is_one() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing");
    let mut journal = open(&missing);
    change(&mut journal, "web");
    assert_eq!(numbers(&all(&mut journal)), [1, 2], "the event is delivered anyway");
    fs::create_dir(&missing).unwrap();
    journal.commit(clock::now().plus(RETRY_DELAY * 2));
    drop(journal);
    let mut next = open(&missing);
    next.commit(clock::now());
    assert_eq!(numbers(&all(&mut next)), [1, 2, 3]);
}

#[test]
fn what_is_lost_for_want_of_a_disk_is_counted_in_the_next_event() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing");
    let mut journal = open(&missing);
    (0..MAX_WAITING_COUNT + 9).for_each(|_| change(&mut journal, "web"));
    fs::create_dir(&missing).unwrap();
    journal.commit(clock::now().plus(RETRY_DELAY * 2));
    let last = all(&mut journal).pop().unwrap();
    assert_eq!((last.event.as_str(), last.seq), ("journal", MAX_WAITING_COUNT as u64 + 11));
    assert_eq!(last.reason.as_deref(), Some("10 earlier events could not be written and are lost"));
}

#[test]
fn a_number_that_was_shown_is_not_given_again_although_it_could_not_be_written() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = open(dir.path());
    journal.commit(clock::now());
    // Simulates a full disk: existing bytes can be overwritten, but no bytes can be appended.
    journal.retry_at = Some(clock::now().plus(RETRY_DELAY));
    change(&mut journal, "web");
    assert_eq!(numbers(&all(&mut journal)), [1, 2]);
    drop(journal);
    let mut next = open(dir.path());
    next.commit(clock::now());
    assert_eq!(numbers(&all(&mut next)), [1, 3]);
}

#[test]
fn of_the_checks_of_a_start_the_last_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, web) = (open(dir.path()), Name::new("web").unwrap());
    let check = |healthy| {
        let (message, latency, at) = ("refused".to_owned(), Duration::from_millis(1), clock::today());
        CheckResult { healthy, kind: "tcp", message, fault: None, latency, at }
    };
    for _ in 0..5 {
        journal.checked(&web, 1, &check(false), true);
    }
    journal.checked(&web, 1, &check(true), true);
    journal.commit(clock::now());
    let look = |journal: &mut Journal| {
        let view = journal.subscribe(clock::now());
        let mut rows = crate::journal::cursor::collect_rows(
            History::new(view.past(), view.checks(), &EventQuery::default()).unwrap(),
        )
        .unwrap();
        rows.retain(|row| row.healthy.is_some());
        rows.into_iter().map(|row| (row.healthy, row.message)).collect::<Vec<_>>()
    };
    assert_eq!(look(&mut journal), []);
    journal.observe(&web, ObservedState::ready());
    journal.checked(&web, 1, &check(false), false);
    journal.commit(clock::now());
    assert_eq!(look(&mut journal), [(Some(true), None), (Some(false), Some("refused".to_owned()))]);
}

#[test]
fn numbers_that_a_power_failure_has_taken_are_not_given_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = open(dir.path());
    change(&mut first, "web");
    drop(first);
    let after = |last_event| {
        let paths = Paths { boot_id: "next".to_owned(), ..paths(dir.path()) };
        let mut journal = Journal::open(&paths, last_event);
        journal.commit(clock::now());
        all(&mut journal)
    };
    let events = after(0);
    let news = &events[2..];
    assert!(news[0].seq > MAX_LOST_COUNT, "{news:#?}");
    assert_eq!(news[0].event, kind::JOURNAL);
    assert!(news[0].reason.as_deref().unwrap().contains("events after 2 may be lost"), "{news:#?}");
    fs::remove_file(path(dir.path())).unwrap();
    assert_eq!(numbers(&after(41)), [42, 43], "all events are lost, and the state file has number 41");
}

#[test]
fn a_number_that_nobody_has_seen_is_given_again_and_leaves_no_gap() {
    let dir = tempfile::tempdir().unwrap();
    let mut killed = open(dir.path());
    change(&mut killed, "web");
    killed.changed(&Name::new("web").unwrap(), None);
    let taken = killed.last_assigned_number();
    drop(killed);
    let mut last = Journal::open(&paths(dir.path()), taken);
    last.commit(clock::now());
    let events = all(&mut last);
    assert_eq!(numbers(&events), [1, 2, 3]);
    assert_eq!(events[2].event, "daemon", "no loss is reported: {events:?}");
}

#[test]
fn the_number_of_an_event_that_cannot_be_written_is_taken_before_it_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = open(dir.path());
    change(&mut journal, "web");
    assert_eq!((journal.last_assigned_number(), journal.is_lagging()), (2, false));
    // Simulates a disk that cannot be written.
    journal.retry_at = Some(clock::now().plus(RETRY_DELAY));
    let mut shown = journal.subscribe(clock::now());
    journal.changed(&Name::new("web").unwrap(), None);
    journal.save(clock::now());
    assert_eq!((journal.last_assigned_number(), journal.is_lagging()), (3, true));
    assert!(shown.live.try_recv().is_err(), "the event is not delivered yet");
    journal.publish(clock::now());
    assert!(shown.live.try_recv().is_ok());
}
