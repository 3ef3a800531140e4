//! Health endpoints that violate their protocol, and their cost for the daemon.

use crate::resources::own_mounts;
use crate::{Footprint, leaves_nothing};
use nix::mount::{MsFlags, mount};
use service_tests::{Project, ServiceTable, eventually, free_port, skip};
use std::fs;
use std::net::UdpSocket;
use std::path::Path;
use std::time::{Duration, Instant};

/// Resident memory of a process, in KiB.
fn memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("the process runs");
    line.trim().trim_end_matches(" kB").parse().expect("the kernel gives a number")
}

#[test]
fn one_that_answers_byte_by_byte_is_unhealthy_when_its_time_is_over() {
    let port = free_port();
    let Some(project) = Project::new(&format!(
        r#"
        [services.slow]
        start_command = "TEST_SERVICE drip {port} 50"
        health_check_endpoint = "http://127.0.0.1:{port}/"
        health = {{ timeout = "200ms", interval = "10ms" }}
        ready = {{ timeout = "1s" }}
        restart = "no"
        "#
    )) else {
        return;
    };
    let error = project.error("service start slow");
    assert_eq!(error["code"], "service::start_failed", "{error}");
    assert_eq!(project.status("slow")["pid"], serde_json::Value::Null);
    leaves_nothing(&project);
}

#[test]
fn one_with_an_endless_body_is_healthy_by_its_status_and_the_body_is_not_read() {
    let port = free_port();
    let Some(project) = Project::new(&format!(
        r#"
        [services.big]
        start_command = "TEST_SERVICE endless {port}"
        health_check_endpoint = "http://127.0.0.1:{port}/"
        health = {{ interval = "1ms" }}
        "#
    )) else {
        return;
    };
    project.value("service start big");
    let daemon = project.daemon();
    let (before, held) = (memory(daemon), Footprint::measure(&project));
    for _ in 0..20 {
        let health = project.value("service health big").row("big").clone();
        assert_eq!(health["healthy"], true, "{health}");
    }
    let grown = memory(daemon).saturating_sub(before);
    assert!(grown < 16 * 1024, "the daemon grew by {grown} KiB");
    project.value("service stop big");
    held.has_not_grown();
    leaves_nothing(&project);
}

#[test]
fn one_that_accepts_and_never_answers_costs_the_daemon_no_descriptor() {
    let [port, other] = [free_port(), free_port()];
    let Some(project) = Project::new(&format!(
        r#"
        [services.silent]
        start_command = "TEST_SERVICE hang {port}"
        health_check_endpoint = "http://127.0.0.1:{port}/"
        health = {{ timeout = "20ms", interval = "1ms" }}
        restart = "no"

        [services.other]
        start_command = "TEST_SERVICE listen {other}"
        health_check_endpoint = "tcp://127.0.0.1:{other}"
        "#
    )) else {
        return;
    };
    // After its first check, the daemon has opened all its permanent files.
    project.value("service start other");
    let held = Footprint::measure(&project);
    let waits = project.spawn("service start silent --timeout 1sec");
    eventually("it is being asked", || (project.status("silent")["state"] == "starting").then_some(()));
    assert_eq!(project.status("other")["state"], "ready", "everybody else is answered meanwhile");
    assert!(!service_tests::Answer::wait_for(waits).success);
    project.value("service stop silent");
    held.has_not_grown();
    leaves_nothing(&project);
}

#[test]
fn a_name_server_that_never_answers_keeps_nobody_waiting_and_the_check_ends_in_its_time() {
    if !own_mounts() {
        return;
    }
    // The socket is bound and never read, so that queries are neither refused nor answered.
    let Ok(server) = UdpSocket::bind("127.77.0.53:53") else { return skip("somebody listens on port 53") };
    let Some(project) = Project::new(
        "[services.far]\nstart_command = \"TEST_SERVICE\"\nhealth_check_endpoint = \"http://far.away.example:8080/\"\n\
         health = { interval = \"50ms\", timeout = \"300ms\", listener = \"any\", retries = 1 }\nready = { timeout = \"2min\" }\n\
         [services.web]\nstart_command = \"TEST_SERVICE\"\n",
    ) else {
        return;
    };
    let address = server.local_addr().unwrap().ip();
    for (file, text) in [
        ("resolv.conf", format!("nameserver {address}\noptions timeout:30 attempts:5\n")),
        ("nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n".to_owned()),
    ] {
        let ours = project.write(&format!("etc/{file}"), &text);
        let theirs = Path::new("/etc").join(file).canonicalize().unwrap();
        mount(Some(&ours), &theirs, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
    }
    project.value("service start far --no-wait");
    let health = eventually("the check has ended", || {
        let health = project.value("service health far");
        health.row("far")["message"].as_str()?.contains("300").then(|| health.row("far").clone())
    });
    let message = health["message"].as_str().unwrap();
    assert!(message.contains("far.away.example"), "{health}");
    assert_eq!(health["healthy"], false, "{health}");
    // The lookup hangs during the whole test, because its own timeout is two and a half minutes.
    let asked = Instant::now();
    assert_eq!(project.value("service start web").row("web")["ok"], true);
    assert_eq!(project.value("service stop far web").column("ok"), ["true", "true"]);
    assert!(asked.elapsed() < Duration::from_mins(1), "{:?}", asked.elapsed());
    leaves_nothing(&project);
}
