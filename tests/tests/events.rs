//! The journal: events with consecutive numbers, across failures of daemons, disks and readers.

// A missing precondition fails the test.
#![allow(clippy::unwrap_used)]

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use serde_json::Value;
use service_tests::{Answer, Project, SeededRng, ServiceTable, eventually, http, rounds, skip};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const WEB: &str = "[services.web]\nstart_command = \"TEST_SERVICE\"\nready = { delay = \"1ms\" }";

fn numbers(events: &Value) -> Vec<u64> {
    events.as_array().unwrap().iter().map(|event| event["seq"].as_u64().unwrap()).collect()
}

/// Asserts that the numbers are consecutive from 1, and that each event starts from the previous state of its service.
#[track_caller]
fn is_unbroken(events: &Value) {
    let found = numbers(events);
    assert_eq!(found, (1..=found.len() as u64).collect::<Vec<_>>());
    let mut states = BTreeMap::new();
    for event in events.as_array().unwrap().iter().filter(|event| event["event"] == "state") {
        let before = states.insert(event["service"].as_str(), &event["to"]);
        assert!(before.is_none_or(|before| *before == event["from"]), "{event} follows {before:?}");
    }
}

/// Sends a request whose response is a stream.
fn follow(socket: &Path, path: &str, headers: &str) -> BufReader<UnixStream> {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(service_tests::WAIT_TIMEOUT)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n\r\n")
        .unwrap();
    BufReader::new(stream)
}

/// The next line of a stream with this prefix.
#[track_caller]
fn next(stream: &mut impl BufRead, beginning: &str) -> String {
    stream.lines().map(|line| line.unwrap()).find(|line| line.starts_with(beginning)).unwrap()
}

#[test]
fn numbers_and_states_are_unbroken_over_daemons_killed_at_random_moments() {
    let Some(project) = Project::new(
        "[services.crashing]\nstart_command = \"TEST_SERVICE note starts wait 20 exit 3\"\nrestart = \"always\"\nready = { delay = \"1ms\" }\n\
         backoff = { initial = \"10ms\", max = \"20ms\", limit = 100000 }\n\
         [services.web]\nstart_command = \"TEST_SERVICE\"\nready = { delay = \"1ms\" }\n",
    ) else {
        return;
    };
    project.value("service start crashing web --no-wait");
    let mut rng = SeededRng::default();
    for _ in 0..rounds() {
        std::thread::sleep(rng.random_delay(Duration::from_millis(150)));
        project.kill_daemon();
        project.value("service restart web");
    }
    project.value("service stop --all");
    let events = project.value("service events --since 0");
    is_unbroken(&events);
    let history = project.value("service history crashing | where kind == state");
    let history = history.as_array().unwrap();
    let ends: BTreeMap<u64, &Value> = history
        .iter()
        .filter(|row| row["exit_code"] == 3)
        .map(|row| (row["run"].as_u64().unwrap(), &row["exit_code"]))
        .collect();
    // If the daemon is killed before a launch, the run never begins. The stop may have ended the last run.
    let begun = project.read("starts").lines().count();
    assert!(ends.len() == begun || ends.len() + 1 == begun, "{} of {begun} ends: {history:#?}", ends.len());
}

#[test]
fn a_torn_line_and_garbage_are_passed_over_and_reported_once() {
    let Some(project) = Project::new(WEB) else { return };
    project.value("service start web");
    project.kill_daemon();
    let path = project.state_dir().join("journal.jsonl");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let mut journal = OpenOptions::new().append(true).open(&path).unwrap();
    journal.write_all(b"\x00\xffgarbage\n{\"seq\":99,\"time\":\"20").unwrap();
    project.value("service restart web");
    is_unbroken(&project.value("service events --since 0"));
    let log = fs::read_to_string(project.state_dir().join("orchestratord.log")).unwrap();
    assert_eq!(log.matches("cannot parse some lines of the journal").count(), 1, "{log}");
}

#[test]
fn whoever_follows_hears_everything_once_also_when_daemons_are_killed() {
    let Some(project) = Project::new(WEB) else { return };
    project.value("service start web");
    let listens = project.spawn("service events --since 0 --follow web | first 20 | to json --raw");
    for _ in 0..4 {
        project.value("service restart web");
        project.kill_daemon();
    }
    project.value("service restart web");
    let heard = Answer::wait_for(listens).value();
    let written = project.value("service events --since 0 web | first 20");
    assert_eq!(numbers(&heard), numbers(&written));
}

#[test]
fn a_follower_ends_with_its_consumer_and_waits_for_a_daemon_without_starting_one() {
    let Some(project) = Project::new(WEB) else { return };
    let listens =
        project.spawn("service events --since 0 --follow web | where to == ready | first 1 | to json --raw");
    let runs = |name: &str| project.processes().into_iter().any(|pid| service_tests::name(pid) == name);
    eventually("it listens", || runs("nu_plugin_servi").then_some(()));
    assert!(!project.path("state/service-orchestrator").exists());
    project.value("service start web");
    assert_eq!(Answer::wait_for(listens).value()[0]["service"], "web");
}

#[test]
fn without_a_daemon_the_files_are_read_and_none_is_started() {
    let Some(project) = Project::new(WEB) else { return };
    assert_eq!(project.value("service events"), serde_json::json!([]));
    assert_eq!(project.error("service events nobody")["code"], "service::not_found");
    project.value("service start web");
    let before = project.value("service history web --starts");
    project.value("service daemon stop --services");
    let events = project.value("service events");
    is_unbroken(&events);
    let last = events.as_array().unwrap().last().unwrap();
    assert_eq!((last["event"].as_str(), last["to"].as_str()), (Some("daemon"), Some("ended")));
    assert_eq!(project.value("service history web --starts"), before);
    assert_eq!(project.processes(), Vec::<u32>::new());
}

#[test]
fn since_is_a_duration_a_datetime_or_a_number() {
    let Some(project) = Project::new(WEB) else { return };
    project.value("service start web");
    let all = numbers(&project.value("service events --since 1hr"));
    assert_eq!(all, numbers(&project.value("service events")));
    let time = "(service events | where seq == 3 | get 0.time)";
    let from_three = numbers(&project.value(&format!("service events --since {time} | where seq >= 3")));
    assert_eq!(from_three, all[2..]);
    assert_eq!(numbers(&project.value("service events --since 2")), all[2..]);
    assert_eq!(numbers(&project.value("service events --since 2020-01-01")), all);
    assert_eq!(project.value("service events --since 0sec"), serde_json::json!([]));
    assert_eq!(project.error("service events --since true")["code"], "service::bad_request");
    assert_eq!(project.value("service events web | get service | uniq"), serde_json::json!(["web"]));
    assert_eq!(project.value("service events | first | get time | describe"), "datetime");
}

#[test]
fn server_sent_events_go_on_after_the_last_one_seen() {
    let Some(project) = Project::new(WEB) else { return };
    project.value("service start web");
    let socket = project.socket();
    let sse = "Accept: text/event-stream";
    let mut stream = follow(&socket, "/api/v1/events?follow=true&since=0", sse);
    assert_eq!(next(&mut stream, "id: "), "id: 1");
    assert_eq!(next(&mut stream, "event: "), "event: daemon");
    assert!(next(&mut stream, "data: ").contains("\"seq\":1,"));
    let mut stream =
        follow(&socket, "/api/v1/events?follow=true&since=0", &format!("{sse}\r\nLast-Event-ID: 2"));
    assert_eq!(next(&mut stream, "id: "), "id: 3");
    // The stream has the present events, and then ends.
    let mut live = follow(&socket, "/api/v1/events?follow=true&names=web", sse);
    next(&mut live, ": nothing new");
    let mut lines = follow(&socket, "/api/v1/events?follow=true&names=web", "Accept: application/x-ndjson");
    next(&mut lines, "HTTP/1.1 200");
    project.value("service stop web");
    assert!(next(&mut live, "data: ").contains("\"to\":\"stopping\""));
    assert!(next(&mut lines, "{").starts_with("{\"success\":true,\"data\":{\"seq\":"));
    project.value("service daemon stop");
    let mut rest = String::new();
    live.read_to_string(&mut rest).unwrap();
    assert!(rest.ends_with("\r\n0\r\n\r\n"), "a clean end: {rest}");
    assert_eq!(project.processes(), Vec::<u32>::new());
}

#[test]
fn a_list_cannot_be_followed_and_a_malformed_since_is_refused() {
    let Some(project) = Project::new(WEB) else { return };
    project.value("service start web");
    let socket = project.socket();
    for path in
        ["/api/v1/events?follow=true", "/api/v1/events?since=soon", "/api/v1/services/history?since=-1"]
    {
        let (status, answer) = http(&socket, "GET", path);
        assert_eq!((status, answer["error"]["code"].as_str()), (400, Some("bad_request")), "{path}");
    }
    let (status, answer) = http(&socket, "GET", "/api/v1/events?since=4000");
    assert_eq!((status, answer["error"]["code"].as_str()), (410, Some("gap")));
    let (_, answer) = http(&socket, "GET", "/api/v1/events?since=1&limit=2");
    assert_eq!(numbers(&answer["data"]), [2, 3]);
}

#[test]
fn a_slow_reader_is_cut_off_and_told_and_old_events_make_room() {
    const MANY: usize = 500;
    let many = |description: usize| {
        (0..MANY).fold(String::new(), |mut text, n| {
            let _ =
                writeln!(text, "[services.s{n}]\nstart_command = \"true\"\ndescription = \"{description}\"");
            text
        })
    };
    let Some(project) = Project::new(&many(0)) else { return };
    project.value("service status | length");
    let socket = project.socket();
    let mut slow = follow(&socket, "/api/v1/events?follow=true", "Accept: text/event-stream");
    let quick = follow(&socket, "/api/v1/events?follow=true", "Accept: text/event-stream");
    next(&mut slow, ": nothing new");
    let heard = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&heard);
    let reads = std::thread::spawn(move || {
        let ids = quick.lines().map_while(Result::ok).filter(|line| line.starts_with("data: {\"seq\":"));
        for _ in ids {
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    let reloads: usize = 36;
    for reload in 1..=reloads {
        project.define(&many(reload));
        assert_eq!(http(&socket, "GET", "/api/v1/services/list").0, 200);
        // This follower is at most four changes behind, so that it keeps up even on a busy machine.
        let enough = MANY * reload.saturating_sub(4);
        eventually("who reads has read", || (heard.load(Ordering::Relaxed) >= enough).then_some(()));
    }
    let mut rest = String::new();
    slow.read_to_string(&mut rest).unwrap();
    let last = rest.trim_end().lines().rev().find(|line| line.starts_with("data: ")).unwrap();
    assert!(last.contains("\"code\":\"too_slow\""), "{last}");
    for name in ["journal.jsonl", "journal.jsonl.1"] {
        assert!(fs::metadata(project.state_dir().join(name)).unwrap().len() <= 1024 * 1024);
    }
    let error = project.error("service events --since 1");
    assert_eq!(error["code"], "service::gap");
    let message = error["msg"].as_str().unwrap();
    let oldest: u64 = message.rsplit(' ').next().unwrap().parse().unwrap();
    let kept = numbers(&project.value(&format!("service events --since {}", oldest - 1)));
    assert_eq!(kept, (oldest..oldest + kept.len() as u64).collect::<Vec<_>>());
    project.value("service daemon stop");
    reads.join().unwrap();
    assert!(heard.load(Ordering::Relaxed) >= MANY * reloads, "one who keeps up hears all");
}

#[test]
fn history_has_events_and_checks_and_tells_the_way_that_decided_a_start() {
    let Some(project) = Project::new(
        "[services.db]\nstart_command = \"TEST_SERVICE wait 300 notify\"\nready = { notify = true }\n\
         health_check_endpoint = \"exec:test ! -e sick\"\nhealth = { interval = \"50ms\", retries = 2 }\n\
         [services.web]\nstart_command = \"TEST_SERVICE\"\nready = { delay = \"1ms\" }\ndependencies = [\"db\"]\n",
    ) else {
        return;
    };
    project.value("service start web");
    let starts = project.value("service history --starts");
    let row = |name: &str| starts.as_array().unwrap().iter().find(|row| row["service"] == name).unwrap();
    assert_eq!(
        (row("web")["waited_for"].as_str(), row("web")["result"].as_str()),
        (Some("db"), Some("ready"))
    );
    assert!(row("db")["waited_for"].is_null());
    assert!(row("web")["waited"].as_i64().unwrap() >= 300_000_000, "{starts}");
    assert!(row("db")["took"].as_i64().unwrap() >= 300_000_000, "{starts}");
    File::create(project.path("sick")).unwrap();
    eventually("it is found to be unhealthy", || {
        let last = project.value("service events db | last");
        (last["event"] == "health" && last["to"] == "unhealthy").then_some(())
    });
    let checks = project.value("service history db | where kind == check");
    let failed = checks.as_array().unwrap().iter().find(|row| row["healthy"] == false).unwrap();
    assert!(failed["message"].as_str().unwrap().contains("ended with code 1"), "{failed}");
    assert!(failed["latency"].as_i64().is_some_and(|latency| latency > 0), "{failed}");
    let healthy =
        "service history db | where kind == check and healthy == true | get latency | math avg | describe";
    assert_eq!(project.value(healthy), "duration");
}

/// Mounts a small disk for this test. Returns whether this is possible.
fn small_disk(on: &Path) -> bool {
    let mounted = unshare(CloneFlags::CLONE_NEWNS)
        .and_then(|()| {
            mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        })
        .and_then(|()| mount(Some("tmpfs"), on, Some("tmpfs"), MsFlags::empty(), Some("size=512k")));
    mounted.inspect_err(|error| skip(&format!("mounting needs root: {error}"))).is_ok()
}

#[test]
fn on_a_full_disk_events_are_shown_and_follow_when_there_is_room() {
    let Some(project) = Project::new(WEB) else { return };
    let disk = project.path("state");
    if !small_disk(&disk) {
        return;
    }
    project.value("service start web");
    let mut filler = File::create(disk.join("filler")).unwrap();
    for size in [4096, 1] {
        while filler.write_all(&vec![0; size]).is_ok() {}
    }
    // These events do not fit into the current page of the journal.
    for _ in 0..12 {
        assert_eq!(project.value("service restart web").row("web")["ok"], true);
    }
    let shown = project.value("service events --since 0");
    is_unbroken(&shown);
    let length = shown.as_array().unwrap().len();
    drop(filler);
    fs::remove_file(disk.join("filler")).unwrap();
    eventually("they are written down", || {
        let written = fs::read_to_string(project.state_dir().join("journal.jsonl")).unwrap();
        (written.lines().count() > length).then_some(())
    });
    project.kill_daemon();
    project.value("service restart web");
    is_unbroken(&project.value("service events --since 0"));
}
