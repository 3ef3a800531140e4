//! Services of managers that other programs start and stop, with and without a running daemon.

use service_tests::{Project, ServiceTable, eventually};

/// A project with the module template of the documentation, in which a service is a file. The services are checked
/// frequently.
fn lamps(services: &str) -> Option<Project> {
    let defaults = "[orchestrator.service_defaults.health]\ninterval = \"200ms\"\n";
    let project = Project::new(&format!("{defaults}{services}"))?;
    let text = include_str!("../../nu/managers/template.nu");
    assert!(text.contains("{state: stopped} }"), "it says what is not there");
    project
        .write("lamps.nu", &text.replace("{state: stopped} }", "{state: stopped message: \"it is dark\"} }"));
    Some(project)
}

fn remove(project: &Project, name: &str) {
    std::fs::remove_file(project.path(name)).expect("it is there");
}

#[test]
fn what_somebody_else_starts_is_shown_left_alone_and_can_be_taken_over() {
    let Some(project) = lamps("[services.desk]\nmanager = \"lamps.nu\"\nrestart = \"always\"") else {
        return;
    };
    project.trust();
    assert_eq!(project.status("desk")["status"], "stopped");
    project.write("desk.lamp", "on");
    let seen = || Some(project.status("desk")).filter(|status| status["status"] == "running");
    let status = eventually("it is seen", seen);
    assert_eq!(status["health"], "healthy", "{status}");
    assert_eq!(status["id"], project.path("desk.lamp").to_str().unwrap(), "{status}");
    assert!(status["reason"].as_str().unwrap().contains("outside the orchestrator"), "{status}");
    remove(&project, "desk.lamp");
    eventually("its end is seen", || (project.status("desk")["state"] == "stopped").then_some(()));
    assert!(!project.path("desk.lamp").exists(), "nobody starts it again");

    project.write("desk.lamp", "on");
    eventually("it is seen again", seen);
    assert_eq!(project.value("service start desk").row("desk")["ok"], true);
    remove(&project, "desk.lamp");
    eventually("its policy holds", || project.path("desk.lamp").exists().then_some(()));
    project.value("service stop desk");

    project.write("desk.lamp", "on");
    eventually("it is seen once more", seen);
    assert_eq!(project.value("service stop desk").row("desk")["action"], "stopped");
    assert!(!project.path("desk.lamp").exists());
    let told = project.value("service events desk | where event == state and to == ready | get reason");
    assert!(told[0].as_str().unwrap().contains("outside the orchestrator"), "{told}");
}

#[test]
fn what_failed_and_is_started_by_somebody_else_is_up_again() {
    let Some(project) = lamps("[services.desk]\nmanager = \"lamps.nu\"\nrestart = \"no\"") else { return };
    project.value("service start desk");
    remove(&project, "desk.lamp");
    let failed = eventually("its end is seen", || {
        Some(project.status("desk")).filter(|status| status["state"] == "failed")
    });
    assert!(failed["reason"].as_str().unwrap().contains("it is dark"), "{failed}");
    project.write("desk.lamp", "on");
    eventually("it is up", || (project.status("desk")["state"] == "ready").then_some(()));
}

#[test]
fn the_first_word_of_another_daemon_about_what_managers_run_is_theirs() {
    let Some(project) = lamps(
        "[services.stays]\nmanager = \"lamps.nu\"\n[services.goes]\nmanager = \"lamps.nu\"\nrestart = \"no\"",
    ) else {
        return;
    };
    project.value("service start --all");
    project.kill_daemon();
    remove(&project, "goes.lamp");
    let rows = project.value("service status --long");
    assert_eq!(rows.row("goes")["state"], "failed", "{rows}");
    assert!(rows.row("goes")["reason"].as_str().unwrap().contains("it is dark"), "{rows}");
    assert_eq!(rows.row("stays")["state"], "ready", "{rows}");
    assert_eq!(rows.row("stays")["id"], project.path("stays.lamp").to_str().unwrap(), "{rows}");
    project.value("service stop --all");
}

#[test]
fn another_daemon_does_not_claim_what_a_manager_does_not_answer() {
    let Some(project) = lamps("[services.desk]\nmanager = \"lamps.nu\"") else { return };
    let text = project.read("lamps.nu");
    project.value("service start desk");
    let memory = project.state_dir().join("state.json");
    let is_written = || std::fs::read_to_string(&memory).is_ok_and(|text| text.contains("\"ready\""));
    eventually("it is written down that it is up", || is_written().then_some(()));
    project.kill_daemon();
    // A call of the killed daemon may read the module as late as now.
    eventually("its calls have ended", || project.processes().is_empty().then_some(()));
    let hangs =
        text.replace("    each {|service|", "    let all = $in\n    sleep 1min\n    $all | each {|service|");
    assert_ne!(hangs, text);
    project.write("lamps.nu", &hangs);
    project.trust();
    let status = project.status("desk");
    assert_eq!((&status["status"], &status["health"]), (&"unknown".into(), &"pending".into()), "{status}");
    project.write("lamps.nu", &text);
    project.trust();
    project.value("service stop desk");
}

#[test]
fn a_restart_says_what_the_manager_said_of_the_end_before() {
    let Some(project) = lamps("[services.desk]\nmanager = \"lamps.nu\"") else { return };
    project.value("service start desk");
    remove(&project, "desk.lamp");
    let status = eventually("it is up again", || {
        Some(project.status("desk")).filter(|status| status["state"] == "ready" && status["restarts"] == 1)
    });
    assert_eq!(
        status["reason"], "started again after it ended, according to its manager: “it is dark”",
        "{status}"
    );
    let events = project.value("service events desk | where event == state and to == waiting | get reason");
    assert!(events[0].as_str().unwrap().contains("it is dark"), "{events}");
    project.value("service stop desk");
}

#[test]
fn an_exit_code_is_not_told_beside_a_start_that_came_to_nothing() {
    let Some(project) = Project::new("[services.job]\nmanager = \"job.nu\"\noneshot = true") else { return };
    project.write(
        "job.nu",
        "export def start []: record -> record {\n\
           if ($in.working_dir | path join no | path exists) { error make {msg: 'no more'} }\n\
           {state: completed exit_code: 0} }\n\
         export def status []: record -> record { {state: stopped exit_code: 0} }\n\
         export def stop []: record -> record { {state: stopped} }",
    );
    project.value("service start job");
    assert_eq!(project.status("job")["exit_code"], 0);
    project.write("no", "");
    project.error("service restart job");
    let status = project.status("job");
    assert_eq!(
        (&status["state"], &status["exit_code"]),
        (&"failed".into(), &serde_json::Value::Null),
        "{status}"
    );
}

#[test]
fn a_query_ends_with_the_daemon_and_a_start_does_not() {
    let Some(project) = Project::new("") else { return };
    let path = |name: &str| project.path(name).display().to_string();
    project.write(
        "m.nu",
        &format!(
            "export def start [] {{ touch {}; sleep 500ms; touch {}; {{state: running}} }}\n\
             export def stop [] {{ {{state: stopped}} }}\n\
             export def status [] {{ sleep 10min; {{state: running}} }}\n",
            path("begun"),
            path("done"),
        ),
    );
    project.define("[services.web]\nmanager = \"m.nu\"\n");
    let mut start = project.spawn("service start web");
    eventually("it starts", || project.path("begun").exists().then_some(()));
    project.kill_daemon();
    start.wait().unwrap();
    eventually("the start has finished", || project.path("done").exists().then_some(()));
    project.value("service status");
    let is_nu =
        |pid: &u32| std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "nu\n");
    eventually("it is queried", || project.processes().iter().any(is_nu).then_some(()));
    project.kill_daemon();
    eventually("no query is left", || project.processes().is_empty().then_some(()));
}
