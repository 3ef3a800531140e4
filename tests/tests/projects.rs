//! `service projects` lists every project with running services, whatever happened to its daemon.

use nix::sys::signal::Signal;
use service_tests::{Project, ServiceTable, signal};
use std::time::{Duration, Instant};

const TWO: &str = r#"
[services.good]
start_command = "TEST_SERVICE"
[services.bad]
start_command = "false"
restart = "no"
"#;

#[test]
fn a_project_is_listed_while_a_daemon_or_a_service_of_it_runs() {
    let Some(project) = Project::new(TWO) else { return };
    let other = project.write("other/services.toml", "[services.alone]\nstart_command = \"sleep 600\"\n");
    assert_eq!(project.value("service projects"), serde_json::json!([]));
    project.nu("service start --all");
    project.value("cd other; service start alone");
    let rows = project.value("service projects --long");
    let path = project.path("services.toml").canonicalize().unwrap();
    let row = |path: &std::path::Path| {
        let rows = rows.as_array().unwrap();
        rows.iter().find(|row| row["path"] == path.to_str().unwrap()).unwrap()
    };
    assert_eq!(rows.as_array().unwrap().len(), 2, "{rows:#}");
    let here = row(&path);
    assert_eq!((&here["daemon"], &here["pid"]), (&"running".into(), &project.daemon().into()));
    assert_eq!((&here["services"], &here["up"], &here["failed"]), (&2.into(), &1.into(), &1.into()));
    assert_eq!(here["socket"], project.socket().to_str().unwrap());
    assert_eq!(row(&other.canonicalize().unwrap())["up"], 1);
    let columns = project.value("service projects | columns");
    assert_eq!(columns, serde_json::json!(["path", "file", "daemon", "services", "up", "failed", "pid"]));
    project.nu("cd other; service daemon stop --services");
    assert_eq!(project.value("service projects").as_array().unwrap().len(), 1);
}

#[test]
fn a_dead_daemon_and_one_that_hangs_are_told_in_bounded_time() {
    let Some(project) = Project::new(TWO) else { return };
    project.value("service start good");
    let daemon = project.daemon();
    signal(daemon, Signal::SIGSTOP);
    let asked = Instant::now();
    let answer = project.nu("service projects | to json --raw");
    let took = asked.elapsed();
    signal(daemon, Signal::SIGCONT);
    let rows = answer.value();
    assert_eq!(rows[0]["daemon"], "hangs", "{rows}");
    assert_eq!((&rows[0]["up"], &rows[0]["services"]), (&1.into(), &serde_json::Value::Null));
    assert!(took < Duration::from_secs(10), "{took:?}");
    project.kill_daemon();
    let rows = project.value("service projects");
    assert_eq!((&rows[0]["daemon"], &rows[0]["up"]), (&"none".into(), &1.into()), "{rows}");
    assert_eq!(rows.column("pid"), ["null"]);
    assert_eq!(project.status("good")["state"], "ready");
}
