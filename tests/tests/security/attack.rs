//! Four concurrent attacks: headers that trigger redaction, streams without readers, checks with much output, and
//! endless names. Meanwhile the daemon responds on its socket, and it stops on request.

use crate::{address, bearer, token};
use service_tests::{Project, eventually, http};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The number of requests on the socket.
const QUESTIONS: u32 = 60;
/// The time limit of a request. A release build responds within 50 ms; a debug build is ten times as slow, and the
/// machine is busy.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(4);
/// The maximum duration of a turn. One such head took 410 ms in a release build before the fix, and four at once
/// blocked every other client.
const MAX_TURN_SECONDS: f64 = 2.0;

/// A check that prints 64 KB and fails.
const PRINTS: &str = r#"'''exec:sh -c "head -c 65536 /dev/zero | tr '\\0' 'BYTE'; exit 1"'''"#;

/// The number of streams without a reader.
fn idle_streams() -> usize {
    std::env::var("SERVICE_LOAD").map_or(200, |load| if load == "long" { 1_000 } else { 200 })
}

/// Sends a request over TCP repeatedly, on new connections.
fn again(at: &str, over: &AtomicBool, request: &str) {
    while !over.load(Ordering::Relaxed) {
        let Ok(mut stream) = TcpStream::connect(at) else { continue };
        let _ = stream.set_read_timeout(Some(Duration::from_secs(10)));
        if stream.write_all(request.as_bytes()).is_ok() {
            let _ = stream.read_to_end(&mut Vec::new());
        }
    }
}

#[test]
fn whoever_asks_on_the_socket_is_answered_while_others_attack() {
    let noisy = |name: &str, byte: &str| {
        format!(
            "[services.{name}]\nstart_command = \"TEST_SERVICE\"\nhealth.interval = \"100ms\"\n\
             health_check_endpoint = {PRINTS}\n",
        )
        .replace("BYTE", byte)
    };
    let Some(project) = Project::new(&format!(
        "[orchestrator.api]\nlisten = \"127.0.0.1:0\"\n[services.web]\nstart_command = \"TEST_SERVICE\"\n{}{}",
        noisy("loud", "@"),
        noisy("louder", ":"),
    )) else {
        return;
    };
    project.value("service start web");
    project.value("service start loud louder --no-wait");
    let (at, daemon) = (address(&project), project.daemon());
    let (read, admin) = (bearer(&at, &token(&project, "read")), bearer(&at, &token(&project, "admin")));
    let over = AtomicBool::new(false);
    let longest = std::thread::scope(|scope| {
        let _ends = Ends(&over);
        let pages =
            ["@".repeat(15_000), "a:b@".repeat(3_700), "://".repeat(5_000), "token=\" ".repeat(1_800)];
        let heads: Vec<String> = pages
            .iter()
            .map(|page| {
                format!("GET / HTTP/1.1\r\nHost: {at}\r\nOrigin: {page}\r\nConnection: close\r\n\r\n")
            })
            .collect();
        let (at, over) = (at.as_str(), &over);
        for head in heads {
            scope.spawn(move || again(at, over, &head));
        }
        let path = "@".repeat(14_000);
        let refused =
            format!("POST /{path} HTTP/1.1\r\n{read}Connection: close\r\nContent-Length: 0\r\n\r\n");
        scope.spawn(move || again(at, over, &refused));
        for name in ["a", "@"] {
            let body = format!("{{\"names\":[\"{}\"]}}", name.repeat(60_000));
            let length = body.len();
            let head = format!(
                "POST /api/v1/services/start HTTP/1.1\r\n{admin}Connection: close\r\nContent-Length: {length}"
            );
            scope.spawn(move || again(at, over, &format!("{head}\r\n\r\n{body}")));
        }
        let idle: Vec<TcpStream> = (0..idle_streams())
            .filter_map(|_| {
                let mut stream = TcpStream::connect(at).ok()?;
                let head =
                    "GET /api/v1/services/status?follow=true HTTP/1.1\r\nAccept: application/x-ndjson\r\n";
                stream.write_all(format!("{head}{read}\r\n").as_bytes()).ok()?;
                Some(stream)
            })
            .collect();
        assert!(idle.len() > 100, "{} streams", idle.len());
        let mut longest = Duration::ZERO;
        for _ in 0..QUESTIONS {
            let begun = Instant::now();
            assert_eq!(http(&project.socket(), "GET", "/api/v1/version").0, 200);
            longest = longest.max(begun.elapsed());
            std::thread::sleep(Duration::from_millis(20));
        }
        eprintln!("the slowest of {QUESTIONS} answers took {longest:?}");
        // The daemon stops on request even now.
        let pid = nix::unistd::Pid::from_raw(daemon.try_into().expect("a pid"));
        let turn = metric(&project, "orchestratord_longest_turn_seconds");
        assert!(turn > 0.0 && turn < MAX_TURN_SECONDS, "the longest turn took {turn} s");
        eprintln!("the longest turn took {turn} s");
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("it runs");
        eventually("it ends", || (!std::path::Path::new(&format!("/proc/{daemon}")).exists()).then_some(()));
        longest
    });
    // The next daemon adopts the running services, and then stops them.
    assert_eq!(project.status("web")["state"], "ready");
    assert!(longest < ANSWER_TIMEOUT, "the slowest answer took {longest:?}");
}

/// Ends the attacks, whatever the result of the test.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn metric(project: &Project, name: &str) -> f64 {
    let page = service_tests::request(&project.socket(), "GET", "/metrics").expect("it is answered");
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    line.unwrap_or_else(|| panic!("no {name}: {page}"))
}
