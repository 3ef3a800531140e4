//! Nushell values as input and output: table commands work with the results, and errors have a code and a label.

use serde_json::json;
use service_tests::{Project, ServiceTable};

const SERVICES: &str = r#"
[services.db]
start_command = "TEST_SERVICE say hello"
[services.api]
start_command = "TEST_SERVICE say hello"
dependencies = ["db"]
[services.bad]
start_command = "TEST_SERVICE exit 3"
restart = "no"
"#;

fn started() -> Option<Project> {
    let project = Project::new(SERVICES)?;
    project.value("service start db api");
    Some(project)
}

#[test]
fn the_item_of_a_closure_that_is_no_service_says_nothing_against_names() {
    let Some(project) = started() else { return };
    let waited = "[ready running] | each {|state| service wait db --for $state | get 0.name }";
    assert_eq!(project.value(waited), json!(["db", "db"]));
    assert_eq!(project.value("ls | each { service status db | get 0.name } | uniq"), json!(["db"]));
    assert_eq!(project.error("'api' | service status db")["code"], "service::ambiguous_input");
    let error = project.error("'tree' | service graph --format tree");
    assert_eq!(error["code"], "service::not_found");
    assert!(error["help"].as_str().is_some_and(|help| help.contains("null | service")), "{error:#}");
}

#[test]
fn every_table_goes_through_nuon_json_and_csv_and_back() {
    let Some(project) = started() else { return };
    let flat = [
        "service status",
        "service start db",
        "service restart api",
        "service wait db",
        "service health",
        "service logs",
        "service events",
        "service history",
        "service history --starts",
        "service check",
        "service plan --all",
        "service apply",
        "service projects",
        "service managers",
    ];
    // CSV has no lists.
    let nested = ["service list", "service order", "service graph", "service status --long"];
    for line in flat.iter().chain(&nested) {
        let same = format!("let table = {line}; ($table | to nuon | from nuon) == $table");
        assert_eq!(project.value(&same), true, "{line}");
        let columns = format!(
            "let table = {line}; let back = $table | to json | from json
             ($back | columns) == ($table | columns) and ($back | length) == ($table | length)"
        );
        assert_eq!(project.value(&columns), true, "{line}");
    }
    for line in flat {
        let columns = format!(
            "let table = {line}; let back = $table | to csv | from csv
             ($back | columns) == ($table | columns) and ($back | length) == ($table | length)"
        );
        assert_eq!(project.value(&columns), true, "{line}");
    }
    for line in ["service why api", "service daemon status"] {
        let same = format!("let record = {line}; ($record | to nuon | from nuon) == $record");
        assert_eq!(project.value(&same), true, "{line}");
    }
}

#[test]
fn cells_are_values_that_nushell_can_compare_sort_and_group() {
    let Some(project) = started() else { return };
    let types = "service status db | first | values | each { describe }";
    assert_eq!(
        project.value(types),
        json!(["string", "string", "string", "string", "int", "duration", "filesize", "int"])
    );
    assert_eq!(project.value("service status | where uptime > 1min | length"), 0);
    assert_eq!(project.value("service status | where uptime < 1min | length"), 2);
    assert_eq!(project.value("service status | where memory > 1kb | length"), 2);
    assert_eq!(project.value("service status | sort-by memory | length"), 3);
    assert_eq!(
        project.value("service status | group-by state | columns | sort"),
        json!(["ready", "stopped"])
    );
    assert_eq!(project.value("service status | where pid != null | join (ps) pid | length"), 2);
    assert_eq!(project.value("service status | get memory | compact | math sum | describe"), "filesize");
    assert_eq!(project.value("service logs | where time > ((date now) - 1hr) | length"), 2);
}

#[test]
fn closures_may_pipe_their_item_in() {
    let Some(project) = started() else { return };
    let states = json!(["ready", "ready"]);
    for line in [
        "[db api] | each {|name| service status $name | get 0.state }",
        "[db api] | each { service status | get 0.state }",
        "service status db api | each {|row| service status $row.name | get 0.state }",
        "service status db api | each {|row| service why $row.name | get state }",
        "1..2 | each {|n| service status db | get 0.state }",
        "1..2 | each { service status | get 0.state }",
    ] {
        assert_eq!(project.value(line), states, "{line}");
    }
    assert_eq!(project.error("1..2 | each { service stop }")["code"], "nu::shell::eval_block_with_input");
    assert_eq!(project.value("service status").column("state"), ["ready", "ready", "stopped"]);
}

#[test]
fn fifty_calls_at_once_are_each_answered() {
    let Some(project) = started() else { return };
    let rows = "1..50 | par-each --threads 50 { service status | length } | uniq";
    assert_eq!(project.value(rows), json!([3]));
    let lines =
        "1..50 | par-each --threads 50 { service logs db api | where stream == stdout | length } | uniq";
    assert_eq!(project.value(lines), json!([2]));
    let wrong =
        "1..50 | par-each --threads 50 { try { service status no } catch {|e| $e.details.code } } | uniq";
    assert_eq!(project.value(wrong), json!(["service::not_found"]));
    let mixed = "1..50 | par-each --threads 50 {|n|
        if $n mod 2 == 0 { service start bad db | where name == db } else { service restart db --no-dependents }
        | get 0.ok } | uniq";
    assert_eq!(project.value(mixed), json!([true]));
}

#[test]
fn what_is_wrong_has_a_code_and_a_mark_in_the_own_text() {
    let Some(project) = started() else { return };
    for (line, code) in [
        ("service status no", "not_found"),
        ("[db no] | service status", "not_found"),
        ("service start no", "not_found"),
        ("service why no", "not_found"),
        ("service logs no", "not_found"),
        ("service logs no --follow", "not_found"),
        ("service wait no", "not_found"),
        ("service health no", "not_found"),
        ("service history no", "not_found"),
        ("service order no", "not_found"),
        ("service graph no", "not_found"),
        ("service list no", "not_found"),
        ("[[nam]; [db]] | service status", "bad_row"),
        ("[[name]; [5]] | service start", "bad_row"),
        ("{a: 1} | service stop", "bad_row"),
        ("'api' | service status db", "ambiguous_input"),
        ("service stop db --all", "ambiguous_input"),
        ("[db] | service stop --all", "ambiguous_input"),
        ("service stop", "no_names"),
        ("5 | service stop", "no_names"),
        ("service logs --tail -1", "bad_request"),
        ("service logs --since soon", "bad_request"),
        ("service events --since soon", "bad_request"),
        ("service wait db --for never", "bad_request"),
        ("service graph --format png", "bad_request"),
        ("service wait db --for stopped --timeout 1ms", "timeout"),
        ("service wait bad --for completed", "never"),
        ("service start bad", "start_failed"),
        ("service strat db", "unknown_subcommand"),
    ] {
        let error = project.error(line);
        assert_eq!(error["code"], format!("service::{code}"), "{line}: {error}");
        let rendered = error["rendered"].as_str().unwrap();
        assert!(rendered.contains(line.split(' ').next().unwrap()), "{line} shows its own text: {rendered}");
    }
    assert_eq!(
        project.value("service status").column("state"),
        ["ready", "ready", "failed"],
        "nothing was stopped"
    );
    let uncaught = project.nu("service status no");
    assert!(!uncaught.success && uncaught.stdout.is_empty(), "{uncaught:?}");
}

#[test]
fn an_empty_pipe_means_nobody() {
    let Some(project) = started() else { return };
    for command in
        ["status", "start", "stop", "restart", "health", "logs", "wait", "list", "order", "graph", "history"]
    {
        let line = format!("service status | where name == nobody | service {command}");
        assert_eq!(project.value(&line), json!([]), "{line}");
    }
    assert_eq!(project.value("service status").column("state"), ["ready", "ready", "stopped"]);
}
