//! Concurrency: several daemons, concurrent requests, and a file that changes meanwhile.

use crate::{Footprint, leaves_nothing, named};
use serde_json::Value;
use service_tests::{Project, ServiceTable, alive, eventually, http, program};
use std::fs;
use std::io::{BufRead, BufReader};
use std::thread;

/// Two services, of which the second depends on the first. Neither may ever run twice.
const PAIR: &str = r#"
    [services.base]
    start_command = "TEST_SERVICE alone base.lock"
    restart = "always"
    backoff = { limit = 0 }
    ready = { delay = "5ms" }

    [services.top]
    start_command = "TEST_SERVICE alone top.lock fork"
    restart = "always"
    backoff = { limit = 0 }
    ready = { delay = "5ms" }
    dependencies = ["base"]
"#;

#[test]
fn of_daemons_that_are_started_at_once_one_stays() {
    let Some(project) = Project::new(PAIR) else { return };
    let config = project.path("services.toml");
    let mut daemons: Vec<_> = (0..8)
        .map(|_| {
            let mut command = project.command(&program("orchestratord"));
            command.arg("run").arg("--config").arg(&config).stderr(std::process::Stdio::null());
            command.spawn().expect("the daemon can be run")
        })
        .collect();
    let greetings: Vec<String> = daemons
        .iter_mut()
        .map(|daemon| {
            let mut line = String::new();
            let stdout = daemon.stdout.take().expect("it is piped");
            BufReader::new(stdout).read_line(&mut line).expect("it greets");
            line
        })
        .collect();
    let ready = greetings.iter().filter(|line| line.contains("ready")).count();
    assert_eq!(ready, 1, "{greetings:?}");
    assert_eq!(greetings.iter().filter(|line| line.contains("taken")).count(), 7, "{greetings:?}");
    project.value("service start top");
    let daemon = project.daemon();
    for other in daemons.iter_mut().filter(|other| other.id() != daemon) {
        assert!(other.wait().expect("it is our child").success());
    }
    assert_eq!(named(&project, "orchestratord"), [daemon]);
    leaves_nothing(&project);
    let _ = daemons.iter_mut().try_for_each(|daemon| daemon.wait().map(drop));
}

#[test]
fn a_daemon_whose_state_directory_was_deleted_stays_the_only_one_and_writes_it_anew() {
    let Some(project) = Project::new(PAIR) else { return };
    project.value("service start top");
    let (daemon, top, held) = (project.daemon(), project.pid("top"), Footprint::measure(&project));
    let state = project.state_dir();
    fs::remove_dir_all(&state).unwrap();
    let mut second = project.command(&program("orchestratord"));
    second.arg("run").arg("--config").arg(project.path("services.toml"));
    let said = second.output().expect("the daemon can be run");
    assert!(String::from_utf8_lossy(&said.stdout).contains("taken"), "{said:?}");
    assert_eq!(
        (named(&project, "orchestratord"), project.daemon(), project.pid("top")),
        (vec![daemon], daemon, top)
    );
    assert_eq!(project.value("service stop top").row("top")["ok"], true);
    assert!(!alive(top));
    eventually("the state is written anew", || state.join("state.json").exists().then_some(()));
    assert_eq!(project.value("service start top").row("top")["ok"], true);
    assert_eq!(project.read("base.lock.twice") + &project.read("top.lock.twice"), "", "two ran at once");
    held.has_not_grown();
    leaves_nothing(&project);
}

#[test]
fn after_fifty_requests_at_once_each_service_runs_once() {
    let Some(project) = Project::new(PAIR) else { return };
    project.value("service start top");
    let (held, socket) = (Footprint::measure(&project), project.socket());
    let requests: Vec<_> = (0..50)
        .map(|n| {
            let socket = socket.clone();
            let verb = ["start", "stop", "restart", "start", "restart"][n % 5];
            let name = ["top", "base"][n % 2];
            thread::spawn(move || http(&socket, "POST", &format!("/api/v1/services/{name}/{verb}")))
        })
        .collect();
    for request in requests {
        let (status, answer) = request.join().expect("every request is answered");
        assert_eq!(status, 200, "{answer}");
        answer["data"].as_array().into_iter().flatten().for_each(is_told);
    }
    project.value("service start top");
    let (base, top) = (project.pid("base"), project.pid("top"));
    assert_eq!(named(&project, "service-shim").len(), 2);
    let processes = named(&project, "test_service");
    assert!(processes.len() == 3 && processes.contains(&base) && processes.contains(&top), "{processes:?}");
    assert_eq!(project.read("base.lock.twice") + &project.read("top.lock.twice"), "", "two ran at once");
    held.has_not_grown();
    leaves_nothing(&project);
}

/// Asserts that the request has succeeded, or that the row has the reason.
fn is_told(row: &Value) {
    assert!(row["ok"] == true || row["error"]["message"].is_string(), "{row}");
}

#[test]
fn a_file_that_breaks_disturbs_nothing_and_does_not_keep_from_stopping() {
    let Some(project) = Project::new(PAIR) else { return };
    project.value("service start top");
    let (daemon, top) = (project.daemon(), project.pid("top"));
    let whole = project.read("services.toml");
    for broken in ["[services.top", "", "[services.top]\nstart_command = 1\n"] {
        project.write("services.toml", broken);
        drop(project.nu("service start top"));
        assert!(alive(top));
    }
    fs::remove_file(project.path("services.toml")).unwrap();
    assert!(!project.nu("service start top").success);
    assert!(alive(top));
    project.write("services.toml", "[services.top");
    assert_eq!(project.value("service stop top").row("top")["ok"], true);
    assert!(!alive(top));
    project.write("services.toml", &whole);
    assert_eq!(project.value("service start top").row("top")["ok"], true);
    assert_eq!(project.daemon(), daemon);
    leaves_nothing(&project);
}

#[test]
fn a_service_that_is_removed_runs_until_it_is_stopped_also_over_a_new_daemon() {
    let Some(project) = Project::new(PAIR) else { return };
    project.value("service start top");
    let top = project.pid("top");
    project.define("[services.base]\nstart_command = \"TEST_SERVICE alone base.lock\"\n");
    assert_eq!(project.pid("top"), top);
    project.kill_daemon();
    assert_eq!(project.pid("top"), top);
    assert_eq!(project.value("service stop top").row("top")["ok"], true);
    assert!(!alive(top));
    eventually("it is forgotten", || {
        (!project.value("service status").column("name").contains(&"top".to_owned())).then_some(())
    });
    leaves_nothing(&project);
}

#[test]
fn a_changed_definition_is_that_of_the_next_run_and_the_present_one_is_not_disturbed() {
    let Some(project) = Project::new("[services.web]\nstart_command = \"TEST_SERVICE alone lock say old\"")
    else {
        return;
    };
    project.value("service start web");
    let web = project.pid("web");
    project.define("[services.web]\nstart_command = \"TEST_SERVICE alone lock say new\"");
    assert_eq!(project.value("service start web").row("web")["action"], "unchanged");
    assert_eq!(project.pid("web"), web);
    project.value("service restart web");
    assert_eq!(project.value("service logs web | where stream == stdout").column("line"), ["old", "new"]);
    assert_eq!(project.read("lock.twice"), "");
    leaves_nothing(&project);
}
