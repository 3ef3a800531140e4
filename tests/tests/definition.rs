//! Errors in a `services.toml`, and requests for undefined services: with exact locations and help.

use serde_json::Value;
use service_tests::{Project, ServiceTable, http};

/// Asserts that the message contains every word.
#[track_caller]
fn says(error: &Value, words: &[&str]) {
    let text = format!("{} {}", error["msg"], error["help"]);
    for word in words {
        assert!(text.contains(word), "no {word} in {error:#}");
    }
}

#[test]
fn a_cycle_is_told_as_a_path_with_the_places_of_its_edges() {
    let Some(project) = Project::new(
        r#"[services.a]
start_command = "true"
dependencies = ["b"]
[services.b]
start_command = "true"
dependencies = ["c"]
[services.c]
start_command = "true"
dependencies = ["a"]
[services.innocent]
start_command = "true"
dependencies = ["a"]
"#,
    ) else {
        return;
    };
    for line in ["service order", "service start innocent", "service status"] {
        let error = project.error(line);
        assert_eq!(error["code"], "service::bad_definition", "{error}");
        says(&error, &["a -> b -> c -> a", "services.toml:3:17", "services.toml:6:17", "services.toml:9:17"]);
        assert!(!error["msg"].as_str().unwrap().contains("innocent"), "{error}");
    }
}

#[test]
fn an_unknown_key_is_shown_in_its_line_with_a_suggestion() {
    let Some(project) = Project::new(
        "[services.web]\nstart_command = \"true\"\n\n[services.web.health]\nintervall = \"1s\"\n",
    ) else {
        return;
    };
    let error = project.error("service start web");
    assert_eq!(error["code"], "service::bad_definition");
    says(&error, &["services.toml:5:1", "intervall", "`interval`", "^^^^^^^^^"]);
}

#[test]
fn an_unknown_dependency_is_shown_in_its_line_with_a_suggestion() {
    let Some(project) = Project::new(
        "[services.database]\nstart_command = \"true\"\n[services.web]\nstart_command = \"true\"\ndependencies = [\"databse\"]\n",
    ) else {
        return;
    };
    let error = project.error("service order web");
    assert_eq!(error["code"], "service::bad_definition");
    says(&error, &["services.toml:5:17", "`databse`", "`database`"]);
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let Some(project) = Project::new(
        "[services.a]\nstart_comand = \"true\"\n[services.b]\nstart_command = \"true\"\nrestart = \"sometimes\"\nstop_timeout = \"soon\"\n",
    ) else {
        return;
    };
    says(
        &project.error("service status"),
        &["services.toml:2:1", "services.toml:5:11", "services.toml:6:16"],
    );
}

#[test]
fn a_file_that_is_not_toml_is_shown_where_it_breaks() {
    let Some(project) = Project::new("[services.web]\nstart_command = \"true\n") else { return };
    says(&project.error("service status"), &["services.toml:2:"]);
}

#[test]
fn a_reserved_name_is_refused() {
    let Some(project) = Project::new("[services.status]\nstart_command = \"true\"\n") else { return };
    says(&project.error("service list"), &["services.toml:1:11", "`status`"]);
}

#[test]
fn a_service_that_is_not_there_is_refused_with_a_suggestion() {
    let Some(project) = Project::new("[services.web-app]\nstart_command = \"TEST_SERVICE\"\n") else {
        return;
    };
    for line in ["start", "stop", "status", "health", "logs", "order"] {
        let error = project.error(&format!("service {line} web-ap"));
        assert_eq!(error["code"], "service::not_found", "{line}: {error}");
        says(&error, &["`web-ap`", "`web-app`"]);
    }
}

#[test]
fn a_directory_without_a_project_says_how_to_get_one() {
    let Some(project) = Project::new("") else { return };
    std::fs::remove_file(project.path("services.toml")).unwrap();
    let error = project.error("service status");
    assert_eq!(error["code"], "service::no_project", "{error}");
    says(&error, &["services.toml"]);
}

#[test]
fn a_change_of_the_file_is_seen_by_the_next_command() {
    let Some(project) = Project::new("[services.a]\nstart_command = \"TEST_SERVICE\"\n") else { return };
    project.value("service start a");
    let pid = project.pid("a");
    project.define("[services.a]\nstart_command = \"TEST_SERVICE\"\n[services.b]\nstart_command = \"TEST_SERVICE\"\ndependencies = [\"a\"]\n");
    assert_eq!(project.value("service start b").row("b")["action"], "started");
    assert_eq!(project.pid("a"), pid, "what did not change runs on");
    project.define("[services.a]\nstart_command = 1\n");
    assert_eq!(project.error("service start a")["code"], "service::bad_definition");
    project.define("[services.a]\nstart_command = \"TEST_SERVICE\"\n");
    assert_eq!(project.pid("a"), pid);
}

#[test]
fn a_reading_command_leaves_no_daemon_behind() {
    let Some(project) = Project::new(
        "[services.a]\nstart_command = \"TEST_SERVICE\"\n[services.b]\nstart_command = \"TEST_SERVICE\"\n",
    ) else {
        return;
    };
    assert_eq!(project.value("service list").column("name"), ["a", "b"]);
    assert_eq!(project.value("service order").column("step"), ["1", "2"]);
    assert!(project.processes().is_empty());
}

#[test]
fn with_an_invalid_file_what_runs_is_checked_and_explained() {
    let Some(project) = Project::new("[services.web]\nstart_command = \"TEST_SERVICE\"\n") else { return };
    project.value("service start web");
    project.define("[services.web]\nstart_command = \"TEST_SERVICE\nold = 1\n");
    for command in ["service health", "service health web"] {
        assert_eq!(project.value(command).row("web")["healthy"], true);
    }
    assert_eq!(project.value("service why"), serde_json::json!([]));
    let (status, answer) = http(&project.socket(), "GET", "/api/v1/why");
    assert_eq!(status, 200);
    assert!(answer["notes"][0].as_str().unwrap().contains("the previous definitions apply"), "{answer}");
}

/// The file has so many errors that its load takes longer than a reader waits.
#[test]
fn a_reader_does_not_wait_until_a_large_file_is_loaded() {
    let Some(project) = Project::new("[services.web]\nstart_command = \"TEST_SERVICE\"\n") else { return };
    project.value("service start web");
    let wrong: Vec<String> =
        (0..8000).map(|number| format!("[services.s{number}]\nstart_comand = \"x\"\n")).collect();
    let wrong = wrong.concat();
    project.define(&format!("[services.web]\nstart_command = \"TEST_SERVICE\"\n{wrong}"));
    let socket = project.socket();
    let status = || http(&socket, "GET", "/api/v1/services/status?names=web");
    let (code, answer) = status();
    assert_eq!((code, &answer["data"][0]["status"]), (200, &"running".into()));
    let note = |answer: &Value| answer["notes"][0].as_str().unwrap_or_default().to_owned();
    assert!(note(&answer).contains("is being loaded; the previous definitions apply"), "{answer}");
    // A service that only the new file may define is waited for.
    let (code, answer) = http(&socket, "GET", "/api/v1/services/status?names=s1");
    assert_eq!((code, &answer["error"]["code"]), (404, &"not_found".into()), "{answer}");
    let loaded = note(&status().1);
    assert!(
        loaded.ends_with("; the previous definitions apply") && !loaded.contains("is being loaded"),
        "{loaded}"
    );
}
