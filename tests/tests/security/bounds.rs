//! Endless requests: the sizes of heads and bodies, durations, and the number of connections are limited, on the socket
//! and over TCP.

use crate::{address, bearer, open_project, request, token};
use serde_json::Value;
use service_tests::{Project, http, within};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

const ONE: &str = "[services.web]\nstart_command = \"TEST_SERVICE\"";
/// The time limit of the test. The daemon's own limits are ten seconds.
const CUT_OFF_TIMEOUT: Duration = Duration::from_secs(40);

fn connect(project: &Project) -> UnixStream {
    let stream = UnixStream::connect(project.socket()).expect("it listens");
    stream.set_read_timeout(Some(CUT_OFF_TIMEOUT)).expect("a timeout can be set");
    stream
}

/// The rest of the stream, which the daemon must close.
fn rest(mut stream: UnixStream) -> String {
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("it does not hang up"),
        _ => String::from_utf8_lossy(&answer).into_owned(),
    }
}

#[test]
fn a_pipe_in_place_of_the_file_keeps_nobody_waiting() {
    let Some(project) = Project::new(ONE) else { return };
    let file = project.path("services.toml");
    std::fs::remove_file(&file).expect("it is ours");
    nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRWXU).expect("the directory is ours");
    for command in ["service status", "service list", "service start web"] {
        let error = project.error(command);
        let said = error["msg"].as_str().unwrap_or_default();
        assert!(said.contains("services.toml`") && said.contains("regular file"), "{command}: {error}");
    }
}

#[test]
fn a_head_that_is_too_large_is_refused() {
    let Some(project) = Project::new(ONE) else { return };
    project.value("service status");
    let mut stream = connect(&project);
    let request = format!("GET /api/v1/version HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "a".repeat(64 * 1024));
    // The daemon may close the connection before it has read the whole request.
    let _ = stream.write_all(request.as_bytes());
    let answer = rest(stream);
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 431") && answer.contains("too_large"),
        "{answer}"
    );
    assert_eq!(http(&project.socket(), "GET", "/api/v1/version").0, 200);
}

#[test]
fn a_body_that_is_too_large_is_refused_however_it_comes() {
    let Some(project) = Project::new(ONE) else { return };
    project.value("service status");
    let mut stream = connect(&project);
    stream
        .write_all(b"POST /api/v1/services/start HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n")
        .expect("it reads the head");
    let answer = rest(stream);
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("too_large"), "{answer}");
    let mut stream = connect(&project);
    stream
        .write_all(b"POST /api/v1/services/start HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        .expect("it reads the head");
    let piece = format!("10000\r\n{}\r\n", "a".repeat(0x10000));
    let sent = (0..64).take_while(|_| stream.write_all(piece.as_bytes()).is_ok()).count();
    assert!(sent < 64, "it listened to 4 MB");
}

#[test]
fn who_speaks_too_slowly_is_cut_off_and_nobody_waits_for_them() {
    let Some(project) = Project::new(ONE) else { return };
    project.value("service start web");
    let begun = Instant::now();
    let mut silent = connect(&project);
    silent.write_all(b"GET /api/v1/ver").expect("it reads");
    let mut trickles = connect(&project);
    trickles
        .write_all(b"POST /api/v1/services/stop HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
        .expect("it reads");
    let drip = trickles.try_clone().expect("it can be shared");
    let dripping = std::thread::spawn(move || {
        let mut drip = drip;
        while drip.write_all(b" ").is_ok() && begun.elapsed() < CUT_OFF_TIMEOUT {
            std::thread::sleep(Duration::from_millis(200));
        }
    });
    assert_eq!(http(&project.socket(), "GET", "/api/v1/version").0, 200);
    assert_eq!(rest(silent), "");
    let answer = rest(trickles);
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("too_slow"), "{answer}");
    dripping.join().expect("it ended");
    assert_eq!(project.status("web")["state"], "ready");
}

/// The status, the code and the message of the last answer.
fn parse_error(answer: &str) -> (u16, String, String) {
    let last = &answer[answer.rfind("HTTP/1.1 ").unwrap_or_default()..];
    let (head, body) = last.split_once("\r\n\r\n").unwrap_or((last, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    assert_eq!(length, Some(body.len().to_string().as_str()), "{answer}");
    let problem: Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("no envelope: {answer}"));
    let word = |key: &str| problem["error"][key].as_str().unwrap_or_default().to_owned();
    (status, word("code"), word("message"))
}

#[test]
fn what_is_no_request_is_refused_in_an_envelope_that_says_why() {
    let Some(project) = Project::new(ONE) else { return };
    project.value("service status");
    let many: Vec<String> = (0..101).map(|n| format!("X-{n}: x\r\n")).collect();
    let many = many.concat();
    let tells = |request: &str, (status, code, message): (u16, &str, &str)| {
        let mut stream = connect(&project);
        stream.write_all(request.as_bytes()).expect("it reads");
        let (is, word, why) = parse_error(&rest(stream));
        assert_eq!((is, word.as_str()), (status, code), "{request}: {why}");
        assert!(why.contains(message), "{why}");
    };
    let bad = |message| (400, "bad_request", message);
    let head = "GET /api/v1/version HTTP/1.1\r\nHost: x\r\n";
    tells("nonsense\r\n\r\n", bad("cannot read the request"));
    tells("GET /api/v1/version HTTP/9.9\r\n\r\n", bad("version"));
    tells("GET /a b HTTP/1.1\r\n\r\n", bad("cannot read the request"));
    tells(&format!("{head}no header\r\n\r\n"), bad("header"));
    tells(&format!("{head}Content-Length: -1\r\n\r\n"), bad("content-length"));
    tells(&format!("{head}{many}\r\n"), (431, "too_large", "100 headers"));
    tells(&format!("{head}Content-Length: 18446744073709551615\r\n\r\n"), (413, "too_large", "body"));
    // An invalid request after a valid one is answered in order.
    tells(&format!("{head}\r\nnonsense\r\n\r\n"), bad("cannot read the request"));
    let close = "Connection: close\r\n";
    let odd = |header: &str| format!("{head}{header}{close}\r\n");
    tells(&odd("Transfer-Encoding: gzip, chunked\r\n"), (501, "bad_request", "transfer encoding"));
    tells(&odd("Expect: 200-ok\r\n"), (417, "bad_request", "expectation"));
    let post = format!(
        "POST /api/v1/services/start HTTP/1.1\r\nHost: x\r\n{close}Transfer-Encoding: chunked\r\n\r\nz\r\n"
    );
    tells(&post, bad("cannot read the body of the request"));
    assert_eq!(http(&project.socket(), "GET", "/api/v1/version").0, 200);
}

#[test]
fn who_is_silent_longest_loses_the_seat_to_who_comes() {
    let Some(project) = open_project("") else { return };
    let (at, pid) = (address(&project), project.pid("web"));
    let read = bearer(&at, &token(&project, "read"));
    let silent = || {
        let mut stream = std::net::TcpStream::connect(&at).ok()?;
        stream.write_all(b"GET /api").ok()?;
        Some(stream)
    };
    let mut crowd: Vec<_> = (0..300).map_while(|_| silent()).collect();
    assert!(crowd.len() >= 256, "they can connect");
    for _ in 0..5 {
        let begun = Instant::now();
        assert_eq!(request(&at, "GET", "/api/v1/version", &read).0, 200);
        // The timeout of an idle client would be ten seconds.
        assert!(begun.elapsed() < Duration::from_secs(4), "it waited for {:?}", begun.elapsed());
        crowd.extend((0..60).map_while(|_| silent()));
    }
    assert_eq!(project.pid("web"), pid);
}

#[test]
fn who_takes_all_connections_over_tcp_keeps_nobody_from_the_socket() {
    let Some(project) = open_project("") else { return };
    let at = address(&project);
    let crowd: Vec<_> = (0..300).map_while(|_| std::net::TcpStream::connect(&at).ok()).collect();
    assert!(crowd.len() >= 256, "they can connect");
    assert_eq!(http(&project.socket(), "GET", "/api/v1/version").0, 200);
    assert_eq!(project.status("web")["state"], "ready");
    let read = bearer(&at, &token(&project, "read"));
    within(CUT_OFF_TIMEOUT, "their silence ends, and another is heard", || {
        (request(&at, "GET", "/api/v1/version", &read).0 == 200).then_some(())
    });
    drop(crowd);
}
