//! `service enable` and `disable` with a real systemd: the daemon is a unit, and services outlive it.

use nix::sys::signal::Signal;
use serde_json::Value;
use service_tests::{Project, Systemd, alive, eventually, signal};
use std::path::Path;

const SERVICES: &str = r#"
[services.db]
start_command = "TEST_SERVICE"
[services.web]
start_command = "TEST_SERVICE"
dependencies = ["db"]
auto = true
[services.lone]
start_command = "TEST_SERVICE"
"#;

fn unit(row: &Value) -> String {
    row["unit"].as_str().expect("a unit has a name").to_owned()
}

fn text<'v>(row: &'v Value, column: &str) -> &'v str {
    row[column].as_str().unwrap_or_default()
}

#[test]
fn an_enabled_project_is_run_by_systemd_and_services_outlive_a_restart_of_the_unit() {
    let Some(project) = Project::new(SERVICES) else { return };
    let Some(systemd) = Systemd::start(&project) else { return };
    let row = project.value("service enable --now");
    let unit = unit(&row);
    assert_eq!((text(&row, "state"), text(&row, "at"), text(&row, "services")), ("active", "login", "auto"));
    assert!(row["enabled"] == true && Path::new(text(&row, "path")).is_file(), "{row}");
    let status = |wanted: &str| {
        eventually(wanted, || (systemd.property(&unit, "StatusText") == wanted).then_some(()));
    };
    status("2 of 3 services up");
    let (web, daemon) = (project.pid("web"), project.daemon());
    assert_eq!(systemd.property(&unit, "MainPID"), daemon.to_string());
    assert_eq!(project.value("service daemon status")["unit"], unit.as_str());

    systemd.systemctl(&["restart", &unit]);
    assert_ne!(project.daemon(), daemon);
    assert_eq!(project.pid("web"), web);
    status("2 of 3 services up");

    // A daemon that is restarted in the same session does not start a stopped service.
    project.value("service stop web");
    systemd.systemctl(&["restart", &unit]);
    status("1 of 3 services up");
    assert_eq!(project.status("web")["state"], "stopped");

    // A command that needs a daemon lets systemd start it.
    project.value("service daemon stop");
    assert_eq!(systemd.property(&unit, "ActiveState"), "inactive");
    let db = project.pid("db");
    assert_eq!(systemd.property(&unit, "MainPID"), project.daemon().to_string());

    let row = project.value("service disable");
    assert_eq!(
        (text(&row, "state"), text(&row, "at"), &row["enabled"]),
        ("inactive", "never", &Value::Bool(false))
    );
    assert!(!Path::new(text(&row, "path")).exists(), "{row}");
    assert_eq!(systemd.property(&unit, "LoadState"), "not-found");
    assert!(alive(db), "a service outlives the unit");
    assert_eq!(project.value("service status | ignore; service daemon status | get unit"), Value::Null);
    assert_eq!(project.pid("db"), db);
    project.value("service daemon stop --services");
}

#[test]
fn a_project_is_enabled_whatever_its_path_contains() {
    let Some(project) = Project::new("") else { return };
    let config = project
        .write("a 50% \"of\" $HOME %h\\x/services.toml", "[services.web]\nstart_command = 'sleep 1000'");
    let project = project.env("SERVICES_CONFIG", config.to_str().expect("it is text"));
    let Some(systemd) = Systemd::start(&project) else { return };
    let row = project.value("service enable --all --now");
    assert_eq!(text(&row, "state"), "active", "{row}");
    eventually("it is up", || {
        (systemd.property(&unit(&row), "StatusText") == "1 of 1 service up").then_some(())
    });
    assert_eq!(text(&project.value("service daemon status"), "project"), config.to_str().unwrap_or_default());
    project.value("service disable");
    project.value("try { service stop --all }; service daemon stop --services");
}

#[test]
fn when_the_session_ends_services_are_stopped_in_order_and_come_back_with_the_next() {
    let Some(project) = Project::new(SERVICES) else { return };
    let Some(systemd) = Systemd::start(&project) else { return };
    let unit = unit(&project.value("service enable --now"));
    project.value("service wait web; service start lone");
    systemd.end();
    assert_eq!(project.processes(), [0; 0], "nothing runs after the session");
    let stops = project.value("service events | where to == stopped | get service");
    let at = |name: &str| stops.as_array().and_then(|stops| stops.iter().position(|stop| stop == name));
    assert!(at("web").is_some() && at("web") < at("db"), "{stops}");

    let Some(systemd) = Systemd::start(&project) else { return };
    eventually("all that ran is there again", || {
        (systemd.property(&unit, "StatusText") == "3 of 3 services up").then_some(())
    });
    project.value("service disable");
    project.value("service status; service daemon stop --services");
}

#[test]
fn a_daemon_that_hangs_is_replaced_and_its_services_do_not_notice() {
    let Some(project) = Project::new(SERVICES) else { return };
    let Some(systemd) = Systemd::start(&project) else { return };
    let row = project.value("service enable lone --now");
    let unit = unit(&row);
    project.value("service wait lone");
    project.write(&format!("home/.config/systemd/user/{unit}.d/soon.conf"), "[Service]\nWatchdogSec=2\n");
    systemd.systemctl(&["daemon-reload"]);
    systemd.systemctl(&["restart", &unit]);
    let (lone, daemon) = (project.pid("lone"), project.daemon());
    signal(daemon, Signal::SIGSTOP);
    eventually("another daemon runs", || {
        let pid = systemd.property(&unit, "MainPID");
        (pid != daemon.to_string() && pid != "0" && systemd.property(&unit, "ActiveState") == "active")
            .then_some(())
    });
    assert_eq!(project.pid("lone"), lone);
    assert!(!alive(daemon));
    project.value("service disable");
    project.value("service status; service daemon stop --services");
}

#[test]
fn without_a_systemd_of_the_user_nothing_is_left_behind() {
    let Some(project) = Project::new(SERVICES) else { return };
    let error = project.error("service enable --now");
    assert_eq!(error["code"], "service::no_systemd");
    assert!(text(&error, "msg").starts_with("cannot reach systemd: "), "{error}");
    assert!(!text(&error, "help").is_empty());
    assert!(!project.path("home/.config/systemd").exists());
    let error = project.error("service disable");
    assert!(text(&error, "msg").contains("is not enabled"), "{error}");
    let error = project.error("service enable nobody");
    assert_eq!(error["code"], "service::not_found");
}
