//! `service check`: every problem of a file as a row, without a daemon, and an exit code for CI.

use serde_json::Value;
use service_tests::{Project, ServiceTable, program};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

/// The only row with these words in its message.
#[track_caller]
fn about<'a>(rows: &'a Value, words: &str) -> &'a Value {
    let says = |row: &&Value| row["message"].as_str().is_some_and(|message| message.contains(words));
    let found: Vec<&Value> = rows.as_array().into_iter().flatten().filter(says).collect();
    assert_eq!(found.len(), 1, "`{words}` in {rows:#}");
    found[0]
}

#[test]
fn every_problem_of_a_file_is_a_row_with_its_service_its_key_and_its_place() {
    let Some(project) = Project::new(
        r#"[services.a]
start_command = "true"
dependencies = ["b"]
[services.b]
start_command = "true"
dependencies = ["a"]
[services.c]
start_command = "true"
dependencies = ["d"]
[services.d]
start_command = "true"
dependencies = ["c", "nobody", "e"]
[services.e]
start_command = "true"
[services.e.health]
interval = "soon"
[services.f]
restrat = "no"
"#,
    ) else {
        return;
    };
    let rows = project.value("service check");
    assert_eq!(about(&rows, "a -> b -> a")["line"], 3);
    assert_eq!(about(&rows, "a -> b -> a")["help"], "remove one of these dependencies; see also line 6");
    let second = about(&rows, "c -> d -> c");
    assert_eq!((&second["service"], &second["key"]), (&"c".into(), &"dependencies".into()));
    assert_eq!(about(&rows, "`nobody`")["line"], 12);
    let interval = about(&rows, "`interval`");
    assert_eq!((&interval["service"], &interval["key"]), (&"e".into(), &"health.interval".into()));
    assert_eq!((&interval["line"], &interval["column"]), (&16.into(), &12.into()));
    assert_eq!(about(&rows, "unknown key `restrat`")["help"], "did you mean `restart`?");
    let missing = about(&rows, "no `start_command`");
    assert_eq!((&missing["service"], &missing["key"]), (&"f".into(), &"start_command".into()));
    assert_eq!(rows.as_array().unwrap().len(), 6, "{rows:#}");
    assert!(rows.column("severity").iter().all(|severity| severity == "error"));
    assert!(project.processes().is_empty(), "no daemon is left behind");
}

#[test]
fn a_file_without_problems_gives_an_empty_table_and_success() {
    let Some(project) = Project::new("[services.a]\nstart_command = \"TEST_SERVICE\"\n") else { return };
    assert_eq!(project.value("service check"), Value::Array(Vec::new()));
    assert!(project.nu("service check --strict").success);
    assert!(project.processes().is_empty());
}

#[test]
fn a_strict_check_fails_and_tells_everything_and_a_plain_one_can_be_filtered() {
    let Some(project) = Project::new("[services.a]\nstart_comand = \"true\"\n") else { return };
    let strict = project.nu("service check --strict");
    assert!(!strict.success);
    for words in
        ["service::bad_definition", "unknown key `start_comand`", "services.toml:2:1", "`start_command`"]
    {
        assert!(strict.stderr.contains(words), "no {words} in {}", strict.stderr);
    }
    assert_eq!(project.value("service check | where severity == error | length"), 2);
    let config = project.path("services.toml");
    let without_nu =
        project.command(&program("orchestratord")).args(["check", "--config"]).arg(&config).output().unwrap();
    assert_eq!(without_nu.status.code(), Some(1), "also without Nushell");
    let other = project.write("other/my.toml", "[services.a]\nstart_command = 1\n");
    let rows = project.value("cd other; service check my.toml");
    assert_eq!(rows[0]["file"], other.to_str().unwrap());
    assert_eq!(project.error("service check nowhere.toml")["code"], "service::no_project");
}

#[test]
fn what_fails_every_start_is_an_error_and_what_else_will_not_work_here_is_a_warning() {
    let Some(project) = Project::new(
        r#"[orchestrator.service_defaults]
env_file = "secrets.env"
[services.a]
start_command = "no-such-program-anywhere --now"
user = "nobody-of-this-name"
health_check_endpoint = "http://localhost:18080/health"
[services.b]
start_command = "TEST_SERVICE"
working_dir = "~/nowhere"
health_check_endpoint = "tcp://127.0.0.1:18080"
[services.migrate]
start_command = "TEST_SERVICE"
oneshot = true
[services.c]
start_command = "TEST_SERVICE"
dependencies = [{ name = "migrate", when_lost = "restart" }]
"#,
    ) else {
        return;
    };
    let rows = project.value("service check");
    let is = |words: &str, severity: &str| {
        let row = about(&rows, words);
        assert_eq!(row["severity"], severity, "{row:#}");
        row.clone()
    };
    assert_eq!(is("`nobody-of-this-name`", "error")["key"], "user");
    assert_eq!(is("port 18080", "warning")["service"], "b");
    let directory = is("nowhere` does not exist", "warning");
    assert_eq!(
        (&directory["key"], &directory["help"]),
        (&"working_dir".into(), &"`~` is not expanded here: write the full path".into())
    );
    let lost = about(&rows, "one-shot");
    assert_eq!((&lost["service"], &lost["key"]), (&"c".into(), &"dependencies".into()));
    assert_eq!(lost["severity"], "warning");
    assert_eq!(is("secrets.env", "warning")["line"], 2, "what all have in common is said once");
    assert!(!project.nu("service check --strict").success);
    project.write("secrets.env", "A=1\n");
    project.define("[services.a]\nstart_command = \"no-such-program-anywhere --now\"\n");
    let missing = project.value("service check");
    let missing = about(&missing, "no-such-program-anywhere");
    assert_eq!((&missing["key"], &missing["severity"]), (&"start_command".into(), &"warning".into()));
}

/// Severity, key and a part of the message.
type Row = (&'static str, &'static str, &'static str);

/// For each service of a file, the expected row or its absence.
#[test]
fn programs_and_modules_are_looked_at_as_a_start_and_a_stop_find_them() {
    let Some(project) = Project::new("") else { return };
    let script = |name: &str, text: &str| {
        let path = project.write(name, text);
        fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    };
    script("windows", "#!/bin/sh\r\nsleep 1000\r\n");
    script("text", "sleep 1000\n");
    script("ruby", "#!/usr/bin/env ruby9\n");
    script("good", "#!/bin/sh\nexec sleep 1000\n");
    project.write("broken.nu", "export def start [] { {state: running }\n");
    project.write(
        "short.nu",
        "export def stop [] { {state: stopped} }\nexport def status [] { {state: stopped} }\n",
    );
    // Service, its keys, and the expected finding.
    let cases: &[(&str, &str, Option<Row>)] = &[
        ("windows", "start_command = './windows'", Some(("error", "start_command", "carriage return"))),
        ("text", "start_command = './text'", Some(("error", "start_command", "no `#!` line"))),
        ("ruby", "start_command = './ruby'", Some(("error", "start_command", "`ruby9`"))),
        ("good", "start_command = './good'", None),
        (
            "exec",
            "start_command = './good'\nhealth_check_endpoint = 'exec:no-such-check --now'",
            Some(("error", "health_check_endpoint", "`no-such-check` is not in PATH")),
        ),
        (
            "exec-later",
            "start_command = './good'\nready.log = 'x'\nhealth_check_endpoint = 'exec:./ruby'",
            Some(("warning", "health_check_endpoint", "`ruby9`")),
        ),
        ("exec-good", "start_command = './good'\nhealth_check_endpoint = 'exec:./text'", None),
        (
            "stopped",
            "start_command = './good'\nstop_command = 'no-such-stop'",
            Some(("warning", "stop_command", "`no-such-stop`")),
        ),
        (
            "asked",
            "manager = 'command'\nstart_command = 'true'\nstop_command = 'ls'\nstatus_command = './no-status'",
            Some(("error", "status_command", "`./no-status` does not exist")),
        ),
        (
            "stop-elsewhere",
            "manager = 'command'\nstart_command = 'job list; ^true'\nstop_command = '^no-such-stop'\nstatus_command = 'true'",
            Some(("warning", "stop_command", "`no-such-stop`")),
        ),
        ("module", "manager = './module.nu'", None),
        ("broken", "manager = './broken.nu'", Some(("error", "manager", "broken.nu"))),
        ("short", "manager = './short.nu'", Some(("error", "manager", "does not export `start`"))),
        (
            "user",
            "start_command = './good'\nuser = 'no-such-user'",
            Some(("error", "user", "`no-such-user`")),
        ),
    ];
    let sections = cases.iter().map(|(name, keys, _)| format!("[services.{name}]\n{keys}\n"));
    project.define(&sections.collect::<String>());
    let modules = |rows: &Value| {
        let of_module = |row: &&Value| row["key"] == "manager";
        let found = rows.as_array().unwrap().iter().filter(of_module);
        found.map(|row| format!("{}: {}", row["severity"], row["message"])).collect::<Vec<_>>()
    };
    // A module that is not accepted is not run.
    let [missing] = &*modules(&project.value("service check")) else { panic!("one module is missing") };
    assert!(missing.contains("error") && missing.contains("module.nu`"), "{missing}");
    project.write(
        "module.nu",
        "export def start [] { {state: running} }\nexport def stop [] { {state: stopped} }\nexport def status [] { {state: stopped} }\n",
    );
    assert_eq!(modules(&project.value("service check")), Vec::<String>::new());
    project.trust();
    let rows = project.value("service check");
    let text = project.read("services.toml");
    for (name, keys, expected) in cases {
        let mut found = rows.as_array().unwrap().iter().filter(|row| row["service"] == *name);
        let row = found.next();
        assert_eq!(found.next(), None, "{name}");
        let Some((severity, key, words)) = expected else {
            assert_eq!(row, None, "{name}");
            continue;
        };
        let row = row.unwrap_or_else(|| panic!("no row for {name} in {rows:#}"));
        assert_eq!((&row["severity"], &row["key"]), (&(*severity).into(), &(*key).into()), "{row:#}");
        assert!(row["message"].as_str().unwrap().contains(words), "{row:#}");
        assert!(row["help"].is_string(), "{row:#}");
        let section = text.find(&format!("[services.{name}]\n{keys}")).unwrap();
        let line = text[section..].lines().take_while(|line| !line.starts_with(key)).count()
            + text[..section].lines().count()
            + 1;
        assert_eq!(row["line"], line, "{row:#}");
        assert!(row["column"].is_u64(), "{row:#}");
    }
    assert!(project.processes().is_empty());
}

#[test]
fn keys_that_are_valid_and_do_not_what_they_seem_to_are_warned_of() {
    let Some(project) = Project::new(
        r#"[services.a]
start_command = "TEST_SERVICE"
pass_env = ["SSH_AUTH_SOCK"]
ready.log = ""
[services.b]
start_command = "TEST_SERVICE"
restart = "no"
backoff.limit = 3
dependencies = ["a", { name = "a", condition = "started" }]
health_check_endpoint = "tcp://127.0.0.1:1"
health.timeout = "50s"
ready.timeout = "20s"
[services.c]
start_command = "docker run --name web -d nginx"
[services.d]
start_command = "TEST_SERVICE"
group = "no-such-group"
"#,
    ) else {
        return;
    };
    let rows = project.value("service check");
    for (words, service, line) in [
        ("`pass_env` has no effect", "a", 3),
        ("`ready.log` is empty", "a", 4),
        ("`backoff.limit` has no effect", "b", 8),
        ("`a` is named twice, as `ready` and as `started`", "b", 9),
        ("`health.timeout` (50s) is longer than `ready.timeout` (20s)", "b", 11),
        ("`docker` hands the service to another supervisor", "c", 14),
        ("`group` needs `user`", "d", 17),
    ] {
        let row = about(&rows, words);
        assert_eq!((&row["service"], &row["line"]), (&service.into(), &line.into()), "{row:#}");
    }
    let of_d = rows.column("service").into_iter().filter(|service| service == "d").count();
    assert_eq!(of_d, 1, "{rows:#}");
    let Some(project) = Project::new(
        r#"[services.a]
start_command = "TEST_SERVICE"
env_clear = true
pass_env = ["SSH_AUTH_SOCK"]
ready.log = "ready"
restart = "on-failure"
backoff.limit = 3
[services.b]
start_command = "TEST_SERVICE"
dependencies = ["a"]
health_check_endpoint = "tcp://127.0.0.1:1"
health.timeout = "20s"
ready.timeout = "20s"
"#,
    ) else {
        return;
    };
    assert_eq!(project.value("service check"), Value::Array(Vec::new()));
}
