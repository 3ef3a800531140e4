//! `service check`: every problem of a file as a row, without a daemon, and an exit code for CI.

use serde_json::Value;
use service_tests::{Project, ServiceTable, program};

/// The one row with these words in its message.
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
fn what_will_not_work_here_is_a_warning() {
    let Some(project) = Project::new(
        r#"[orchestrator.service_defaults]
env_file = "secrets.env"
[services.a]
start_command = "no-such-program-anywhere --now"
user = "nobody-of-this-name"
health_check_endpoint = "http://localhost:18080/health"
[services.b]
start_command = "TEST_SERVICE"
working_dir = "nowhere"
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
    assert!(rows.column("severity").iter().all(|severity| severity == "warning"), "{rows:#}");
    assert_eq!(about(&rows, "`nobody-of-this-name`")["key"], "user");
    assert_eq!(about(&rows, "port 18080")["service"], "b");
    assert_eq!(about(&rows, "not a directory")["key"], "working_dir");
    assert_eq!(about(&rows, "secrets.env")["line"], 2, "what all have in common is said once");
    let lost = about(&rows, "one-shot");
    assert_eq!((&lost["service"], &lost["key"]), (&"c".into(), &"dependencies".into()));
    assert!(project.nu("service check --strict").success, "warnings fail no check");
    project.write("secrets.env", "A=1\n");
    project.define("[services.a]\nstart_command = \"no-such-program-anywhere --now\"\n");
    assert_eq!(about(&project.value("service check"), "no-such-program-anywhere")["key"], "start_command");
}
