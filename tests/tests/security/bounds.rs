//! Requests without end: heads, bodies, time and connections are bounded, on the socket as over TCP.

use crate::{address, ask, bearer, open_project, token};
use service_tests::{Project, http, within};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

const ONE: &str = "[services.web]\nstart_command = \"ACTOR\"";
/// The daemon's own limits are ten seconds.
const CUT_OFF_WITHIN: Duration = Duration::from_secs(40);

fn connect(project: &Project) -> UnixStream {
    let stream = UnixStream::connect(project.socket()).expect("it listens");
    stream.set_read_timeout(Some(CUT_OFF_WITHIN)).expect("a timeout can be set");
    stream
}

/// All that is said until the daemon hangs up, which it must.
fn rest(mut stream: UnixStream) -> String {
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("it does not hang up"),
        _ => String::from_utf8_lossy(&answer).into_owned(),
    }
}

#[test]
fn a_head_that_is_too_large_is_refused() {
    let Some(project) = Project::new(ONE) else { return };
    project.value("service status");
    let mut stream = connect(&project);
    let request = format!("GET /api/v1/version HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "a".repeat(64 * 1024));
    // It may hang up before it has heard all.
    let _ = stream.write_all(request.as_bytes());
    let answer = rest(stream);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
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
        while drip.write_all(b" ").is_ok() && begun.elapsed() < CUT_OFF_WITHIN {
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

#[test]
fn who_takes_all_connections_over_tcp_keeps_nobody_from_the_socket() {
    let Some(project) = open_project("") else { return };
    let at = address(&project);
    let crowd: Vec<_> = (0..300).map_while(|_| std::net::TcpStream::connect(&at).ok()).collect();
    assert!(crowd.len() >= 256, "they can connect");
    assert_eq!(http(&project.socket(), "GET", "/api/v1/version").0, 200);
    assert_eq!(project.status("web")["state"], "ready");
    let read = bearer(&at, &token(&project, "read"));
    within(CUT_OFF_WITHIN, "their silence ends, and another is heard", || {
        (ask(&at, "GET", "/api/v1/version", &read).0 == 200).then_some(())
    });
    drop(crowd);
}
