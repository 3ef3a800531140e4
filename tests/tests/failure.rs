//! Failures: services that crash, cannot start, never become ready, or lose a dependency.

use nix::sys::signal::Signal;
use service_tests::{Project, ServiceTable, WAIT_TIMEOUT, eventually, free_port, signal, within};
use std::net::TcpListener;
use std::time::{Duration, Instant};

#[test]
fn a_killed_service_shows_within_a_second_and_restarts_by_its_policy() {
    let Some(project) = Project::new(
        r#"
        [services.phoenix]
        start_command = "TEST_SERVICE"
        restart = "on-failure"

        [services.mortal]
        start_command = "TEST_SERVICE"
        restart = "no"
        "#,
    ) else {
        return;
    };
    project.value("service start --all");
    let [phoenix, mortal] = ["phoenix", "mortal"].map(|name| project.pid(name));
    signal(phoenix, Signal::SIGKILL);
    signal(mortal, Signal::SIGKILL);
    within(Duration::from_secs(1), "the death of `mortal` shows", || {
        (project.status("mortal")["status"] == "failed").then_some(())
    });
    assert_eq!(project.status("mortal")["exit_signal"], "SIGKILL");
    eventually("`phoenix` runs again", || {
        let status = project.status("phoenix");
        (status["pid"].is_u64() && status["pid"] != phoenix && status["restarts"] == 1).then_some(())
    });
}

#[test]
fn a_service_that_crashes_at_first_is_started_until_it_lives() {
    let Some(project) = Project::new(
        r#"
        [services.late]
        start_command = "TEST_SERVICE crash-until 3 crashes"
        restart = "on-failure"
        backoff = { initial = "20ms" }
        ready = { delay = "200ms" }
        "#,
    ) else {
        return;
    };
    let error = project.error("service start late");
    assert!(error["msg"].as_str().is_some_and(|msg| msg.contains("; trying again (")), "{error}");
    project.value("service wait late");
    assert_eq!(project.read("crashes").lines().count(), 3);
    assert_eq!(project.status("late")["status"], "running");
}

#[test]
fn a_service_that_never_lives_is_given_up() {
    let Some(project) = Project::new(
        r#"
        [services.broken]
        start_command = "TEST_SERVICE moan 'out of memory' note starts exit 3"
        restart = "always"
        backoff = { initial = "5ms", limit = 4 }

        [services.dependent]
        start_command = "TEST_SERVICE"
        dependencies = ["broken"]
        "#,
    ) else {
        return;
    };
    let error = project.error("service start dependent");
    assert_eq!(error["code"], "service::dependency_failed", "{error}");
    project.error("service wait broken");
    let status = project.status("broken");
    assert_eq!((&status["state"], &status["exit_code"]), (&"failed".into(), &3.into()), "{status}");
    let starts = project.read("starts").lines().count();
    assert!((2..=5).contains(&starts), "{starts} starts");
    assert_eq!(project.status("dependent")["pid"], serde_json::Value::Null);
}

#[test]
fn a_launch_failure_names_its_stage() {
    let Some(project) = Project::new(
        r#"
        [services.nowhere]
        start_command = "TEST_SERVICE"
        working_dir = "/does/not/exist"

        [services.nothing]
        start_command = "no-such-program --port 1"

        [services.nobody]
        start_command = "TEST_SERVICE"
        user = "no-such-user"
        "#,
    ) else {
        return;
    };
    for (name, wanted) in
        [("nowhere", "working directory"), ("nothing", "no-such-program"), ("nobody", "no-such-user")]
    {
        let begun = Instant::now();
        let error = project.error(&format!("service start {name}"));
        let message = error["msg"].as_str().unwrap();
        assert!(message.contains(&format!("cannot start `{name}`")) && message.contains(wanted), "{error}");
        assert!(begun.elapsed() < WAIT_TIMEOUT, "it is known at once that this can never be");
    }
}

#[test]
fn a_taken_port_fails_the_service_that_wants_it() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = holder.local_addr().unwrap().port();
    let Some(project) = Project::new(&format!(
        "[services.web]\nstart_command = \"TEST_SERVICE listen {port}\"\nhealth_check_endpoint = \"tcp://127.0.0.1:{port}\"\nrestart = \"no\""
    )) else {
        return;
    };
    let error = project.error("service start web");
    assert_eq!(error["code"], "service::start_failed", "{error}");
    assert_eq!(project.status("web")["exit_code"], 98);
    let lines = project.value("service logs web").column("line");
    assert!(lines.iter().any(|line| line.contains(&format!("cannot listen on port {port}"))), "{lines:?}");
}

#[test]
fn a_port_that_somebody_else_holds_proves_nothing_and_the_holder_is_named() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = holder.local_addr().unwrap().port();
    let Some(project) = Project::new(&format!(
        "[services.web]\nstart_command = \"TEST_SERVICE\"\nhealth_check_endpoint = \"tcp://127.0.0.1:{port}\""
    )) else {
        return;
    };
    let error = project.error("service start web --timeout 300ms");
    let named = format!("port {port} is held by pid {}", std::process::id());
    assert!(error["msg"].as_str().unwrap().contains(&named), "{error}");
}

#[test]
fn a_health_endpoint_that_hangs_ends_the_start_by_its_timeout() {
    let port = free_port();
    let Some(project) = Project::new(&format!(
        r#"
        [services.silent]
        start_command = "TEST_SERVICE hang {port}"
        health_check_endpoint = "http://127.0.0.1:{port}/"
        health = {{ timeout = "200ms" }}
        ready = {{ timeout = "1s" }}
        restart = "no"
        "#
    )) else {
        return;
    };
    let begun = Instant::now();
    let error = project.error("service start silent");
    assert!(begun.elapsed() < WAIT_TIMEOUT, "took {:?}", begun.elapsed());
    assert!(error["msg"].as_str().unwrap().contains("cannot start `silent`"), "{error}");
    // The service may end a moment after the response.
    eventually("it has ended", || (project.status("silent")["state"] == "failed").then_some(()));
    assert_eq!(project.status("silent")["pid"], serde_json::Value::Null);
}

#[test]
fn a_start_is_told_with_the_check_that_hung_until_its_end_and_not_with_an_earlier_one() {
    let port = free_port();
    let Some(project) = Project::new(&format!(
        r#"
        [services.silent]
        start_command = "TEST_SERVICE wait 300 hang {port}"
        health_check_endpoint = "http://127.0.0.1:{port}/"
        health = {{ timeout = "10m" }}
        ready = {{ timeout = "3s" }}
        restart = "no"
        "#
    )) else {
        return;
    };
    let error = project.error("service start silent");
    let (message, hung) =
        (error["msg"].to_string(), format!("no answer from http://127.0.0.1:{port}/ within"));
    assert!(message.contains(&hung), "{error}");
    // The end of the service closes the connection of the running check.
    eventually("it has ended", || (project.status("silent")["state"] == "failed").then_some(()));
    let why = project.value("service why silent").to_string();
    assert!(why.contains(&hung) && !why.contains("reset"), "{why}");
}

#[test]
fn when_lost_decides_about_the_dependent() {
    let dependent = |name: &str, when_lost: &str| {
        format!(
            "[services.{name}]\nstart_command = \"TEST_SERVICE\"\n\
             dependencies = [{{ name = \"needed\", when_lost = \"{when_lost}\" }}]\n"
        )
    };
    let services =
        ["[services.needed]\nstart_command = \"TEST_SERVICE\"\nrestart = \"always\"\n".to_string()]
            .into_iter()
            .chain(
                [("keeps", "keep"), ("restarts", "restart"), ("stops", "stop")]
                    .map(|(name, word)| dependent(name, word)),
            )
            .collect::<String>();
    let Some(project) = Project::new(&services) else { return };
    project.value("service start --all");
    let [keeps, restarts] = ["keeps", "restarts"].map(|name| project.pid(name));
    signal(project.pid("needed"), Signal::SIGKILL);
    eventually("`restarts` runs anew", || {
        let status = project.status("restarts");
        (status["state"] == "ready" && status["pid"] != restarts).then_some(())
    });
    eventually("`stops` is stopped", || (project.status("stops")["status"] == "stopped").then_some(()));
    assert_eq!(project.pid("keeps"), keeps);
    assert_eq!(project.status("needed")["status"], "running");
}

#[test]
fn a_partial_failure_is_a_row_and_an_error_only_when_strict() {
    let Some(project) = Project::new(
        "[services.good]\nstart_command = \"TEST_SERVICE\"\n[services.bad]\nstart_command = \"no-such-program\"",
    ) else {
        return;
    };
    let rows = project.value("service start good bad");
    assert_eq!(rows.row("good")["ok"], true);
    assert_eq!(rows.row("bad")["ok"], false);
    assert!(rows.row("bad")["error"].as_str().unwrap().contains("no-such-program"));
    assert_eq!(project.error("service start good bad --strict")["code"], "service::start_failed");
}

#[test]
fn the_error_of_a_start_says_that_the_disk_is_full() {
    let Some(project) = Project::new(
        "[services.web]\nstart_command = \"TEST_SERVICE say hello exit 3\"\nrestart = \"no\"\noneshot = true",
    ) else {
        return;
    };
    assert!(!project.nu("service start web").success);
    let log = project.value("service status web --long | get log.0");
    let log = std::path::PathBuf::from(log.as_str().expect("it is a path"));
    std::fs::remove_file(&log).expect("the directory is ours");
    std::os::unix::fs::symlink("/dev/full", &log).expect("the directory is ours");
    let failed = project.nu("service start web").stderr.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(failed.contains("the disk is full"), "{failed}");
}
