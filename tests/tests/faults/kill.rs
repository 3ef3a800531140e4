//! `kill -9` of every process, at random moments of start, run and stop.

use crate::{Footprint, leaves_nothing, named};
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getsid};
use service_tests::{Project, SeededRng, ServiceTable, alive, eventually, request, rounds, signal};
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

/// A service that writes to its log before it records its start, so that the test detects a missing log line.
const TREE: &str = r#"
    [services.web]
    start_command = "TEST_SERVICE alone lock fork say up note starts say complete"
    ready = { log = "complete" }
    restart = "always"
    backoff = { max = "1ms", limit = 0 }
    log = { max_size = "100MB" }
"#;

/// The typical duration of a start or a stop on an idle machine.
const TYPICAL_DURATION: Duration = Duration::from_millis(25);

#[derive(Clone, Copy, PartialEq)]
enum Victim {
    Daemon,
    Zygote,
    Shim,
    Leader,
    Grandchild,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    Start,
    Run,
    Stop,
}

/// The processes of the project by their roles.
#[derive(Debug)]
struct Cast {
    daemon: Vec<u32>,
    zygote: Vec<u32>,
    shim: Vec<u32>,
    leader: Vec<u32>,
    grandchild: Vec<u32>,
}

impl Cast {
    fn find(project: &Project) -> Self {
        let is_child = |pid: &u32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.ends_with(b"\0wait\x000\0")
        };
        let (grandchild, leader) = named(project, "test_service").into_iter().partition(is_child);
        let (daemon, zygote) = (named(project, "orchestratord"), named(project, "shim-template"));
        let shim = named(project, "service-shim");
        Self { daemon, zygote, shim, leader, grandchild }
    }

    fn victim(&self, victim: Victim) -> Option<u32> {
        let candidates = match victim {
            Victim::Daemon => &self.daemon,
            Victim::Zygote => &self.zygote,
            Victim::Shim => &self.shim,
            Victim::Leader => &self.leader,
            Victim::Grandchild => &self.grandchild,
        };
        candidates.first().copied()
    }
}

#[test]
fn the_daemon() {
    run_rounds(Victim::Daemon);
}

#[test]
fn the_zygote_of_shims() {
    run_rounds(Victim::Zygote);
}

#[test]
fn a_shim() {
    run_rounds(Victim::Shim);
}

#[test]
fn a_service() {
    run_rounds(Victim::Leader);
}

#[test]
fn a_child_of_a_service() {
    run_rounds(Victim::Grandchild);
}

fn run_rounds(victim: Victim) {
    let Some(project) = Project::new(TREE) else { return };
    let mut rng = SeededRng::default();
    project.value("service start web");
    let (first, held) = (project.daemon(), Footprint::measure(&project));
    let mut kills = 0;
    for round in 0..rounds() {
        let phase = [Phase::Start, Phase::Run, Phase::Stop][round % 3];
        project.value(if phase == Phase::Start { "service stop web" } else { "service start web" });
        let leader = Cast::find(&project).leader;
        let killed = inject(&project, victim, phase, rng.random_delay(TYPICAL_DURATION));
        kills += usize::from(killed);
        eprintln!("round {round}: {phase:?}, killed: {killed}");
        comes_right(&project);
        if phase == Phase::Run && matches!(victim, Victim::Daemon | Victim::Zygote | Victim::Grandchild) {
            assert_eq!(Cast::find(&project).leader, leader, "the service was disturbed");
        }
    }
    assert!(kills >= rounds() / 3, "only {kills} of {} rounds met a process", rounds());
    assert_eq!(project.read("lock.twice"), "", "two ran at once");
    if victim == Victim::Daemon {
        assert_ne!(project.daemon(), first);
    } else {
        held.has_not_grown();
    }
    let starts = project.read("starts").lines().count();
    let said = project.value("service logs web --tail 100000 | where line == up | length");
    eprintln!("{kills} kills, {starts} starts, {said} in the log");
    assert!(said.as_u64() >= Some(starts as u64), "{said} of {starts} lines");
    leaves_nothing(&project);
}

/// Enters the phase, and kills the victim after `moment`, or as soon afterwards as the victim exists.
fn inject(project: &Project, victim: Victim, phase: Phase, moment: Duration) -> bool {
    let verb = match phase {
        Phase::Start => Some("start"),
        Phase::Stop => Some("stop"),
        Phase::Run => None,
    };
    inject_during(project, verb.map(|verb| format!("/api/v1/services/web/{verb}")), victim, moment)
}

fn inject_during(project: &Project, path: Option<String>, victim: Victim, moment: Duration) -> bool {
    let socket = project.socket();
    let asked = thread::spawn(move || path.map(|path| drop(request(&socket, "POST", &path))));
    let begun = Instant::now();
    while begun.elapsed() < moment {
        thread::yield_now();
    }
    let met = loop {
        let over = asked.is_finished();
        let found = Cast::find(project).victim(victim);
        if found.is_some() || over {
            break found;
        }
    };
    if let Some(pid) = met {
        // The process may be ending by itself.
        let _ = nix::sys::signal::kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
        eventually("the victim is gone", || (!alive(pid)).then_some(()));
    }
    asked.join().expect("asking does not fail a test");
    met.is_some()
}

/// Asserts that the next command succeeds, and that every process exists exactly once afterwards, also according to the
/// status.
#[track_caller]
fn comes_right(project: &Project) {
    let started = project.value("service start web");
    assert_eq!(started.row("web")["ok"], true, "{started}");
    let once = |pids: &[u32]| pids.len() == 1;
    let mut seen = String::new();
    eventually("all is there once, and told as it is", || {
        let status = project.status("web");
        let cast = Cast::find(project);
        let now = format!("{}, pid {}, {cast:?}", status["state"], status["pid"]);
        if now != seen {
            eprintln!("{now}");
            seen = now;
        }
        let told = status["state"] == "ready" && status["pid"] == *cast.leader.first()?;
        let single = once(&cast.daemon) && once(&cast.shim) && once(&cast.leader);
        (told && single && cast.grandchild.len() <= 1).then_some(())
    });
}

/// The exit code of a run is known, even if the daemon is killed around the end of the run.
#[test]
fn the_daemon_and_every_exit_code_is_known() {
    let define = |code: usize| {
        format!(
            "[services.web]\nstart_command = \"TEST_SERVICE note starts wait 10 exit {code}\"\nrestart = \"no\""
        )
    };
    let Some(project) = Project::new(&define(1)) else { return };
    let mut rng = SeededRng::default();
    for round in 0..rounds() {
        let code = round % 100 + 1;
        project.define(&define(code));
        project.value("service status");
        let starts = project.read("starts").lines().count();
        inject(&project, Victim::Daemon, Phase::Start, rng.random_delay(2 * TYPICAL_DURATION));
        let status = eventually("the run has ended", || {
            let status = project.status("web");
            (status["pid"].is_null() && status["state"] != "starting").then_some(status)
        });
        match project.read("starts").lines().count() - starts {
            0 => assert_eq!(status["state"], if round == 0 { "stopped" } else { "failed" }, "{status}"),
            1 => assert_eq!(status["exit_code"], code, "{status}"),
            more => panic!("one request made {more} runs: {status}"),
        }
    }
    leaves_nothing(&project);
}

/// The record of a run is evaluated before the next run replaces the record.
#[test]
fn the_daemon_and_the_exit_code_before_a_restart_is_known() {
    let Some(project) = Project::new(
        r#"
        [services.web]
        start_command = "TEST_SERVICE crash-until 2 starts"
        restart = "always"
        backoff = { initial = "1ms", max = "1ms" }
        "#,
    ) else {
        return;
    };
    let mut rng = SeededRng::default();
    for round in 0..rounds() {
        project.write("starts", "");
        project.value("service restart web --no-wait");
        eventually("it has crashed and runs again", || {
            (project.read("starts").lines().count() == 2).then_some(())
        });
        assert!(inject(&project, Victim::Daemon, Phase::Run, rng.random_delay(TYPICAL_DURATION)));
        let status = project.status("web");
        assert!(status["pid"].is_u64(), "round {round}: {status}");
        assert_eq!(
            (&status["exit_code"], &status["restarts"]),
            (&1.into(), &1.into()),
            "round {round}: {status}"
        );
    }
    leaves_nothing(&project);
}

/// A run that died with its shim is not repeated for the same request.
#[test]
fn a_shim_that_has_just_launched_a_one_shot() {
    let Some(project) = Project::new(
        r#"
        [services.once]
        start_command = "TEST_SERVICE note starts wait 10 exit 0"
        oneshot = true
        restart = "no"
        "#,
    ) else {
        return;
    };
    project.value("service start once");
    let mut rng = SeededRng::default();
    for round in 0..2 * rounds() {
        let starts = project.read("starts").lines().count();
        let path = Some("/api/v1/services/once/restart".to_owned());
        inject_during(&project, path, Victim::Shim, rng.random_delay(TYPICAL_DURATION / 2));
        let status = eventually("the run is over", || {
            let status = project.status("once");
            (status["pid"].is_null() && status["state"] != "starting").then_some(status)
        });
        let begun = project.read("starts").lines().count() - starts;
        match (status["state"].as_str(), begun) {
            (Some("completed"), 1) | (Some("failed"), 0 | 1) => {}
            _ => panic!("round {round}: begun {begun} times: {status}"),
        }
    }
    leaves_nothing(&project);
}

#[test]
fn a_shim_whose_service_is_being_killed() {
    let Some(project) = Project::new(
        "[services.deaf]\nstart_command = \"TEST_SERVICE deaf fork say listening\"\nready = { log = \"listening\" }\nstop_timeout = \"10s\"",
    ) else {
        return;
    };
    project.value("service start deaf");
    let (shim, leader) = project.run_of("deaf");
    let stop = project.spawn("service stop deaf | to json --raw");
    eventually("it is asked to end", || (project.status("deaf")["state"] == "stopping").then_some(()));
    signal(shim, Signal::SIGKILL);
    let stopped = service_tests::Answer::wait_for(stop).value();
    assert_eq!(stopped.row("deaf")["ok"], true, "{stopped}");
    assert!(!alive(leader));
    assert_eq!(named(&project, "test_service"), Vec::<u32>::new());
    assert_eq!(project.status("deaf")["status"], "stopped");
}

/// A process that is forked while its shim dies is the hardest to find.
#[test]
fn a_shim_whose_service_is_forking() {
    let Some(project) = Project::new(
        r#"
        [services.web]
        start_command = "echo up; i=0; while [ $((i+=1)) -le 150 ]; do sleep 1000 & done; wait"
        shell = "sh"
        ready = { log = "up" }
        restart = "always"
        backoff = { max = "1ms", limit = 0 }
        "#,
    ) else {
        return;
    };
    let mut rng = SeededRng::default();
    project.value("service start web");
    for round in 0..rounds() {
        let (shim, before) = project.run_of("web");
        thread::sleep(rng.random_delay(TYPICAL_DURATION));
        signal(shim, Signal::SIGKILL);
        let leader = eventually("it runs anew", || {
            let status = project.status("web");
            (status["state"] == "ready" && status["pid"] != before).then(|| project.run_of("web").1)
        });
        let session = |pid: &u32| getsid(Some(Pid::from_raw(pid.cast_signed()))).map(Pid::as_raw);
        let is_stray = |pid: &u32| session(pid).is_ok_and(|session| session != leader.cast_signed());
        let mut service = [named(&project, "sh"), named(&project, "sleep")].concat();
        service.retain(is_stray);
        assert_eq!(service, Vec::<u32>::new(), "round {round}: they are of another run");
        project.value("service restart web");
    }
    leaves_nothing(&project);
}
