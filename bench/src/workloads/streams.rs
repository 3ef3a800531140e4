//! Many concurrent clients: followers of one log, and idle streams of events.

use crate::harness::{Instance, Output, System};
use crate::stamps::Moment;
use crate::systems::{self, Daemon};
use crate::workloads::burst::talker;
use crate::workloads::sandbox::Sandbox;
use crate::workloads::workload::{Figure, Goal, Row, Workload};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::slice::from_ref;
use std::time::Duration;

const FOLLOWERS: usize = 200;
const LINES: usize = 5_000;
const STREAMS: usize = 1_000;
const SETTLES: Duration = Duration::from_secs(3);
const WINDOW: Duration = Duration::from_secs(20);

pub(super) const FOLLOWED: Workload = Workload {
    name: "followers",
    rows: &[
        Row { name: "200 followers of a log, until each has its 5,000 lines", unit: "ms", goals: &[] },
        Row { name: "200 followers: CPU of the daemon", unit: "s", goals: &[] },
    ],
    run: followers,
};

pub(super) const STREAMED: Workload = Workload {
    name: "streams",
    rows: &[
        Row { name: "1,000 idle event streams: CPU in 20 s", unit: "s", goals: &[Goal::AtMost(0.1)] },
        Row { name: "1,000 idle event streams: memory of each", unit: "KB", goals: &[] },
    ],
    run: streams,
};

/// Applies only to this project.
fn followers(system: &dyn System) -> Option<Vec<Figure>> {
    if !systems::is_ours(system) {
        return None;
    }
    let sandbox = Sandbox::new(system);
    let service = talker(&sandbox, Output { lines: LINES, write: 6_400, kept: false });
    drop(sandbox.set_up(system, from_ref(&service))?);
    let mut daemon = Daemon::start_in(sandbox.place());
    let path = "services/s0/logs?tail=0&follow=true";
    let mut followers: Vec<Follower> = (0..FOLLOWERS).map(|_| Follower::new(&daemon, path)).collect();
    std::thread::sleep(SETTLES);
    let before = sandbox.used();
    let command = Moment::now();
    daemon.start();
    while followers.iter().any(|follower| follower.rows < LINES) {
        read_some(&mut followers);
    }
    let took = Moment::now().milliseconds_since(command);
    let cpu = sandbox.used().cpu.saturating_sub(before.cpu).as_secs_f64();
    Some(FOLLOWED.figures([took, cpu]))
}

fn streams(system: &dyn System) -> Option<Vec<Figure>> {
    if !systems::is_ours(system) {
        return None;
    }
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most).ok()?;
    let sandbox = Sandbox::new(system);
    drop(sandbox.set_up(system, &sandbox.independent(1))?);
    let daemon = Daemon::start_in(sandbox.place());
    daemon.get("version");
    let without = sandbox.used();
    let streams: Vec<UnixStream> = (0..STREAMS).map(|_| daemon.follow("events?follow=true")).collect();
    std::thread::sleep(SETTLES);
    let before = sandbox.used();
    std::thread::sleep(WINDOW);
    let after = sandbox.used();
    let cpu = after.cpu.saturating_sub(before.cpu).as_secs_f64();
    let each = after.memory.saturating_sub(without.memory) as f64 / STREAMS as f64;
    drop(streams);
    Some(STREAMED.figures([cpu, each / 1e3]))
}

/// A client that reads rows and only counts them.
struct Follower {
    stream: UnixStream,
    rows: usize,
    last: u8,
}

impl Follower {
    fn new(daemon: &Daemon, path: &str) -> Self {
        Self { stream: daemon.follow(path), rows: 0, last: 0 }
    }

    /// Only a row ends with a brace and a line end. A line of the response header does not end with a brace, and a
    /// heartbeat is an empty line.
    fn read(&mut self, buffer: &mut [u8]) {
        let length = self.stream.read(buffer).expect("the daemon answers");
        assert!(length > 0, "the stream ends after {} rows", self.rows);
        for byte in &buffer[..length] {
            self.rows += usize::from(self.last == b'}' && *byte == b'\n');
            self.last = *byte;
        }
    }
}

fn read_some(followers: &mut [Follower]) {
    let mut waiting: Vec<PollFd> =
        followers.iter().map(|follower| PollFd::new(follower.stream.as_fd(), PollFlags::POLLIN)).collect();
    let woken = poll(&mut waiting, PollTimeout::from(60_000_u16)).expect("it can wait");
    assert!(woken > 0, "no follower has got a line for a minute");
    let readable: Vec<bool> = waiting.iter().map(|one| one.any().unwrap_or(false)).collect();
    drop(waiting);
    let mut buffer = vec![0; 1 << 16];
    for (follower, _) in followers.iter_mut().zip(readable).filter(|(_, readable)| *readable) {
        follower.read(&mut buffer);
    }
}
