//! `service wait`, and the stream of states that it uses. Waiting changes nothing.

use service_tests::{Answer, Project, ServiceTable, eventually, follow, http, name};
use std::time::Instant;

/// A service that is ready on request.
const SLOW: &str =
    "[services.slow]\nstart_command = \"TEST_SERVICE gate go say ready\"\nready = { log = \"^ready$\" }\n";

#[test]
fn a_wait_ends_when_the_service_is_ready_and_gives_its_status() {
    let Some(project) = Project::new(SLOW) else { return };
    project.value("service start slow --no-wait");
    let waiting = project.spawn("service wait slow | to json --raw");
    project.write("go", "");
    let rows = Answer::wait_for(waiting).value();
    assert_eq!((rows.column("name"), rows.column("state")), (vec!["slow".into()], vec!["ready".into()]));
}

#[test]
fn a_wait_that_is_over_says_so_at_once_and_why() {
    let Some(project) = Project::new(
        "[services.bad]\nstart_command = \"TEST_SERVICE exit 3\"\nrestart = \"no\"\n\
         [services.top]\nstart_command = \"TEST_SERVICE\"\ndependencies = [\"bad\"]\n\
         [services.steady]\nstart_command = \"TEST_SERVICE\"\nrestart = \"always\"\n\
         [services.idle]\nstart_command = \"TEST_SERVICE\"\n",
    ) else {
        return;
    };
    let never = |line: &str, why: &str| {
        let error = project.error(line);
        assert_eq!(error["code"], "service::never", "{line}: {error}");
        assert!(error["msg"].as_str().unwrap().contains(why), "{line}: {error}");
    };
    never("service wait idle", "its goal is down");
    project.value("service start top --no-wait");
    never("service wait bad --timeout 1min", "exited with code 3");
    never("service wait top --for running --timeout 1min", "it depends on `bad`, which failed");
    project.value("service start steady");
    never("service wait steady --for completed", "starts it again whenever it ends");
    assert_eq!(project.value("service wait bad --for stopped").column("name"), ["bad"]);
    assert_eq!(project.value("service status idle").column("state"), ["stopped"], "a wait starts nothing");
}

#[test]
fn a_wait_fails_when_somebody_stops_what_it_waits_for() {
    let Some(project) = Project::new(SLOW) else { return };
    project.value("service start slow --no-wait");
    let waiting = project.spawn("try { service wait slow } catch {|e| print $e.details.code }");
    // The first of the two requests decides the result.
    project.value("service stop slow");
    assert_eq!(Answer::wait_for(waiting).stdout.trim(), "service::never");
}

#[test]
fn each_state_can_be_waited_for_and_time_has_an_end() {
    let Some(project) = Project::new(&format!(
        "{SLOW}[services.job]\nstart_command = \"TEST_SERVICE exit 0\"\noneshot = true\n"
    )) else {
        return;
    };
    project.value("service start slow job --no-wait");
    assert_eq!(project.value("service wait job --for completed").column("state"), ["completed"]);
    assert_eq!(project.value("[{name: slow}] | service wait --for running").column("state"), ["starting"]);
    let began = Instant::now();
    let error = project.error("service wait slow --timeout 200ms");
    assert_eq!(error["code"], "service::timeout", "{error}");
    assert!(began.elapsed().as_secs() < 10);
    let waiting = project.spawn("service wait slow --for stopped | to json --raw");
    project.value("service stop slow");
    assert_eq!(Answer::wait_for(waiting).value().column("state"), ["stopped"]);
}

#[test]
fn a_closure_sees_all_services_by_name() {
    let Some(project) = Project::new(&format!("{SLOW}[services.web]\nstart_command = \"TEST_SERVICE\"\n"))
    else {
        return;
    };
    project.value("service start --all --no-wait");
    project.write("go", "");
    let line = "service wait { $in.slow.health == alive and $in.web.restarts < 1 } --timeout 20sec";
    let rows = project.value(line);
    assert_eq!(rows.row("slow")["state"], "ready");
    assert_eq!(
        project.value(&format!("{line} | columns | length")),
        8,
        "the rows are those of `service status`"
    );
    let code = |line: &str| project.error(line)["code"].clone();
    assert_eq!(code("service wait { $in.web.restarts > 5 } --timeout 50ms"), "service::timeout");
    assert_eq!(code("service wait { 3 }"), "service::bad_request");
    assert_eq!(code("service wait { true } --for ready"), "service::ambiguous_input");
    assert_eq!(code("service wait { true } { true }"), "service::bad_request");
    assert_eq!(code("service wait nobody"), "service::not_found");
    assert_eq!(code("service wait"), "service::no_names");
}

#[test]
fn states_are_told_at_once_and_whenever_they_change() {
    let Some(project) = Project::new(SLOW) else { return };
    project.value("service status");
    let socket = project.socket();
    let mut tables =
        follow(&socket, "/api/v1/services/status?follow=true").map(|line| line["data"].column("state"));
    assert_eq!(tables.next().unwrap(), ["stopped"]);
    project.value("service start slow --no-wait");
    assert!(tables.by_ref().any(|table| table == ["starting"]));
    project.write("go", "");
    assert!(tables.by_ref().any(|table| table == ["ready"]));
    project.value("service stop slow; service daemon stop");
    assert_eq!(tables.last(), Some(vec!["stopped".into()]), "the answer ends with the daemon");
}

#[test]
fn following_the_states_needs_a_client_that_reads_lines() {
    let Some(project) = Project::new(SLOW) else { return };
    project.value("service status");
    let (status, answer) = http(&project.socket(), "GET", "/api/v1/services/status?follow=true");
    assert_eq!((status, &answer["error"]["code"]), (400, &"bad_request".into()));
}

#[test]
fn a_plugin_ends_with_its_nushell_though_nothing_ends_what_it_waits_for() {
    let Some(project) = Project::new("[services.web]\nstart_command = \"TEST_SERVICE\"\n") else { return };
    project.value("service start web");
    for line in ["service wait web --for stopped", "service events --follow"] {
        let mut nu = project.spawn(line);
        let plugins =
            || project.processes().into_iter().filter(|pid| name(*pid) == "nu_plugin_servi").count();
        eventually("the plugin is there", || (plugins() > 0).then_some(()));
        nu.kill().expect("it is our child");
        nu.wait().expect("it is our child");
        eventually("the plugin has gone", || (plugins() == 0).then_some(()));
    }
}
