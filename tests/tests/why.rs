//! `service why`: one record that explains a state and names the next command.

use service_tests::{Project, eventually, free_port};
use std::net::TcpListener;

#[test]
fn what_runs_without_what_it_needs_says_so() {
    let Some(project) = Project::new(
        "[services.db]\nstart_command = \"TEST_SERVICE gate crash exit 4\"\nrestart = \"no\"\n\
         [services.web]\nstart_command = \"TEST_SERVICE\"\ndependencies = [\"db\"]\n",
    ) else {
        return;
    };
    project.value("service start web");
    project.write("crash", "");
    project.value("service wait db --for stopped");
    assert_eq!(project.status("web")["state"], "ready");
    let why = project.value("service why web");
    assert_eq!(why["summary"], "it runs, and depends on `db`, which failed: exited with code 4", "{why}");
    assert_eq!(why["help"], "run `service why db`");
}

#[test]
fn a_healthy_service_is_well_and_an_unwanted_one_can_be_started() {
    let Some(project) = Project::new(
        "[services.web]\nstart_command = \"TEST_SERVICE say hello\"\nhealth_check_endpoint = \"exec:true\"\n",
    ) else {
        return;
    };
    let why = project.value("service why web");
    assert_eq!((&why["state"], &why["goal"]), (&"stopped".into(), &"down".into()));
    assert_eq!(why["help"], "run `service start web`");
    project.value("service start web");
    let why = eventually("its line is told", || {
        let why = project.value("service why web");
        why["log"].as_array()?.iter().any(|line| line["line"] == "hello").then_some(why)
    });
    assert_eq!((&why["summary"], &why["goal"]), (&"all is well".into(), &"up".into()));
    assert!(why["help"].is_null() && why["exit"].is_null() && why["waits_for"].is_null(), "{why}");
    assert_eq!(project.value("service why web | get since | describe"), "datetime");
    assert_eq!(project.value("'web' | service why | get name"), "web");
}

#[test]
fn a_failure_is_told_in_words_with_the_last_lines() {
    let Some(project) = Project::new(
        "[services.bad]\nstart_command = \"sh -c 'echo oops; exit 127'\"\nrestart = \"no\"\n\
         [services.top]\nstart_command = \"TEST_SERVICE\"\ndependencies = [{ name = \"bad\", condition = \"healthy\" }]\n",
    ) else {
        return;
    };
    project.error("service start top");
    let why = project.value("service why bad");
    assert_eq!(why["exit"], "exited with code 127: the command was not found");
    assert!(why["help"].as_str().unwrap().starts_with("correct [services.bad]"), "{why}");
    assert_eq!(
        project.value("service why bad | get log | where stream == stdout | get line"),
        serde_json::json!(["oops"])
    );
    let why = project.value("service why top");
    assert_eq!((&why["state"], &why["waits_for"]["service"]), (&"waiting".into(), &"bad".into()));
    assert_eq!(
        (&why["waits_for"]["condition"], &why["waits_for"]["state"]),
        (&"healthy".into(), &"failed".into())
    );
    assert_eq!(why["help"], "run `service why bad`");
    assert_eq!(project.value("service why top | get waits_for.waiting | describe"), "duration");
}

#[test]
fn the_holder_of_its_port_and_the_next_try_are_named() {
    let port = free_port();
    let Some(project) = Project::new(&format!(
        "[services.web]\nstart_command = \"TEST_SERVICE listen {port}\"\nhealth_check_endpoint = \"tcp://127.0.0.1:{port}\"\n\
         backoff = {{ initial = \"10min\", max = \"10min\", limit = 0 }}\n"
    )) else {
        return;
    };
    let holder = TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
    project.value("service start web --no-wait");
    let why = eventually("it has ended", || {
        let why = project.value("service why web");
        (why["state"] == "backoff").then_some(why)
    });
    assert_eq!(why["exit"], "exited with code 98: its address is in use");
    assert_eq!(
        (&why["port_holder"]["port"], &why["port_holder"]["pid"]),
        (&port.into(), &std::process::id().into())
    );
    assert!(why["help"].as_str().unwrap().starts_with(&format!("end pid {}", std::process::id())), "{why}");
    assert_eq!(project.value("service why web | get next_retry.in | describe"), "duration");
    assert!(project.value("service why web | get next_retry.at | $in > (date now)").as_bool().unwrap());
    drop(holder);
}

#[test]
fn one_service_at_a_time_is_explained() {
    let Some(project) = Project::new("[services.web]\nstart_command = \"TEST_SERVICE\"\n") else { return };
    assert_eq!(project.value("service why"), serde_json::json!([]), "nobody has started anything");
    assert_eq!(project.error("service why web web")["code"], "service::bad_request");
    assert_eq!(project.error("service why wbe")["code"], "service::not_found");
}
