//! What a keeper costs: memory, time of a start, and how fast a burst of lines reaches the log. Each figure stands beside one
//! of something else measured in the same run: a bare `fork` and `exec`, and s6's own programs where they are installed.
//!
//! `cargo xtask bench` builds what this needs and runs it.

// A bench ends where something is not as it should be.
#![allow(clippy::unwrap_used)]

use service_tests::{alive, eventually, http, installed, name, program};
use std::fmt::Write as _;
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const SERVICES: usize = 100;
const LINES: usize = 2_000_000;

fn main() {
    memory_and_start();
    burst();
}

/// A daemon without Nushell.
struct Daemon {
    directory: tempfile::TempDir,
    process: Child,
    socket: Option<PathBuf>,
}

impl Daemon {
    fn of(services: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("services.toml"), services).unwrap();
        fs::create_dir(path("run")).unwrap();
        let process = Command::new(program("orchestratord"))
            .arg("run")
            .current_dir(directory.path())
            .env("SERVICE_SHIM", program("service-shim"))
            .env("XDG_STATE_HOME", path("state"))
            .env("XDG_RUNTIME_DIR", path("run"))
            .env("ORCHESTRATORD_LOG", "error")
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let sockets = path("run/service-orchestrator");
        let mut daemon = Self { directory, process, socket: None };
        daemon.socket = Some(eventually("the daemon listens", || {
            let mut entries = fs::read_dir(&sockets).ok()?.flatten().map(|entry| entry.path());
            entries.find(|path| UnixStream::connect(path).is_ok())
        }));
        daemon
    }

    fn socket(&self) -> &Path {
        self.socket.as_deref().unwrap()
    }

    fn post(&self, path: &str) -> serde_json::Value {
        let (status, answer) = http(self.socket(), "POST", &format!("/api/v1/{path}"));
        assert_eq!(status, 200, "{answer}");
        answer["data"].clone()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        match &self.socket {
            Some(_) => drop(self.post("daemon/stop?services=true")),
            None => self.process.kill().unwrap(),
        }
        self.process.wait().unwrap();
    }
}

fn memory_and_start() {
    let mut services = String::new();
    for n in 0..SERVICES {
        writeln!(services, "[services.s{n}]\nstart_command = \"sleep 1000\"\nready = {{ delay = \"0s\" }}")
            .unwrap();
    }
    let daemon = Daemon::of(&services);
    let (mut bare, mut kept, mut asked) = (Vec::new(), Vec::new(), Vec::new());
    for n in 0..SERVICES {
        bare.push(timed(|| {
            let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
            child.kill().unwrap();
            child
        }));
        asked.push(timed(|| http(daemon.socket(), "GET", "/api/v1/version")));
        kept.push(timed(|| daemon.post(&format!("services/s{n}/start"))));
    }
    let added = median(&mut kept).saturating_sub(median(&mut asked)).saturating_sub(median(&mut bare));
    println!(
        "a start: {:?} with request and answer ({:?}); a bare fork and exec: {:?}; added: {added:?} (bound: 1.5 ms)",
        median(&mut kept),
        median(&mut asked),
        median(&mut bare)
    );
    let shims: Vec<u64> = processes("service-shim", daemon.directory.path()).map(pss).collect();
    let template: u64 = processes("shim-template", daemon.directory.path()).map(pss).sum();
    let each = (shims.iter().sum::<u64>() + template) / shims.len() as u64;
    println!("memory of {} shims and their template: {each} KB each (PSS; bound: 200 KB)", shims.len());
    if let Some(supervise) = installed("s6-supervise") {
        println!("memory of {SERVICES} s6-supervise: {} KB each (PSS)", s6_memory(&supervise));
    }
}

fn timed<T>(act: impl FnOnce() -> T) -> Duration {
    let begun = Instant::now();
    let done = act();
    let took = begun.elapsed();
    drop(done);
    took
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// Processes of this name that were started in a directory.
fn processes(wanted: &str, directory: &Path) -> impl Iterator<Item = u32> {
    service_tests::marked(directory).into_iter().filter(move |pid| name(*pid) == wanted)
}

/// Kilobytes, shared pages counted in part.
fn pss(pid: u32) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn s6_memory(supervise: &Path) -> u64 {
    let directory = tempfile::tempdir().unwrap();
    let mut children: Vec<Child> = (0..SERVICES)
        .map(|n| {
            let service = directory.path().join(format!("s{n}"));
            fs::create_dir(&service).unwrap();
            fs::write(service.join("run"), "#!/bin/sh\nexec sleep 1000\n").unwrap();
            Command::new("chmod").arg("+x").arg(service.join("run")).status().unwrap();
            Command::new(supervise).arg(&service).spawn().unwrap()
        })
        .collect();
    let running = |child: &Child| fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id()));
    eventually("s6 runs all of them", || {
        children.iter().all(|child| running(child).is_ok_and(|list| !list.is_empty())).then_some(())
    });
    let total: u64 = children.iter().map(|child| pss(child.id())).sum();
    for child in &mut children {
        let service: u32 = running(child).unwrap().trim().parse().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        service_tests::signal(service, nix::sys::signal::Signal::SIGKILL);
        eventually("its service is gone", || (!alive(service)).then_some(()));
    }
    total / SERVICES as u64
}

/// A file of lines of a hundred bytes, sent through a pipe as fast as it is taken.
fn burst() {
    let directory = tempfile::tempdir().unwrap();
    let lines = directory.path().join("lines");
    let mut text = String::with_capacity(LINES * 100);
    for n in 0..LINES {
        writeln!(text, "{n:099}").unwrap();
    }
    fs::write(&lines, text).unwrap();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        ours.push(through_a_shim(&lines));
        if let Some(s6) = installed("s6-log") {
            theirs.push(through_s6(&s6, &lines));
        }
    }
    println!("{LINES} lines of 100 bytes in a burst, framed and timed in the log: {:?}", median(&mut ours));
    if !theirs.is_empty() {
        let (ours, theirs) = (median(&mut ours), median(&mut theirs));
        let ratio = theirs.as_secs_f64() / ours.as_secs_f64();
        println!("the same through s6-log, unframed: {theirs:?}; ratio {ratio:.2} (bound: at least 1)");
    }
}

fn through_a_shim(lines: &Path) -> Duration {
    let daemon = Daemon::of(&format!(
        "[services.burst]\nstart_command = ['cat', '{}']\noneshot = true\nlog = {{ max_size = \"1GB\" }}",
        lines.display()
    ));
    // The template is there when it is measured, as it is for every service but the first.
    let took = timed(|| daemon.post("services/burst/start"));
    let log = fs::read_dir(daemon.directory.path().join("state/service-orchestrator")).unwrap().flatten();
    let log = log.map(|project| project.path().join("services/burst/service.log")).next().unwrap();
    assert_eq!(fs::read_to_string(log).unwrap().lines().count(), LINES, "every line is there");
    took
}

fn through_s6(s6_log: &Path, lines: &Path) -> Duration {
    let directory = tempfile::tempdir().unwrap();
    let took = timed(|| {
        let mut cat = Command::new("cat").arg(lines).stdout(Stdio::piped()).spawn().unwrap();
        let mut log = Command::new(s6_log)
            .args(["s268435455", "n10"])
            .arg(directory.path())
            .stdin(cat.stdout.take().unwrap())
            .spawn()
            .unwrap();
        cat.wait().unwrap();
        assert!(log.wait().unwrap().success());
    });
    let current = fs::read_to_string(directory.path().join("current")).unwrap();
    assert_eq!(current.lines().count(), LINES, "every line is there");
    took
}
