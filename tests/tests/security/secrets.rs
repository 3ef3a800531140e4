//! Secrets of a `services.toml` appear in no response, event, log or error.

use service_tests::{Project, eventually, http};
use std::fs;

const SECRET: &str = "hunter2-and-more";

fn project() -> Option<Project> {
    Project::new(&format!(
        r#"
        [services.web]
        description = "--api-key {SECRET}"
        start_command = "TEST_SERVICE --token={SECRET}"
        stop_command = "curl -H 'Authorization: Bearer {SECRET}' localhost"
        manager = "process"
        env = {{ DB_PASSWORD = "{SECRET}", PLAIN = "{SECRET}" }}
        health_check_endpoint = "http://me:{SECRET}@127.0.0.1:1/"
        ready = {{ timeout = "1s" }}
        restart = "no"
        [services.says]
        start_command = "TEST_SERVICE"
        env = {{ DB_PASSWORD = "{SECRET}" }}
        health_check_endpoint = "exec:sh -c 'echo $DB_PASSWORD >&2; exit 1'"
        ready = {{ timeout = "1s" }}
        restart = "no"
        [services.missing]
        start_command = "no-such-program --password {SECRET}"
        restart = "no"
        [services.moved]
        start_command = "TEST_SERVICE --secret {SECRET}"
        working_dir = "nowhere/token={SECRET}"
        restart = "no"
        "#
    ))
}

#[track_caller]
fn tells_none(what: &str, text: &str) {
    assert!(!text.contains(SECRET), "{what} tells it: {text}");
}

#[test]
fn no_answer_event_log_or_error_tells_a_secret() {
    let Some(project) = project() else { return };
    let started = project.nu("service start --all");
    tells_none("an error in Nushell", &format!("{}{}", started.stdout, started.stderr));
    let socket = project.socket();
    eventually("all have failed", || {
        let (_, status) = http(&socket, "GET", "/api/v1/services/status");
        let rows = status["data"].as_array()?;
        rows.iter().all(|row| row["status"] == "failed").then_some(())
    });
    let names = ["web", "says", "missing", "moved"];
    let mut paths: Vec<String> = [
        "services/list",
        "services/status?long=true",
        "services/order",
        "services/history",
        "events",
        "graph",
        "plan",
        "daemon",
    ]
    .map(|path| format!("/api/v1/{path}"))
    .into();
    for name in names {
        paths.push(format!("/api/v1/services/{name}"));
        paths.extend(["status", "health", "why"].map(|what| format!("/api/v1/services/{name}/{what}")));
    }
    for path in paths {
        let (_, answer) = http(&socket, "GET", &path);
        tells_none(&path, &answer.to_string());
    }
    let (_, answer) = http(&socket, "POST", "/api/v1/services/missing/start");
    tells_none("a failed start", &answer.to_string());
    for line in [
        "service status --long",
        "service list",
        "service why says",
        "service history",
        "service events",
        "service plan",
    ] {
        let said = project.nu(&format!("{line} | to json"));
        tells_none(line, &format!("{}{}", said.stdout, said.stderr));
    }
    for file in ["orchestratord.log", "journal.jsonl", "checks.jsonl", "state.json"] {
        let text = fs::read_to_string(project.state_dir().join(file)).unwrap_or_default();
        tells_none(file, &text);
        assert!(file == "checks.jsonl" || !text.is_empty(), "{file} is empty");
    }
    let (_, list) = http(&socket, "GET", "/api/v1/services/list");
    assert!(list.to_string().contains("--token=***"), "{list}");
}

#[test]
fn what_is_wrong_with_a_file_shows_no_secret_of_it() {
    let Some(project) = Project::new("") else { return };
    for wrong in [
        format!("[services.a]\nstart_command = 'a'\nenv = {{ A = '{SECRET}', B = [1] }}"),
        format!("[services.a.env]\nA = '{SECRET}"),
        format!("[services.a]\nstart_command = ['a', '--password', '{SECRET}', 5]"),
        format!("[services.a]\nhealth_check_endpoint = 'gopher://a:{SECRET}@b'\nstart_command = 'a'"),
        format!("[services.a]\nstart_command = 'a --token {SECRET}"),
        format!("[services.a]\nstart_command = 'a'\nmy_password = '{SECRET}'"),
    ] {
        project.write("services.toml", &wrong);
        for line in
            ["service check", "service check --strict", "service status", "service list", "service start a"]
        {
            let said = project.nu(&format!("{line} | to json"));
            let told = format!("{}{}", said.stdout, said.stderr);
            tells_none(&format!("{line} of {wrong}"), &told);
        }
    }
    project.write("services.toml", "");
    let body = format!(
        "[{{name: a start_command: x health_check_endpoint: 'gopher://a:{SECRET}@b'}}] | service add"
    );
    let rendered = project.error(&body)["msg"].to_string();
    tells_none("an addition", &rendered);
}

#[test]
fn what_has_to_hold_secrets_on_disk_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let Some(project) = project() else { return };
    drop(project.nu("service start says"));
    project.value("[{name: other start_command: TEST_SERVICE env: {TOKEN: abc}}] | service add");
    let state = project.state_dir();
    for file in ["additions.json", "definitions.jsonl", "journal.jsonl", "state.json", "orchestratord.log"] {
        let mode = fs::metadata(state.join(file))
            .unwrap_or_else(|error| panic!("{file}: {error}"))
            .permissions()
            .mode();
        assert_eq!(mode & 0o077, 0, "{file}");
    }
    let kept = fs::read_to_string(state.join("definitions.jsonl")).expect("it is there");
    tells_none("definitions.jsonl", &kept);
}
