//! SIGSTOP of each process, which is frozen for a while.

use crate::{Footprint, leaves_nothing, named};
use nix::sys::signal::Signal;
use service_tests::{Answer, Project, ServiceTable, alive, eventually, free_port, signal};
use std::time::{Duration, Instant};

#[test]
fn a_daemon_that_was_frozen_learns_what_happened_and_answers_who_waits() {
    let Some(project) = Project::new(
        "[services.web]\nstart_command = \"TEST_SERVICE\"\nrestart = \"always\"\n[services.other]\nstart_command = \"TEST_SERVICE\"",
    ) else {
        return;
    };
    project.value("service start --all");
    let held = Footprint::measure(&project);
    let (daemon, [web, other]) = (project.daemon(), ["web", "other"].map(|name| project.pid(name)));
    signal(daemon, Signal::SIGSTOP);
    signal(web, Signal::SIGKILL);
    let mut waits = project.spawn("service status | to json --raw");
    eventually("the killed one is gone", || (!alive(web)).then_some(()));
    assert!(alive(other), "a service does not need the daemon");
    assert!(waits.try_wait().unwrap().is_none(), "nobody can have answered");
    signal(daemon, Signal::SIGCONT);
    assert_eq!(Answer::wait_for(waits).value().column("name"), ["web", "other"]);
    eventually("`web` runs again", || (project.status("web")["restarts"] == 1).then_some(()));
    assert_eq!((project.daemon(), project.pid("other")), (daemon, other));
    held.has_not_grown();
    leaves_nothing(&project);
}

/// A request to a frozen shim waits.
#[test]
fn a_frozen_shim_does_not_disturb_its_service_and_obeys_when_it_goes_on() {
    let Some(project) = Project::new("[services.web]\nstart_command = \"TEST_SERVICE\"") else { return };
    project.value("service start web");
    let (shim, web) = project.run_of("web");
    let held = Footprint::measure(&project);
    signal(shim, Signal::SIGSTOP);
    let status = project.status("web");
    assert_eq!(status["state"], "ready");
    let told = status["reason"].as_str().is_some_and(|reason| reason.contains(&format!("kill -CONT {shim}")));
    assert!(told, "{status}");
    assert_eq!(project.error("service stop web --timeout 200ms")["code"], "service::timeout");
    assert_eq!(project.status("web")["state"], "stopping", "and nobody calls it stopped");
    assert!(alive(web));
    signal(shim, Signal::SIGCONT);
    assert_eq!(project.value("service stop web").row("web")["ok"], true);
    assert!(!alive(web));
    held.has_not_grown();
    leaves_nothing(&project);
}

#[test]
fn a_new_daemon_takes_over_a_service_whose_shim_is_frozen() {
    let Some(project) = Project::new(
        "[services.web]\nstart_command = \"TEST_SERVICE alone lock note starts\"\nrestart = \"always\"\nbackoff = { initial = \"1ms\" }",
    ) else {
        return;
    };
    project.value("service start web");
    let (shim, web) = project.run_of("web");
    signal(shim, Signal::SIGSTOP);
    project.kill_daemon();
    assert_eq!(project.pid("web"), web);
    eventually("it is ready", || (project.status("web")["state"] == "ready").then_some(()));
    let status = project.status("web");
    assert_eq!((&status["pid"], &status["restarts"]), (&web.into(), &0.into()));
    assert!(status["reason"].as_str().unwrap_or_default().contains("stopped by a signal"), "{status}");
    assert_eq!(project.value("service start web").row("web")["action"], "unchanged");
    signal(shim, Signal::SIGCONT);
    assert_eq!(project.value("service stop web").row("web")["ok"], true);
    assert!(!alive(web));
    assert_eq!((project.read("starts").lines().count(), project.read("lock.twice").as_str()), (1, ""));
    leaves_nothing(&project);
}

#[test]
fn a_frozen_child_disturbs_nobody_and_ends_with_its_service() {
    let Some(project) = Project::new(
        "[services.web]\nstart_command = \"TEST_SERVICE alone lock fork say up\"\nready = { log = \"up\" }",
    ) else {
        return;
    };
    project.value("service start web");
    let (held, web) = (Footprint::measure(&project), project.pid("web"));
    let child = named(&project, "test_service").into_iter().find(|pid| *pid != web).unwrap();
    signal(child, Signal::SIGSTOP);
    assert_eq!((project.pid("web"), project.status("web")["state"].as_str()), (web, Some("ready")));
    assert_eq!(project.value("service stop web --timeout 5sec").row("web")["ok"], true);
    assert_eq!(named(&project, "test_service"), Vec::<u32>::new());
    held.has_not_grown();
    leaves_nothing(&project);
}

#[test]
fn a_frozen_shim_that_is_killed_takes_its_service_along() {
    let Some(project) = Project::new("[services.web]\nstart_command = \"TEST_SERVICE alone lock fork\"")
    else {
        return;
    };
    project.value("service start web");
    let (shim, web) = project.run_of("web");
    signal(shim, Signal::SIGSTOP);
    signal(shim, Signal::SIGKILL);
    eventually("it runs anew", || {
        let status = project.status("web");
        (status["state"] == "ready" && status["pid"] != web).then_some(())
    });
    assert_eq!((named(&project, "test_service").len(), project.read("lock.twice").as_str()), (2, ""));
    leaves_nothing(&project);
}

#[test]
fn a_frozen_service_stops_at_once_and_a_deaf_one_when_its_time_is_over() {
    let Some(project) = Project::new(
        r#"
        [services.well]
        start_command = "TEST_SERVICE fork"

        [services.deaf]
        start_command = "TEST_SERVICE deaf say listening"
        ready = { log = "listening" }
        stop_timeout = "300ms"
        "#,
    ) else {
        return;
    };
    project.value("service start --all");
    for (name, end) in [("well", "SIGTERM"), ("deaf", "SIGKILL")] {
        signal(project.pid(name), Signal::SIGSTOP);
        let begun = Instant::now();
        assert_eq!(project.value(&format!("service stop {name}")).row(name)["ok"], true);
        assert!(begun.elapsed() < Duration::from_secs(8), "before the usual 10 s are over");
        assert_eq!(project.status(name)["exit_signal"], end);
    }
    assert_eq!(named(&project, "test_service"), Vec::<u32>::new());
    leaves_nothing(&project);
}

#[test]
fn a_frozen_service_is_unhealthy_and_restarted_where_that_is_asked_for() {
    let port = free_port();
    let Some(project) = Project::new(&format!(
        r#"
        [services.web]
        start_command = "TEST_SERVICE http {port} 200"
        health_check_endpoint = "http://127.0.0.1:{port}/"
        health = {{ interval = "50ms", timeout = "300ms", retries = 2, on_failure = "restart" }}
        "#
    )) else {
        return;
    };
    project.value("service start web");
    let web = project.pid("web");
    signal(web, Signal::SIGSTOP);
    eventually("another runs in its place", || {
        let status = project.status("web");
        (status["health"] == "healthy" && status["pid"] != web).then_some(())
    });
    assert!(!alive(web));
    leaves_nothing(&project);
}
