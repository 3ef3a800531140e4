//! `service graph`: rows, a tree with states, and text for documents.

use service_tests::{Project, ServiceTable};

const DIAMOND: &str = r#"
[services.db]
start_command = "TEST_SERVICE"
[services.api]
start_command = "TEST_SERVICE"
dependencies = [{ name = "db", condition = "healthy", when_lost = "restart" }]
[services.jobs]
start_command = "TEST_SERVICE"
dependencies = ["db"]
[services.web]
start_command = "TEST_SERVICE"
dependencies = ["api", "jobs"]
[services.coredns]
start_command = "true"
manager = "command"
stop_command = "true"
"#;

#[test]
fn without_a_daemon_everything_is_stopped_or_unknown_and_none_is_left_behind() {
    let Some(project) = Project::new(DIAMOND) else { return };
    let rows = project.value("service graph");
    assert_eq!(rows.column("name"), ["db", "coredns", "api", "jobs", "web"]);
    assert_eq!(rows.column("level"), ["0", "0", "1", "1", "2"]);
    assert_eq!(rows.row("db")["dependents"], serde_json::json!(["api", "jobs"]));
    assert_eq!(rows.row("web")["dependencies"], serde_json::json!(["api", "jobs"]));
    assert_eq!(rows.row("db")["state"], "stopped");
    assert_eq!(rows.row("coredns")["state"], "unknown", "its manager was not asked");
    assert_eq!(project.value("service graph api").column("name"), ["db", "api"]);
    assert!(project.processes().is_empty());
}

#[test]
fn states_are_those_of_the_daemon_and_what_runs_without_one_is_unknown() {
    let Some(project) = Project::new(DIAMOND) else { return };
    project.value("service start api");
    let tree = project.nu("service graph --format tree").stdout;
    let drawn = "web  ○ stopped\n├─ api  ● ready\n│  └─ db  ● ready  (healthy, restart when lost)\n\
                 └─ jobs  ○ stopped\n   └─ db  ● ready  ↑ see above\n";
    assert!(tree.starts_with(drawn), "{tree}");
    project.kill_daemon();
    assert_eq!(project.value("service graph").row("api")["state"], "unknown");
    assert_eq!(project.value("service graph").row("jobs")["state"], "stopped");
    assert_eq!(project.value("service daemon status")["running"], false);
    assert_eq!(project.value("service status").row("api")["state"], "ready", "the next daemon takes it over");
}

#[test]
fn documents_are_text_and_a_format_that_does_not_exist_is_refused() {
    let Some(project) = Project::new(DIAMOND) else { return };
    let mermaid = project.nu("service graph api --format mermaid").stdout;
    assert_eq!(
        mermaid.trim_end(),
        "flowchart TD\n    n0[\"db\"]\n    n1[\"api\"]\n    n1 -->|\"healthy, restart when lost\"| n0"
    );
    let dot = project.nu("service graph -f dot | lines | where $it =~ 'jobs. ->' | first").stdout;
    assert_eq!(dot.trim(), r#""jobs" -> "db" [label="ready"];"#);
    let error = project.error("service graph --format png");
    assert_eq!(error["code"], "service::bad_request");
    assert_eq!(project.error("service graph wbe")["code"], "service::not_found");
}
