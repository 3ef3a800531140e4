//! Services that misbehave: floods of output, endless lines, double forks, immediate exits.

use crate::{Footprint, leaves_nothing, named};
use service_tests::{Project, ServiceTable, alive, eventually};
use std::fs;

/// Bytes in the log files of a service.
fn logged(project: &Project, name: &str) -> u64 {
    let files = fs::read_dir(project.state_dir().join("services").join(name)).unwrap().flatten();
    let logs = files.filter(|file| file.file_name().to_string_lossy().starts_with("service.log"));
    logs.map(|log| log.metadata().map_or(0, |meta| meta.len())).sum()
}

#[test]
fn a_flood_is_kept_within_its_limits_and_holds_up_nobody() {
    let Some(project) = Project::new(
        r#"
        [orchestrator.service_defaults]
        log = { max_size = "64KiB", max_files = 2 }

        [services.flood]
        start_command = "yes"

        [services.endless-line]
        start_command = "yes | tr -d '\\n'"
        shell = "sh"
        "#,
    ) else {
        return;
    };
    project.value("service start --all");
    for name in ["flood", "endless-line"] {
        eventually("the log was rotated", || {
            let log = project.state_dir().join("services").join(name).join("service.log.2");
            log.exists().then_some(())
        });
        assert!(logged(&project, name) <= 3 * 64 * 1024, "{name}: {}", logged(&project, name));
        assert_eq!(project.status(name)["state"], "ready");
        let pid = project.pid(name);
        assert_eq!(project.value(&format!("service stop {name}")).row(name)["ok"], true);
        assert!(!alive(pid));
    }
    leaves_nothing(&project);
}

#[test]
fn one_that_forks_twice_is_seen_to_end_and_leaves_nothing_behind() {
    let Some(project) = Project::new(
        r#"
        [services.forks]
        start_command = "TEST_SERVICE alone lock daemonize note starts exit 0"
        restart = "always"
        stop_timeout = "200ms"
        backoff = { initial = "10ms", limit = 2 }
        "#,
    ) else {
        return;
    };
    assert_eq!(project.error("service start forks")["code"], "service::start_failed");
    // The first exit is the error of the command; the restart policy continues up to its limit.
    eventually("it is given up", || (project.status("forks")["state"] == "failed").then_some(()));
    assert_eq!(project.status("forks")["exit_code"], 0);
    assert_eq!(
        named(&project, "test_service"),
        Vec::<u32>::new(),
        "what left the session was ended with its run"
    );
    assert_eq!(project.read("lock.twice"), "");
    leaves_nothing(&project);
}

#[test]
fn one_that_ends_at_once_a_hundred_times_costs_the_daemon_nothing() {
    let Some(project) = Project::new(
        r#"
        [services.brief]
        start_command = "TEST_SERVICE alone lock note starts exit 3"
        restart = "always"
        backoff = { initial = "1ms", max = "1ms", limit = 0 }
        ready = { delay = "1s" }

        [services.other]
        start_command = "TEST_SERVICE"
        "#,
    ) else {
        return;
    };
    project.value("service start other");
    let held = Footprint::measure(&project);
    let starts = project.spawn("service start brief --timeout 100ms");
    eventually("it was started a hundred times", || {
        (project.read("starts").lines().count() >= 100).then_some(())
    });
    drop(service_tests::Answer::wait_for(starts));
    assert_eq!(project.value("service stop brief").row("brief")["ok"], true);
    let ended = project.status("brief");
    // A run that has begun has a known exit status. A withdrawn launch has neither a line nor an exit status.
    let began = project.read("starts").lines().count() as u64;
    if ended["exit_code"].is_null() && ended["exit_signal"].is_null() {
        assert!(
            ended["restarts"].as_u64().is_some_and(|restarts| restarts >= began),
            "{began} began: {ended}"
        );
    } else {
        assert!(ended["exit_code"] == 3 || ended["exit_signal"] == "SIGTERM", "{ended}");
    }
    assert_eq!((named(&project, "test_service").len(), project.read("lock.twice").as_str()), (1, ""));
    held.has_not_grown();
    leaves_nothing(&project);
}
