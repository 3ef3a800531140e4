//! `service plan` and `service apply`: the effects of a changed file, their execution, and the rollback.

use serde_json::{Value, json};
use service_tests::{Project, ServiceTable, eventually};

const BEFORE: &str = r#"
[services.db]
start_command = "TEST_SERVICE"
[services.api]
start_command = "TEST_SERVICE"
dependencies = ["db"]
[services.old]
start_command = "TEST_SERVICE"
[services.idle]
start_command = "TEST_SERVICE"
"#;

fn started() -> Option<Project> {
    let project = Project::new(BEFORE)?;
    project.value("service start api old");
    Some(project)
}

/// The row about this service.
#[track_caller]
fn about<'a>(rows: &'a Value, service: &str) -> &'a Value {
    let mut rows = rows.as_array().into_iter().flatten();
    rows.find(|row| row["service"] == service).unwrap_or_else(|| panic!("nothing about {service}"))
}

/// The rows of the plan with a change.
#[track_caller]
fn plan(project: &Project) -> Vec<String> {
    let rows = project.value("service plan | where change != none");
    let rows = rows.column("change").into_iter().zip(rows.column("service"));
    rows.map(|(change, service)| format!("{change} {service}")).collect()
}

#[test]
fn a_plan_says_what_would_be_done_and_why_and_whom_that_affects() {
    let Some(project) = started() else { return };
    assert_eq!(plan(&project), [""; 0]);
    project.define(
        r#"
[services.db]
start_command = "TEST_SERVICE"
env = { A = "1" }
health.interval = "3s"
[services.api]
start_command = "TEST_SERVICE"
description = "new words"
dependencies = ["db", "idle"]
[services.idle]
start_command = "TEST_SERVICE"
[services.fresh]
start_command = "TEST_SERVICE"
"#,
    );
    let rows = project.value("service plan");
    assert_eq!(
        *about(&rows, "db"),
        json!({"service": "db", "change": "restart", "because": "env, health.interval", "affects": "api"})
    );
    assert_eq!(
        *about(&rows, "api"),
        json!({"service": "api", "change": "update", "because": "description, dependencies", "affects": ""})
    );
    assert_eq!(about(&rows, "idle")["change"], "add", "something that is up needs it now");
    assert_eq!(about(&rows, "fresh")["change"], "add");
    assert_eq!(about(&rows, "old")["change"], "remove");
    let pid = project.pid("db");
    // Other commands and a restart of the daemon do not change the plan.
    project.value("service status");
    project.kill_daemon();
    assert_eq!(project.value("service plan"), rows);
    assert_eq!(project.pid("db"), pid, "a plan does nothing");
}

#[test]
fn an_apply_does_what_was_planned_and_then_there_is_nothing_left_to_do() {
    let Some(project) = started() else { return };
    let [db, api] = ["db", "api"].map(|name| project.pid(name));
    project.define(
        r#"
[services.db]
start_command = "TEST_SERVICE"
stop_timeout = "3s"
[services.api]
start_command = "TEST_SERVICE"
env = { A = "1" }
dependencies = ["db", "idle"]
[services.idle]
start_command = "TEST_SERVICE"
[services.fresh]
start_command = "TEST_SERVICE"
"#,
    );
    let rows = project.value("service apply");
    assert_eq!(rows.row("old")["action"], "stopped");
    assert_eq!(rows.row("db")["action"], "updated");
    assert_eq!(rows.row("api")["action"], "restarted");
    assert_eq!(rows.row("idle")["action"], "started");
    assert_eq!(project.pid("db"), db, "it went on under its new definition");
    assert_ne!(project.pid("api"), api);
    assert_eq!(rows.row("fresh")["action"], "added");
    assert_eq!(project.status("fresh")["state"], "stopped", "nothing needs it");
    assert_eq!(plan(&project), [""; 0]);
    project.define(&format!(
        "{}\n[services.more]\nstart_command = \"TEST_SERVICE\"\n",
        project.read("services.toml")
    ));
    assert_eq!(plan(&project), ["add more"]);
    assert_eq!(project.value("service apply --start").row("more")["action"], "started");
}

#[test]
fn an_apply_that_fails_goes_back_to_what_ran_before() {
    let Some(project) = started() else { return };
    project.define(
        r#"
[services.db]
start_command = "TEST_SERVICE"
env = { A = "1" }
[services.api]
start_command = "false"
restart = "no"
dependencies = ["db"]
[services.idle]
start_command = "TEST_SERVICE"
"#,
    );
    let error = project.error("service apply");
    assert_eq!(error["code"], "service::start_failed", "{error:#}");
    let message = error["msg"].as_str().unwrap();
    assert!(
        message.contains("`api`") && message.contains("as before:") && message.contains("`old`"),
        "{message}"
    );
    for name in ["db", "api", "old"] {
        eventually(name, || (project.status(name)["state"] == "ready").then_some(()));
    }
    let command = project.status("api")["command"].as_str().unwrap().to_owned();
    assert!(command.ends_with("test_service'"), "{command}");
    project.value("service restart db");
    assert_eq!(project.status("api")["state"], "ready", "the good definitions stay in force");
    assert_eq!(plan(&project), ["restart db", "restart api", "remove old"], "against the file as it is");
}

#[test]
fn a_changed_check_has_to_pass_before_an_apply_has_gone_well() {
    let checked = |file: &str| {
        format!(
            "[services.db]\nstart_command = TEST_SERVICE\nhealth_check_endpoint = 'exec:test -e {file}'\n\
             health = {{ interval = '50ms', retries = 2 }}\n"
        )
    };
    let Some(project) = Project::new(&checked("there")) else { return };
    project.write("there", "");
    project.value("service start db");
    let pid = project.pid("db");
    project.define(&checked("nowhere"));
    assert_eq!(plan(&project), ["update db"]);
    let error = project.error("service apply");
    let message = error["msg"].as_str().unwrap();
    assert!(message.contains("cannot update `db`") && message.contains("as before: `db`"), "{message}");
    assert_eq!(project.status("db")["health"], "healthy", "by the old check");
    project.write("nowhere", "");
    let row = project.value("service apply").row("db").clone();
    assert_eq!((&row["action"], &row["health"]), (&json!("updated"), &json!("healthy")));
    assert_eq!(project.pid("db"), pid);
}

#[test]
fn what_is_to_be_done_after_an_apply_that_was_taken_back_is_another_apply() {
    let Some(project) = Project::new("[services.desk]\nmanager = \"lamps.nu\"") else { return };
    project.write("lamps.nu", include_str!("../../nu/managers/template.nu"));
    project.value("service start desk");
    project.define("[services.desk]\nmanager = \"lamps.nu\"\nworking_dir = \"nowhere\"");
    let error = project.error("service apply");
    let help = error["help"].as_str().unwrap();
    assert!(help.contains("run again, and `service apply` tries again"), "{error:#}");
    assert_eq!(project.status("desk")["state"], "ready");
    project.value("service stop desk");
}

#[test]
fn without_rollback_a_failed_apply_leaves_what_it_did() {
    let Some(project) = started() else { return };
    let good = "start_command = \"TEST_SERVICE\"";
    project.define(&BEFORE.replacen(good, "start_command = \"false\"\nrestart = \"no\"", 1));
    let error = project.error("service apply --no-rollback");
    assert!(!error["msg"].as_str().unwrap().contains("as before"), "{error:#}");
    assert_eq!(project.status("db")["state"], "failed");
    assert_eq!(project.status("old")["state"], "ready", "what did not change is not touched");
    project.define(BEFORE);
    assert_eq!(plan(&project), ["restart db"]);
    project.value("service apply");
    assert_eq!(project.status("api")["state"], "ready");
}

#[test]
fn a_wrong_file_changes_nothing() {
    let Some(project) = started() else { return };
    let pid = project.pid("db");
    project.define("[services.db]\nstart_command = 1\n");
    for line in ["service plan", "service apply"] {
        assert_eq!(project.error(line)["code"], "service::bad_definition");
    }
    assert_eq!(project.pid("db"), pid);
}

#[test]
fn an_apply_that_fails_takes_back_nothing_that_others_were_told() {
    let file = |zeta: &str, check: &str| {
        format!(
            "[services.zeta]\nstart_command = \"TEST_SERVICE {zeta}\"\nrestart = \"no\"\n\
             health_check_endpoint = \"exec:test -e {check}\"\n\
             [services.up]\nstart_command = \"TEST_SERVICE\"\n[services.mid]\nstart_command = \"TEST_SERVICE\"\n\
             [services.down]\nstart_command = \"TEST_SERVICE\"\n"
        )
    };
    let Some(project) = Project::new(&file("", "ready")) else { return };
    project.write("ready", "");
    project.value("service start zeta up mid");
    project.value("[{name: added start_command: \"sleep 1000\" ready: {delay: 10ms}}] | service add");
    project.value("service start added");
    let mid = project.pid("mid");
    project.define(&format!(
        "{}[services.fresh]\nstart_command = \"TEST_SERVICE\"\n",
        file("gate fail exit 1", "never")
    ));
    let apply = project.spawn("service apply");
    eventually("it is on its way", || (project.status("zeta")["state"] == "starting").then_some(()));
    assert_eq!(project.value("service stop up added").column("ok"), ["true", "true"]);
    assert_eq!(project.value("service start down fresh").column("ok"), ["true", "true"]);
    let pids = ["down", "fresh"].map(|name| project.pid(name));
    project.write("fail", "");
    assert!(!service_tests::Answer::wait_for(apply).success);
    assert_eq!(project.status("zeta")["state"], "ready", "it runs again as before");
    assert_eq!(["up", "added"].map(|name| project.status(name)["state"].clone()), ["stopped", "stopped"]);
    assert_eq!(["down", "fresh", "mid"].map(|name| project.pid(name)), [pids[0], pids[1], mid]);
    let order = project.value("service status").column("name");
    assert_eq!(order[..4], ["zeta", "up", "mid", "down"], "the order of the file");
}

#[test]
fn an_apply_that_goes_back_brings_what_was_added_again_as_well() {
    let zeta = |command: &str| format!("[services.zeta]\nstart_command = \"{command}\"\nrestart = \"no\"\n");
    let with_need = format!("{}[services.need]\nstart_command = \"TEST_SERVICE\"\n", zeta("TEST_SERVICE"));
    let Some(project) = Project::new(&with_need) else { return };
    project.value("[{name: added start_command: \"sleep 1000\" dependencies: [need]}] | service add");
    project.value("service start zeta need");
    // The service is removed together with its dependency.
    project.define(&zeta("false"));
    assert_eq!(project.error("service apply")["code"], "service::start_failed");
    assert_eq!(project.status("zeta")["state"], "ready");
    assert_eq!(["need", "added"].map(|name| project.status(name)["state"].clone()), ["ready", "stopped"]);
}

#[test]
fn what_an_apply_removes_is_forgotten_when_it_is_over_and_all_at_once() {
    let Some(project) = Project::new(
        r#"
[services.kept]
start_command = "TEST_SERVICE"
[services.quick]
start_command = "TEST_SERVICE"
[services.slow]
start_command = "TEST_SERVICE"
stop_command = "sh -c 'until [ -e go ]; do sleep 0.02; done; exit 1'"
"#,
    ) else {
        return;
    };
    project.value("service start --all");
    project.define("[services.kept]\nstart_command = \"TEST_SERVICE\"");
    let apply = project.spawn("service apply | to json --raw");
    let states = || {
        let rows = project.value("service status");
        let state = |name: &str| {
            rows.as_array()?.iter().find(|row| row["name"] == name)?["state"].as_str().map(str::to_owned)
        };
        (state("quick"), state("slow"))
    };
    eventually("one is at rest while the other stops", || {
        (states() == (Some("stopped".to_owned()), Some("stopping".to_owned()))).then_some(())
    });
    project.write("go", "");
    let done = apply.wait_with_output().expect("it ends");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(states(), (None, None));
    assert_eq!(plan(&project), [""; 0]);
}
