//! Health endpoints that do not play by the rules, and what they cost the daemon.

use crate::{Footprint, leaves_nothing};
use service_tests::{Project, ServiceTable, eventually, free_port};
use std::fs;

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
        start_command = "ACTOR drip {port} 50"
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
        start_command = "ACTOR endless {port}"
        health_check_endpoint = "http://127.0.0.1:{port}/"
        health = {{ interval = "1ms" }}
        "#
    )) else {
        return;
    };
    project.value("service start big");
    let daemon = project.daemon();
    let (before, held) = (memory(daemon), Footprint::of(&project));
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
    let port = free_port();
    let Some(project) = Project::new(&format!(
        r#"
        [services.silent]
        start_command = "ACTOR hang {port}"
        health_check_endpoint = "http://127.0.0.1:{port}/"
        health = {{ timeout = "20ms", interval = "1ms" }}
        restart = "no"

        [services.other]
        start_command = "ACTOR"
        health_check_endpoint = "exec:true"
        "#
    )) else {
        return;
    };
    // With its first check the daemon has opened all the files that it keeps.
    project.value("service start other");
    let held = Footprint::of(&project);
    let waits = project.spawn("service start silent --timeout 1sec");
    eventually("it is being asked", || (project.status("silent")["state"] == "starting").then_some(()));
    assert_eq!(project.status("other")["state"], "ready", "everybody else is answered meanwhile");
    assert!(!service_tests::Answer::of(waits).success);
    project.value("service stop silent");
    held.has_not_grown();
    leaves_nothing(&project);
}
