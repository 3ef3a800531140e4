//! A daemon with a descriptor limit that is too low for its services.

use crate::leaves_nothing;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use service_tests::{Project, ServiceTable, alive, eventually, http, post, program, signal};
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

/// The number of services.
const SERVICES: usize = 60;

/// Starts a daemon of the project with these limits of open files. Also returns its socket.
fn daemon_within(project: &Project, soft: u32, hard: u32) -> (Child, PathBuf) {
    let mut command = project.command(Path::new("sh"));
    let script = format!("ulimit -Sn {soft} && ulimit -Hn {hard} && exec \"$0\" run --config services.toml");
    command.args(["-c", &script]).arg(program("orchestratord")).stderr(Stdio::null());
    let mut daemon = command.spawn().unwrap();
    let mut greeting = String::new();
    BufReader::new(daemon.stdout.take().unwrap()).read_line(&mut greeting).unwrap();
    let greeting: Value = serde_json::from_str(&greeting).unwrap();
    let socket = greeting["ready"]["socket"].as_str().unwrap_or_else(|| panic!("{greeting}"));
    (daemon, socket.into())
}

fn status(socket: &Path) -> Value {
    http(socket, "GET", "/api/v1/services/status?long=true").1["data"].take()
}

fn request(socket: &Path, what: &str, name: &str) -> Value {
    let (_, mut answer) =
        post(socket, &format!("/api/v1/services/{what}"), &json!({ "names": [name] }).to_string());
    answer["data"].take().row(name).clone()
}

/// The processes of the running services.
fn pids(rows: &Value) -> BTreeMap<String, u32> {
    let rows = rows.as_array().unwrap().iter();
    let pid =
        |row: &Value| Some((row["name"].as_str()?.to_owned(), u32::try_from(row["pid"].as_u64()?).ok()?));
    rows.filter_map(pid).collect()
}

/// The names of the services that the daemon reports as unconnected.
fn without_connection(rows: &Value) -> Vec<String> {
    let rows = rows.as_array().unwrap().iter();
    let says =
        |row: &&Value| row["reason"].as_str().is_some_and(|reason| reason.contains("is not connected"));
    rows.filter(says).map(|row| row["name"].as_str().unwrap().to_owned()).collect()
}

/// Definitions of `count` services that sleep.
fn sleepers(count: usize) -> String {
    let service = |n| format!("[services.s{n}]\nstart_command = \"sleep 1000\"\n");
    (0..count).map(service).collect::<Vec<_>>().concat()
}

fn descriptor_limit(pid: u32) -> String {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    line.split_whitespace().skip(3).take(2).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_daemon_with_fewer_descriptors_than_services_answers_tells_the_truth_and_stops_what_it_is_asked_to() {
    let services = sleepers(SERVICES);
    let extra = "[services.extra]\nstart_command = \"sleep 1000\"\nrestart = \"no\"\n";
    let Some(project) = Project::new(&format!("{services}{extra}")) else { return };
    let names: Vec<String> = (0..SERVICES).map(|n| format!("s{n}")).collect();
    for limit in [64, 128, 200] {
        project.value(&format!("service start {}", names.join(" ")));
        let before = pids(&status(&project.socket()));
        assert_eq!(before.len(), SERVICES);
        project.kill_daemon();
        let (mut daemon, socket) = daemon_within(&project, limit, limit);
        let mut others = Vec::new();
        if limit < 200 {
            others = eventually("it says of some that they do not fit", || {
                Some(without_connection(&status(&socket))).filter(|others| !others.is_empty())
            });
        }
        let rows = status(&socket);
        assert_eq!(pids(&rows), before, "{limit}");
        assert!(rows.column("state").iter().filter(|state| *state == "ready").count() == SERVICES, "{rows}");
        if let [first, second, third, ..] = others.as_slice() {
            let reason = rows.row(first)["reason"].as_str().unwrap();
            assert!(
                reason.contains(&format!("{limit} open files")) && reason.contains("LimitNOFILE"),
                "{reason}"
            );
            let health = http(&socket, "GET", "/api/v1/health").1;
            assert_eq!(health["data"]["status"], "degraded", "{health}");
            // A stop works, and a start creates no second process.
            assert_eq!(request(&socket, "stop", first)["ok"], true);
            assert!(!alive(before[first]));
            let again = request(&socket, "start", second);
            assert_eq!((&again["ok"], &again["action"]), (&true.into(), &"unchanged".into()), "{again}");
            assert_eq!(pids(&status(&socket))[second], before[second]);
            // The daemon notices the end of a service.
            signal(before[third], Signal::SIGKILL);
            eventually("the end of one is known", || {
                (status(&socket).row(third)["pid"] != before[third]).then_some(())
            });
            let refused = request(&socket, "start", "extra");
            let message = refused["error"]["message"].as_str().unwrap_or_else(|| panic!("{refused}"));
            assert!(message.contains(&format!("{limit} open files")), "{message}");
            request(&socket, "stop", "extra");
            assert!(refused["error"]["help"].as_str().unwrap().contains("ulimit -n"), "{refused}");
        }
        daemon.kill().unwrap();
        daemon.wait().unwrap();
    }
    let rows = project.value("service stop --all");
    assert!(rows.column("ok").iter().all(|ok| ok == "true"), "{rows}");
    leaves_nothing(&project);
}

#[test]
fn services_without_a_connection_are_taken_over_when_there_is_room() {
    let services = sleepers(30);
    let Some(project) = Project::new(&services) else { return };
    project.value("service start --all");
    project.kill_daemon();
    let (mut daemon, socket) = daemon_within(&project, 64, 64);
    // There are descriptors for 14 services.
    let others = eventually("it says of some that they do not fit", || {
        Some(without_connection(&status(&socket))).filter(|others| others.len() >= 16)
    });
    let rows = status(&socket);
    let connected: Vec<String> =
        rows.column("name").into_iter().filter(|name| !others.contains(name)).collect();
    for name in &connected {
        assert_eq!(request(&socket, "stop", name)["ok"], true);
    }
    eventually("others have their place", || {
        (without_connection(&status(&socket)).len() <= others.len() / 2).then_some(())
    });
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    leaves_nothing(&project);
}

#[test]
fn the_daemon_alone_raises_its_limit_and_what_it_runs_has_the_one_it_was_given() {
    let Some(project) = Project::new(
        "[services.web]\nstart_command = \"sleep 1000\"\n\
         health_check_endpoint = \"exec:sh -c 'ulimit -Sn > check; ulimit -Hn >> check'\"",
    ) else {
        return;
    };
    let (mut daemon, _) = daemon_within(&project, 300, 500);
    project.value("service start web");
    assert_eq!(descriptor_limit(daemon.id()), "500 500");
    assert_eq!(descriptor_limit(project.pid("web")), "300 500");
    assert_eq!(project.read("check").split_whitespace().collect::<Vec<_>>(), ["300", "500"]);
    leaves_nothing(&project);
    daemon.wait().unwrap();
}

#[test]
fn the_programs_of_managers_have_the_limit_that_the_daemon_was_given_and_not_the_one_it_has_raised() {
    let Some(project) = Project::new(
        "[services.unit]\nmanager = \"systemd\"\nstart_command = \"a.service\"\nrestart = \"no\"\n\
         [services.container]\nmanager = \"docker\"\nimage = \"an-image\"\nrestart = \"no\"\n\
         [services.line]\nmanager = \"command\"\nstart_command = \"sh -c 'ulimit -Sn > line'\"\nstop_command = \"true\"",
    ) else {
        return;
    };
    fs::create_dir(project.path("bin")).unwrap();
    for name in ["systemctl", "docker"] {
        let noted = project.path(name);
        let file = project.write(
            &format!("bin/{name}"),
            &format!("#!/bin/sh\nulimit -Sn >> {}\nexit 1\n", noted.display()),
        );
        fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
    }
    // This test has the process for itself.
    setrlimit(Resource::RLIMIT_NOFILE, 300, 500).unwrap();
    project.value(
        "$env.PATH = ($env.PATH | prepend ($env.PWD | path join bin)); for name in [unit container line] { try { service start $name } }; null",
    );
    assert_eq!(descriptor_limit(project.daemon()), "500 500");
    for name in ["systemctl", "docker", "line"] {
        let limits = project.read(name);
        assert!(!limits.is_empty() && limits.lines().all(|limit| limit == "300"), "{name}: {limits}");
    }
    leaves_nothing(&project);
}
