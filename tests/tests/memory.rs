//! The daemon's memory does not hold responses that clients request but do not read.

use service_tests::{Project, ServiceTable, http, memory, request};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// The maximum memory of the daemon, in bytes.
const MAX_MEMORY_BYTES: u64 = 64 * 1024 * 1024;
/// The number of lines of a log. Twenty such logs are ten times as large as the maximum memory.
const LINES: usize = 250_000;

#[test]
fn twenty_readers_of_a_long_log_who_do_not_read_cost_next_to_nothing() {
    let chatter = format!(
        "[services.web]\nstart_command = \"TEST_SERVICE chatter {LINES} exit 0\"\noneshot = true\n\
         log = {{ max_size = \"256MiB\" }}\n"
    );
    let Some(project) = Project::new(&chatter) else { return };
    assert_eq!(project.value("service start web").row("web")["ok"], true);
    let (daemon, socket) = (project.daemon(), project.socket());
    let whole = format!("/api/v1/services/web/logs?tail={LINES}");
    let paths = [&whole, &format!("/api/v1/logs?tail={LINES}"), "/api/v1/events?since=0"];
    let mut readers: Vec<UnixStream> = (0..20)
        .map(|n| {
            let mut stream = UnixStream::connect(&socket).expect("the daemon listens");
            stream.set_read_timeout(Some(Duration::from_mins(1))).expect("a timeout can be set");
            let accept = ["application/json", "application/x-ndjson"][n % 2];
            let path = paths[n % paths.len()];
            write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n\r\n").unwrap();
            stream
        })
        .collect();
    // Once the first bytes have arrived and another request has been served, each response is as complete as it can be.
    for reader in &mut readers {
        reader.read_exact(&mut [0; 16]).expect("an answer has begun");
    }
    drop(request(&socket, "GET", "/api/v1/daemon").expect("the daemon answers others"));
    let held = memory(daemon);
    assert!(held < MAX_MEMORY_BYTES, "the daemon has {} MiB", held / 1024 / 1024);
    println!("with 20 unread answers the daemon has {} MiB", held / 1024 / 1024);
    // A client that reads gets the whole response.
    let told = request(&socket, "GET", &whole).expect("the daemon answers");
    assert!(told.contains(&format!("line {LINES}\"}}")), "the last line is there");
    assert!(memory(daemon) < MAX_MEMORY_BYTES, "the daemon has {} MiB", memory(daemon) / 1024 / 1024);
}

/// Connects as many clients as are admitted. They request everything and then read nothing.
fn unread(socket: &std::path::Path, most: usize, paths: &[&str], accept: &str) -> Vec<UnixStream> {
    let ask = |n: usize| {
        let mut stream = UnixStream::connect(socket).expect("the daemon listens");
        stream.set_read_timeout(Some(Duration::from_mins(1))).expect("a timeout can be set");
        let path = paths[n % paths.len()];
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n\r\n")
            .expect("the daemon reads");
        stream
    };
    let mut readers: Vec<UnixStream> = (0..most).map(ask).collect();
    for reader in &mut readers {
        reader.read_exact(&mut [0; 16]).expect("an answer has begun");
    }
    readers
}

/// Fills two files of events and two of checks to their maximum size.
fn fill_the_journal(project: &Project) {
    let directory = project.state_dir();
    let head = "{\"journal\":1,\"given\":\"00000000000000000000\",\"seen\":{}}\n";
    let reason = "r".repeat(300);
    let (mut seq, mut time) = (0, 0);
    for name in ["journal.jsonl.1", "journal.jsonl"] {
        let mut text = head.to_owned();
        while text.len() < 1000 * 1024 {
            (seq, time) = (seq + 1, time + 1);
            let event = format!(
                "{{\"seq\":{seq},\"time\":\"2026-01-01T{:02}:{:02}:{:02}Z\",\"since_boot_ms\":1.5,\"service\":\"web\",\
                 \"event\":\"state\",\"from\":\"backoff\",\"to\":\"failed\",\"reason\":\"{reason}\",\"run\":{seq}}}\n",
                time / 3600,
                time / 60 % 60,
                time % 60
            );
            text.push_str(&event);
        }
        fs::write(directory.join(name), text).expect("the state directory is ours");
    }
    for name in ["checks.jsonl.1", "checks.jsonl"] {
        let row = "{\"time\":\"2026-01-01T00:00:00Z\",\"service\":\"web\",\"run\":1,\"healthy\":true,\"latency_ms\":1.5}\n";
        fs::write(directory.join(name), row.repeat(1000 * 1024 / row.len()))
            .expect("the state directory is ours");
    }
}

#[test]
fn two_hundred_unread_answers_out_of_a_full_journal_cost_a_piece_each() {
    let Some(project) =
        Project::new("[services.web]\nstart_command = \"TEST_SERVICE say hello\"\nrestart = \"no\"")
    else {
        return;
    };
    project.value("service start web");
    project.value("service daemon stop --services");
    fill_the_journal(&project);
    project.value("service status");
    let (daemon, socket) = (project.daemon(), project.socket());
    let (status, history) = http(&socket, "GET", "/api/v1/services/history");
    let rows = history["data"].as_array().expect("rows");
    assert!(status == 200 && rows.len() > 20_000, "{} rows", rows.len());
    let (_, events) = http(&socket, "GET", "/api/v1/events?since=0");
    let numbers: Vec<u64> =
        events["data"].as_array().expect("rows").iter().filter_map(|event| event["seq"].as_u64()).collect();
    assert!(numbers.len() > 4_000 && numbers.is_sorted() && numbers[0] == 1, "{} events", numbers.len());
    let (_, last) = http(&socket, "GET", "/api/v1/services/history?limit=3");
    assert_eq!(last["data"].as_array().expect("rows")[..], rows[rows.len() - 3..]);
    let paths =
        ["/api/v1/events?since=0", "/api/v1/services/history", "/api/v1/services/history?starts=true"];
    let readers = unread(&socket, 200, &paths, "application/json");
    let lines = unread(&socket, 200, &paths[..1], "application/x-ndjson");
    assert_eq!(http(&socket, "GET", "/api/v1/services/status").0, 200);
    let held = memory(daemon);
    println!("with {} unread answers the daemon has {} MiB", readers.len() + lines.len(), held / 1024 / 1024);
    assert!(held < MAX_MEMORY_BYTES, "the daemon has {} MiB", held / 1024 / 1024);
}

#[test]
fn unread_lists_of_five_hundred_services_cost_a_piece_each() {
    let one = |n| format!("[services.worker-{n}]\nstart_command = \"sleep {n}\"\n");
    let Some(project) = Project::new(&(0..500).map(one).collect::<String>()) else { return };
    assert_eq!(project.value("service status | length"), 500);
    let (daemon, socket) = (project.daemon(), project.socket());
    let paths = ["/metrics", "/api/v1/services/status?long=true", "/api/v1/services/list", "/api/v1/graph"];
    let readers = unread(&socket, 240, &paths, "application/json");
    drop(request(&socket, "GET", "/api/v1/daemon").expect("the daemon answers others"));
    let held = memory(daemon);
    println!("with 240 unread lists the daemon has {} MiB", held / 1024 / 1024);
    assert!(held < MAX_MEMORY_BYTES, "the daemon has {} MiB", held / 1024 / 1024);
    drop(readers);
    // A client that reads gets the whole response.
    let told = request(&socket, "GET", "/metrics").expect("the daemon answers");
    assert_eq!(told.matches("service_start_duration_seconds_count{").count(), 500);
    let (_, answer) = http(&socket, "GET", "/api/v1/services/status?long=true");
    assert_eq!(answer["data"].as_array().map(Vec::len), Some(500));
}

#[test]
fn followers_of_long_logs_who_do_not_read_cost_next_to_nothing() {
    let services: Vec<String> = (0..10)
        .map(|n| {
            format!(
                "[services.s{n}]\nstart_command = \"TEST_SERVICE chatter 10000 exit 0\"\noneshot = true\n\
                 log = {{ max_size = \"64MiB\" }}\n"
            )
        })
        .collect();
    let Some(project) = Project::new(&services.concat()) else { return };
    project.value("service start --all");
    let (daemon, socket) = (project.daemon(), project.socket());
    let paths = ["/api/v1/logs?tail=100000&follow=true", "/api/v1/logs?names=s0&tail=100000&follow=true"];
    let readers = unread(&socket, 40, &paths, "application/x-ndjson");
    assert_eq!(http(&socket, "GET", "/api/v1/services/status").0, 200);
    let held = memory(daemon);
    println!("with {} unread logs the daemon has {} MiB", readers.len(), held / 1024 / 1024);
    // A small request does not wait for large ones, and too many large ones are refused.
    let (status, answer) = http(&socket, "GET", "/api/v1/logs?names=s1&tail=5");
    assert_eq!((status, answer["data"].as_array().map(Vec::len)), (200, Some(5)), "{answer}");
    let many = unread(&socket, 400, &["/api/v1/logs?tail=100000"], "application/x-ndjson");
    let threads = fs::read_dir(format!("/proc/{daemon}/task")).expect("the daemon lives").count();
    assert!(threads < 40, "{threads} threads");
    drop(many);
    let held = memory(daemon);
    assert!(held < MAX_MEMORY_BYTES, "the daemon has {} MiB", held / 1024 / 1024);
}

/// A user may have only 128 inotify instances, and other programs need them too.
#[test]
fn two_hundred_who_follow_logs_share_one_inotify_instance_and_are_all_told() {
    let Some(project) =
        Project::new("[services.web]\nstart_command = \"TEST_SERVICE say hello\"\nrestart = \"no\"")
    else {
        return;
    };
    project.value("service start web");
    let socket = project.socket();
    let path = ["/api/v1/services/web/logs?tail=0&follow=true"];
    let mut followers: Vec<UnixStream> = (0..200)
        .map(|_| {
            let mut stream = UnixStream::connect(&socket).expect("the daemon listens");
            stream.set_read_timeout(Some(Duration::from_mins(1))).expect("a timeout can be set");
            write!(stream, "GET {} HTTP/1.1\r\nHost: x\r\nAccept: application/x-ndjson\r\n\r\n", path[0])
                .unwrap();
            stream.read_exact(&mut [0; 12]).expect("an answer has begun");
            stream
        })
        .collect();
    let descriptors = fs::read_dir(format!("/proc/{}/fd", project.daemon())).expect("the daemon lives");
    let names = descriptors.flatten().filter_map(|descriptor| fs::read_link(descriptor.path()).ok());
    let instances = names.filter(|name| name.to_string_lossy().contains("inotify")).count();
    // The instance has two descriptors: its own, and the runtime's duplicate.
    assert_eq!(instances, 2);
    project.value("service restart web");
    for follower in &mut followers {
        let mut heard = String::new();
        while !heard.contains("hello") {
            let mut piece = [0; 4096];
            let read = follower.read(&mut piece).expect("it is told in time");
            assert!(read > 0, "the stream has ended: {heard}");
            heard.push_str(&String::from_utf8_lossy(&piece[..read]));
        }
    }
}
