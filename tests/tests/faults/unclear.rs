//! Services whose state a new daemon cannot determine, because a file cannot be opened.

use crate::resources::{make_read_only, own_mounts};
use crate::{leaves_nothing, named};
use nix::mount::{MntFlags, umount2};
use serde_json::Value;
use service_tests::{Project, ServiceTable, alive, eventually, http, post};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

const SERVICES: &str = r#"
    [services.web]
    start_command = "TEST_SERVICE alone web.lock note starts"
    restart = "always"

    [services.app]
    start_command = "TEST_SERVICE alone app.lock note starts"
    dependencies = ["web"]

    [services.other]
    start_command = "TEST_SERVICE alone other.lock note starts"
"#;

/// An obstacle to the lock of a service: its description, its creation and its removal.
type Blocker = (&'static str, fn(&Path), fn(&Path));

fn aside(directory: &Path) {
    fs::rename(directory.join("run.lock"), directory.join("kept")).unwrap();
}

fn back(directory: &Path) {
    fs::rename(directory.join("kept"), directory.join("run.lock")).unwrap();
}

const OBSTACLES: [Blocker; 3] = [
    (
        "symbolic links",
        |directory| {
            aside(directory);
            symlink("run.lock", directory.join("run.lock")).unwrap();
        },
        back,
    ),
    (
        "directory",
        |directory| {
            aside(directory);
            fs::create_dir(directory.join("run.lock")).unwrap();
        },
        |directory| {
            fs::remove_dir(directory.join("run.lock")).unwrap();
            back(directory);
        },
    ),
    ("ead-only", make_read_only, |directory| umount2(directory, MntFlags::MNT_DETACH).unwrap()),
];

/// The new states of a service, in order.
fn went(project: &Project, name: &str) -> Vec<Value> {
    let events = project.value(&format!("service events --long --since 0 {name} | where event == state"));
    events.as_array().unwrap().clone()
}

#[test]
fn what_cannot_be_told_to_run_is_unknown_and_a_stop_of_it_is_no_success() {
    if !own_mounts() {
        return;
    }
    for (why, obstruct, clear) in OBSTACLES {
        let Some(project) = Project::new(SERVICES) else { return };
        project.value("service start --all");
        let [web, app] = ["web", "app"].map(|name| project.pid(name));
        let directory = project.run_json("web").parent().unwrap().to_owned();
        project.kill_daemon();
        obstruct(&directory);

        let status = project.status("web");
        assert_eq!((&status["status"], &status["state"]), (&"unknown".into(), &"unknown".into()), "{status}");
        let reason = status["reason"].as_str().unwrap();
        assert!(reason.contains("run.lock") && reason.contains(why), "{reason}");
        assert!(status["pid"].is_null() && status["exit_code"].is_null(), "{status}");
        assert_eq!(project.pid("app"), app, "nobody is disturbed by that");
        let last = went(&project, "web").pop().unwrap();
        assert_eq!((&last["from"], &last["to"]), (&"ready".into(), &"unknown".into()), "{last}");
        assert!(
            last["exit_code"].is_null() && !last["reason"].as_str().unwrap().contains("unseen"),
            "{last}"
        );

        for verb in ["stop", "start", "restart"] {
            let error = project.error(&format!("service {verb} web"));
            assert_eq!(error["code"], "service::state_unknown", "{error}");
            let said = error["msg"].as_str().unwrap();
            assert!(said.starts_with(&format!("cannot {verb} `web`")) && said.contains(reason), "{error}");
            assert!(error["help"].as_str().unwrap().contains("checks again"), "{error}");
        }
        let error = project.error("service restart app");
        assert!(
            error["msg"]
                .as_str()
                .unwrap()
                .starts_with("cannot restart `app`: `web`, which blocks it, is unknown"),
            "{error}"
        );
        let told = project.value("service why web");
        assert!(told["summary"].as_str().unwrap().contains(reason), "{told}");
        let socket = project.socket();
        let (code, health) = http(&socket, "GET", "/api/v1/health");
        assert_eq!((code, &health["data"]["status"]), (200, &"degraded".into()), "{health}");
        assert!(health["data"]["doubts"][0].as_str().unwrap().contains("run.lock"), "{health}");
        assert!(alive(web) && alive(app), "nothing was done");

        let (_, answer) = post(&socket, "/api/v1/services/stop", r#"{"all":true}"#);
        let rows = &answer["data"];
        assert_eq!(rows.row("other")["action"], "stopped", "{rows}");
        assert_eq!(rows.row("app")["ok"], true, "{rows}");
        let row = rows.row("web");
        assert_eq!((&row["ok"], &row["status"]), (&false.into(), &"unknown".into()), "{rows}");
        assert!(alive(web) && !alive(app));

        clear(&directory);
        eventually("it is found again", || (project.status("web")["status"] == "running").then_some(()));
        assert_eq!(project.pid("web"), web);
        assert_eq!(went(&project, "web").pop().unwrap()["from"], "unknown");
        assert_eq!(project.value("service stop web").row("web")["action"], "stopped");
        assert!(!alive(web));
        assert_eq!(project.read("starts").lines().count(), 3, "nothing was started twice");
        leaves_nothing(&project);
    }
}

#[test]
fn how_it_ended_meanwhile_is_told_when_it_can_be_read_and_its_policy_goes_on() {
    let Some(project) = Project::new(
        "[services.once]\nstart_command = \"TEST_SERVICE gate go exit 3\"\nrestart = \"no\"\nready = { delay = \"1ms\" }",
    ) else {
        return;
    };
    project.value("service start once");
    let directory = project.run_json("once").parent().unwrap().to_owned();
    project.kill_daemon();
    let (_, obstruct, clear) = OBSTACLES[0];
    obstruct(&directory);
    assert_eq!(project.status("once")["state"], "unknown");
    project.write("go", "");
    eventually("it has ended", || named(&project, "test_service").is_empty().then_some(()));
    project.kill_daemon();
    assert_eq!(project.status("once")["state"], "unknown", "and what it was is remembered");
    assert!(
        !fs::read_to_string(project.state_dir().join("state.json")).unwrap().contains("unknown"),
        "former versions can read that"
    );
    clear(&directory);
    eventually("it is told", || (project.status("once")["state"] == "failed").then_some(()));
    let event = went(&project, "once").pop().unwrap();
    assert_eq!((&event["from"], &event["exit_code"]), (&"unknown".into(), &3.into()), "{event}");
    leaves_nothing(&project);
}

#[test]
fn an_apply_over_what_is_unknown_changes_nothing() {
    let Some(project) = Project::new(SERVICES) else { return };
    project.value("service start --all");
    let pids = ["web", "app", "other"].map(|name| project.pid(name));
    let directory = project.run_json("web").parent().unwrap().to_owned();
    project.kill_daemon();
    let (_, obstruct, clear) = OBSTACLES[0];
    obstruct(&directory);
    project.define(&SERVICES.replace("note starts", "note started"));
    let error = project.error("service apply");
    assert_eq!(error["code"], "service::state_unknown", "{error}");
    assert_eq!(["app", "other"].map(|name| project.pid(name)), pids[1..]);
    assert!(alive(pids[0]));
    clear(&directory);
    eventually("it is found again", || (project.status("web")["status"] == "running").then_some(()));
    let rows = project.value("service apply");
    assert_eq!(rows.row("web")["action"], "restarted", "{rows}");
    leaves_nothing(&project);
}
