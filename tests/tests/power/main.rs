//! A power failure at every moment of a daemon's life: its file operations are recorded and cut off at each point, and
//! a daemon starts with the files that a file system may have retained.

mod trace;

use serde_json::{Value, json};
use service_tests::{Project, ServiceTable, eventually, http, installed, post, program, skip};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};
use trace::{Change, Files, Keeps, Timed};

/// The age in seconds from which a request must survive a power failure.
const PROMISED: f64 = 5.0;
/// The number of moments at which the power fails.
const MOMENTS: usize = 24;
/// The recorded system calls.
const CALLS: &str = "trace=openat,write,pwrite64,ftruncate,rename,renameat,renameat2,link,linkat,unlink,unlinkat,fsync,fdatasync";
const SERVICES: &str = "[services.a]\nstart_command = \"TEST_SERVICE\"\n[services.b]\nstart_command = \"TEST_SERVICE\"\n[services.c]\nstart_command = \"TEST_SERVICE\"\n";

/// A request, and the time of its response.
struct Asked {
    at: f64,
    what: &'static str,
    holds: fn(&Seen) -> bool,
}

/// The state of a daemon after a power failure.
struct Seen {
    states: Value,
    services: Value,
    health: Value,
}

impl Seen {
    fn is_up(&self, name: &str) -> bool {
        let row = self.states.as_array().and_then(|rows| rows.iter().find(|row| row["name"] == name));
        row.is_some_and(|row| row["state"] != "stopped")
    }

    fn is_defined(&self, name: &str) -> bool {
        self.services.column("name").iter().any(|defined| defined == name)
    }
}

#[test]
fn after_a_power_failure_all_is_there_that_was_asked_for_five_seconds_before_and_nothing_else_is_believed() {
    let Some(project) = Project::new(SERVICES) else { return };
    let Some(strace) = installed("strace") else { return skip("strace") };
    if !nix::unistd::geteuid().is_root() {
        return skip("root: another boot is pretended in a mount namespace");
    }
    let (changes, asked) = history(&project, &strace);
    let place = project.state_dir();
    let step = (changes.len() / MOMENTS).max(1);
    for end in (1..=changes.len()).rev().step_by(step) {
        for (keeps, all_names) in [
            (Keeps::All, true),
            (Keeps::Nothing, true),
            (Keeps::Half, true),
            (Keeps::Zeros, true),
            (Keeps::Nothing, false),
        ] {
            let past = &changes[..end];
            let files = trace::left(past, keeps, all_names);
            lay(&files, &place);
            let told = format!(
                "cut after {end} of {} changes, which keeps {keeps:?}, all names: {all_names}",
                changes.len()
            );
            check(&project, past, &asked, &told);
        }
    }
}

/// Records the life of a daemon, in the environment of a simulated boot.
fn history(project: &Project, strace: &Path) -> (Vec<Timed>, Vec<Asked>) {
    let traces = project.path("traces");
    fs::create_dir(&traces).expect("the directory is ours");
    let boot = project.write("boot", "11111111-2222-4333-8444-555555555555\n");
    let script = "mount --bind \"$1\" /proc/sys/kernel/random/boot_id && shift && exec \"$@\"";
    let mut command = project.command(Path::new("unshare"));
    command.args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"]).arg(boot).arg(strace);
    command.args(["-ff", "-ttt", "-y", "-xx", "-s", "1000000", "-e", CALLS, "-o"]).arg(traces.join("t"));
    let (mut daemon, socket) = daemon(project, command);
    let mut asked = Vec::new();
    let mut ask = |what, path: &str, body: Value, holds| {
        let (status, answer) = post(&socket, path, &body.to_string());
        assert!(status < 300, "{what}: {answer}");
        asked.push(Asked { at: now(), what, holds });
    };
    let added = |name: &str| json!({ "services": [{ "name": name, "start_command": ["sleep", "1"], "oneshot": true }] });
    let (start, stop) = ("/api/v1/services/start", "/api/v1/services/stop");
    ask("a is started", start, json!({ "names": ["a"] }), |seen| seen.is_up("a"));
    ask("x is added", "/api/v1/services/add", added("x"), |seen| seen.is_defined("x"));
    std::thread::sleep(Duration::from_secs_f64(PROMISED + 0.5));
    ask("b is started", start, json!({ "names": ["b", "c"] }), |seen| seen.is_up("b"));
    ask("c is stopped", stop, json!({ "names": ["c"] }), |seen| !seen.is_up("c"));
    for name in ["y", "z"] {
        ask("more is added", "/api/v1/services/add", added(name), |seen| seen.is_defined("x"));
    }
    std::thread::sleep(Duration::from_secs_f64(PROMISED + 0.5));
    ask("w is added", "/api/v1/services/add", added("w"), |seen| seen.is_defined("w"));
    let over = now();
    end(&socket, &mut daemon);
    let mut changes = trace::read(&traces, &project.state_dir());
    changes.retain(|change| change.at <= over);
    (changes, asked)
}

/// Asserts that a daemon starts, every durable request is still in effect, and no state appears that never existed.
fn check(project: &Project, past: &[Timed], asked: &[Asked], told: &str) {
    let cut = past.last().expect("there is a past").at;
    let mut command = project.command(&program("orchestratord"));
    command.stderr(Stdio::null());
    let (mut daemon, socket) = daemon_of(project, command);
    let seen = Seen {
        states: data(&socket, "/api/v1/services/status"),
        services: data(&socket, "/api/v1/services/list"),
        health: data(&socket, "/api/v1/health"),
    };
    for request in asked.iter().filter(|request| request.at + PROMISED < cut) {
        assert!(
            (request.holds)(&seen),
            "{told}: {} and is lost: {:#} {:#}",
            request.what,
            seen.states,
            seen.health
        );
    }
    for name in seen.services.column("name") {
        assert!(["a", "b", "c", "w", "x", "y", "z"].contains(&name.as_str()), "{told}: {name}");
    }
    let last = trace::last_event(past);
    let events = data(&socket, "/api/v1/events?limit=1000");
    let fresh = events
        .as_array()
        .into_iter()
        .flatten()
        .rev()
        .find(|event| event["event"] == "daemon" && event["to"] == "running");
    let first = fresh.and_then(|event| event["seq"].as_u64()).unwrap_or(0);
    // In the first two seconds, a project may have no files.
    let mut synced = past.iter().filter_map(|change| match &change.change {
        Change::Sync { path } => Some(path),
        _ => None,
    });
    let is_known =
        synced.any(|path| path.ends_with("journal.jsonl")) && synced.any(|path| path.as_os_str().is_empty());
    assert!(first > last || !is_known, "{told}: event {first} is numbered anew, {last} was given");
    end(&socket, &mut daemon);
}

fn data(socket: &Path, path: &str) -> Value {
    let (status, answer) = http(socket, "GET", path);
    assert_eq!(status, 200, "{path}: {answer}");
    answer["data"].clone()
}

fn now() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("it is after 1970").as_secs_f64()
}

fn daemon(project: &Project, mut command: Command) -> (Child, PathBuf) {
    command.arg(program("orchestratord"));
    daemon_of(project, command)
}

/// Runs `orchestratord run` and waits until it listens.
fn daemon_of(project: &Project, mut command: Command) -> (Child, PathBuf) {
    command.args(["run", "--config", "services.toml"]);
    let mut child = command.spawn().expect("it can be run");
    let stdout = child.stdout.take().expect("it is piped");
    let line = BufReader::new(stdout).lines().next().expect("it says how it began").expect("that is text");
    let greeting: Value = serde_json::from_str(&line).expect("that is JSON");
    let socket = greeting["ready"]["socket"].as_str();
    let socket = socket.unwrap_or_else(|| panic!("{greeting} in {}", project.path("").display()));
    (child, socket.into())
}

/// Stops the services and the daemon.
fn end(socket: &Path, daemon: &mut Child) {
    let (status, answer) = post(socket, "/api/v1/services/stop", "{\"all\":true}");
    assert!(status < 300, "{answer}");
    http(socket, "POST", "/api/v1/daemon/stop");
    eventually("the daemon has ended", || daemon.try_wait().expect("it is ours"));
}

/// Replaces the content of the state directory by these files.
fn lay(files: &Files, directory: &Path) {
    fs::remove_dir_all(directory).expect("it is the project's");
    for (path, bytes) in files {
        let path = directory.join(path);
        fs::create_dir_all(path.parent().expect("a file lies in a directory")).expect("it is the project's");
        fs::write(path, bytes).expect("it is the project's");
    }
    fs::create_dir_all(directory).expect("it is the project's");
}
