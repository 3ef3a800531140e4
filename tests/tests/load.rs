//! Load: a thousand idle streams, an endless body, malformed requests, and readers that do not read. Nothing hangs,
//! memory is bounded, and services are not disturbed. `SERVICE_LOAD=long` sends ten times as many requests.

use service_tests::{Project, alive, http, within};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The maximum memory of the daemon, in kilobytes.
const MAX_MEMORY_KB: u64 = 64 * 1024;
/// The time limit of a request while both cores are busy.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
const LISTENERS: usize = 1000;

fn requests() -> u32 {
    if std::env::var("SERVICE_LOAD").is_ok_and(|form| form == "long") { 200_000 } else { 20_000 }
}

/// A daemon with one service, and their state before the load.
struct Stage {
    project: Project,
    socket: PathBuf,
    daemon: u32,
    web: u32,
}

impl Stage {
    fn new() -> Option<Self> {
        let project =
            Project::new("[services.web]\nstart_command = \"TEST_SERVICE say hello\"\nrestart = \"no\"")?;
        project.value("service start web");
        let (socket, daemon, web) = (project.socket(), project.daemon(), project.pid("web"));
        Some(Self { project, socket, daemon, web })
    }

    /// The memory of the daemon in kilobytes. It is sampled often, because some machines do not report the peak.
    fn memory(&self) -> u64 {
        let pages = fs::read_to_string(format!("/proc/{}/statm", self.daemon)).unwrap_or_default();
        let resident: Option<u64> = pages.split(' ').nth(1).and_then(|pages| pages.parse().ok());
        let size = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten().unwrap_or(4096);
        resident.expect("the daemon lives") * u64::try_from(size).expect("a page has a size") / 1024
    }

    #[track_caller]
    fn is_small(&self, under: &str) -> u64 {
        let held = self.memory();
        assert!(held <= MAX_MEMORY_KB, "{under}: {held} kB");
        held
    }

    /// Asserts that the service is unchanged and the daemon responds. Returns the duration of the response.
    #[track_caller]
    fn is_undisturbed(&self, under: &str) {
        let asked = Instant::now();
        let (status, answer) = http(&self.socket, "GET", "/api/v1/services/status");
        let took = asked.elapsed();
        assert_eq!((status, answer["data"][0]["pid"].as_u64()), (200, Some(self.web.into())), "{answer}");
        assert!(alive(self.web) && took < ANSWER_TIMEOUT, "{under}: answered after {took:?}");
        let held = self.is_small(under);
        eprintln!("{under}: status in {took:.1?}, memory {held} kB");
    }

    /// Asserts that all clients have disconnected and no resources remain.
    fn is_empty_again(&self, descriptors: u64) {
        // A stream may notice only with its next heartbeat that its client has disconnected.
        within(Duration::from_mins(1), "all connections are closed", || {
            let (_, daemon) = http(&self.socket, "GET", "/api/v1/daemon");
            (daemon["data"]["descriptors"].as_u64()? <= descriptors).then_some(())
        });
    }

    fn descriptors(&self) -> u64 {
        let (_, daemon) = http(&self.socket, "GET", "/api/v1/daemon");
        daemon["data"]["descriptors"].as_u64().expect("it is told")
    }
}

fn raise_descriptors() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("there is a limit");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("up to the hard limit");
}

fn connect(socket: &Path) -> UnixStream {
    let stream = UnixStream::connect(socket).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout can be set");
    stream
}

/// Requests a stream of events. The error is the whole refusal.
fn try_to_listen(socket: &Path) -> Result<UnixStream, String> {
    let mut stream = connect(socket);
    stream
        .write_all(b"GET /api/v1/events?follow=true HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\nConnection: close\r\n\r\n")
        .expect("it reads");
    let mut head = [0; 12];
    stream.read_exact(&mut head).expect("it answers");
    if &head == b"HTTP/1.1 200" {
        return Ok(stream);
    }
    let mut rest = String::new();
    stream.read_to_string(&mut rest).expect("it says why");
    Err(format!("{}{rest}", String::from_utf8_lossy(&head)))
}

fn listen(socket: &Path) -> UnixStream {
    try_to_listen(socket).expect("there is room")
}

#[test]
fn one_stream_too_many_is_told_so_and_keeps_nobody_from_asking() {
    raise_descriptors();
    let Some(stage) = Stage::new() else { return };
    let mut streams = Vec::new();
    let refused = (0..LISTENERS * 2).find_map(|_| match try_to_listen(&stage.socket) {
        Ok(stream) => {
            streams.push(stream);
            None
        }
        Err(refused) => Some(refused),
    });
    let refused = refused.expect("they are counted");
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("\"busy\""), "{refused}");
    stage.is_undisturbed(&format!("{} streams, and no more", streams.len()));
    streams.clear();
    within(Duration::from_mins(1), "there is room again", || try_to_listen(&stage.socket).ok());
}

#[test]
fn a_thousand_who_only_listen_cost_little_and_keep_nobody_from_asking() {
    raise_descriptors();
    let Some(stage) = Stage::new() else { return };
    let (before, first) = (stage.descriptors(), stage.memory());
    let listeners: Vec<_> = (0..LISTENERS).map(|_| listen(&stage.socket)).collect();
    stage.is_undisturbed("1000 streams");
    // An event reaches every follower.
    stage.project.value("[{name: other start_command: 'true' oneshot: true}] | service add");
    assert_eq!(stage.project.value("service start other")[0]["ok"], true);
    for mut listener in listeners {
        let mut heard = String::new();
        while !heard.contains("other") {
            let mut piece = [0; 4096];
            let read = listener.read(&mut piece).expect("it is told in time");
            assert!(read > 0, "the stream has ended: {heard}");
            heard.push_str(&String::from_utf8_lossy(&piece[..read]));
        }
    }
    stage.is_undisturbed("1000 streams that were told");
    let most = stage.memory();
    stage.is_empty_again(before + 1);
    within(Duration::from_secs(20), "memory is given back", || {
        (stage.memory() < first.midpoint(most)).then_some(())
    });
}

#[test]
fn a_body_of_a_gigabyte_is_not_listened_to() {
    let Some(stage) = Stage::new() else { return };
    let before = stage.descriptors();
    for (head, piece) in [
        ("Content-Length: 1073741824", "a".repeat(1 << 16)),
        ("Transfer-Encoding: chunked", format!("10000\r\n{}\r\n", "a".repeat(1 << 16))),
    ] {
        let mut stream = connect(&stage.socket);
        let route = "POST /api/v1/services/start HTTP/1.1\r\nHost: x\r\n";
        stream.write_all(format!("{route}{head}\r\n\r\n").as_bytes()).expect("it reads the head");
        let sent = (0..1 << 14).take_while(|_| stream.write_all(piece.as_bytes()).is_ok()).count();
        eprintln!("{head}: {} kB were taken", sent * 64);
        assert!(sent < 1 << 8, "it listened to {} MB", sent >> 4);
    }
    stage.is_undisturbed("a body of 1 GB");
    stage.is_empty_again(before);
}

#[test]
fn readers_that_do_not_read_hold_up_nobody_and_fill_no_memory() {
    let Some(stage) = Stage::new() else { return };
    let before = stage.descriptors();
    let deaf: Vec<_> = (0..20)
        .map(|n| {
            let mut stream = connect(&stage.socket);
            let path =
                ["events?since=0&follow=true", "logs?follow=true", "services/status?follow=true"][n % 3];
            let accept = if n % 3 == 0 { "text/event-stream" } else { "application/x-ndjson" };
            write!(stream, "GET /api/v1/{path} HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\n\r\n")
                .expect("it reads");
            stream
        })
        .collect();
    for _ in 0..20 {
        let (status, _) = http(&stage.socket, "POST", "/api/v1/services/nobody/start");
        assert_eq!(status, 404);
    }
    stage.project.value("[{name: other start_command: 'true' oneshot: true}] | service add");
    for _ in 0..50 {
        let (status, answer) = http(&stage.socket, "POST", "/api/v1/services/other/restart");
        assert_eq!(status, 200, "{answer}");
    }
    stage.is_undisturbed("20 who do not read");
    drop(deaf);
    stage.is_empty_again(before + 1);
}

/// `SplitMix64`: the same requests each time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % most as u64).expect("it is below a usize")
    }

    fn pick<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len())]
    }

    fn noise(&mut self) -> String {
        (0..self.below(60))
            .map(|_| char::from(u8::try_from(self.below(94)).expect("it is a byte") + 33))
            .collect()
    }

    /// A random request, which names no existing service.
    fn request(&mut self) -> Vec<u8> {
        let method = self
            .pick(&["GET", "GET", "GET", "POST", "PUT", "DELETE", "HEAD", "get", "OPTIONS", "\u{0}", "G T"]);
        let route = self.pick(&[
            "services/list",
            "services/status",
            "services/order",
            "services/history",
            "events",
            "graph",
            "plan",
            "logs",
            "wait?timeout_ms=1",
            "version",
            "daemon",
            "services/nobody/start",
            "services/nobody/stop",
            "services/start",
            "services/nobody/logs",
            "services/nobody/why",
            "services/web",
            "services/web/why",
            "apply%00",
            "..",
            "",
            "services/%ff",
            "openapi.json",
        ]);
        let query = match self.below(4) {
            0 => String::new(),
            1 => format!("?names={}", self.noise()),
            2 => format!("?{}={}&since={}&limit=5", self.noise(), self.noise(), self.below(99)),
            _ => format!(
                "?{}",
                self.pick(&[
                    "tail=0",
                    "since=x",
                    "limit=-1",
                    "long=maybe",
                    "follow=true",
                    "names=web",
                    "names=%00,%ff,,,"
                ])
            ),
        };
        let accept = self.pick(&["*/*", "application/x-ndjson", "text/event-stream", "\u{e9}"]);
        let body = match self.below(4) {
            0 => "{".repeat(self.below(3000)),
            1 => format!("{{\"names\": [\"{}\"]}}", self.below(9)),
            _ => self.noise(),
        };
        let length = if self.below(8) == 0 { self.noise() } else { body.len().to_string() };
        let mut request = format!(
            "{method} /api/v1/{route}{query} HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .into_bytes();
        match self.below(10) {
            0 => request.truncate(self.below(request.len())),
            1 => {
                let at = self.below(request.len());
                request[at] = u8::try_from(self.below(256)).expect("it is a byte");
            }
            _ => {}
        }
        request
    }
}

#[test]
fn requests_that_mean_nothing_are_answered_or_refused_and_do_no_harm() {
    let Some(stage) = Stage::new() else { return };
    let before = stage.descriptors();
    let (begun, each) = (Instant::now(), requests() / 4);
    let askers: Vec<_> = (0..4)
        .map(|seed| {
            let socket = stage.socket.clone();
            std::thread::spawn(move || {
                let mut chance = Chance(seed);
                let mut faults = 0;
                for _ in 0..each {
                    let request = chance.request();
                    let mut stream = connect(&socket);
                    // The daemon may close a malformed request before it has read it completely.
                    let _ = stream.write_all(&request);
                    let _ = stream.shutdown(std::net::Shutdown::Write);
                    let mut answer = [0; 13];
                    let read = stream.read(&mut answer).unwrap_or_default();
                    faults += usize::from(answer[..read].starts_with(b"HTTP/1.1 5"));
                }
                faults
            })
        })
        .collect();
    let (mut looks, mut most) = (0, 0);
    while askers.iter().any(|asker| !asker.is_finished()) {
        let (status, answer) = http(&stage.socket, "GET", "/api/v1/services/status?names=web");
        assert_eq!((status, answer["data"][0]["pid"].as_u64()), (200, Some(stage.web.into())), "{answer}");
        (looks, most) = (looks + 1, most.max(stage.is_small("random requests")));
        std::thread::sleep(Duration::from_millis(50));
    }
    let faults: usize = askers.into_iter().map(|asker| asker.join().expect("each is answered")).sum();
    let took = begun.elapsed();
    eprintln!(
        "{} requests in {took:.1?}, with {looks} looks in between; memory at most {most} kB",
        requests()
    );
    assert_eq!(faults, 0, "no request is a fault of the daemon");
    stage.is_undisturbed("random requests");
    stage.is_empty_again(before);
}
