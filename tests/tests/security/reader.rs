//! The token for reading: it is no lever on the machine, and tells nothing that a program wrote.

use crate::{address, ask, bearer, open_project, token};
use service_tests::{ServiceTable, eventually};
use std::thread;

const PRIVATE: &str = "private-words";

#[test]
fn who_may_only_read_has_checks_run_once_for_all_and_reads_nothing_that_they_write() {
    let services = format!(
        r#"
        [services.counted]
        start_command = "ACTOR say up"
        ready = {{ log = "up" }}
        health_check_endpoint = "exec:sh -c 'echo run >> runs; sleep 0.5; echo {PRIVATE}'"
        health = {{ interval = "1h" }}

        [services.failing]
        start_command = "ACTOR say up"
        ready = {{ log = "up" }}
        health_check_endpoint = "exec:sh -c 'echo {PRIVATE} >&2; exit 3'"
        health = {{ interval = "50ms", retries = 1, start_period = "0s" }}
        "#
    )
    // The service of the harness stands behind it.
    .replace("        ", "");
    let Some(project) = open_project(&services) else { return };
    project.value("service start counted failing");
    let at = address(&project);
    let headers = |role: &str| bearer(&at, &token(&project, role));
    let (read, admin) = (headers("read"), headers("admin"));

    let runs = || std::fs::read_to_string(project.path("runs")).unwrap_or_default().lines().count();
    let before = runs();
    thread::scope(|scope| {
        for _ in 0..24 {
            scope.spawn(|| assert_eq!(ask(&at, "GET", "/api/v1/services/counted/health", &read).0, 200));
        }
    });
    let run = runs() - before;
    assert!(run <= 6, "24 requests at once were {run} runs");

    let get = |path: &str, headers: &str| ask(&at, "GET", path, headers).2.to_string();
    let failing = "/api/v1/services/failing";
    for path in [
        format!("{failing}/health"),
        format!("{failing}/why"),
        "/api/v1/services/status?long=true".to_owned(),
        "/api/v1/events".to_owned(),
        "/api/v1/services/history".to_owned(),
    ] {
        // The command itself has the word as well.
        let told = |headers: &str| get(&path, headers).contains(&format!("“{PRIVATE}”"));
        eventually(&format!("its owner reads it at {path}"), || told(&admin).then_some(()));
        let answer = get(&path, &read);
        assert!(answer.contains("ended with code 3: “…”"), "{path}: {answer}");
        assert!(!answer.contains(&format!("“{PRIVATE}")), "{path}: {answer}");
    }
    assert!(
        project.value("service health failing").row("failing")["message"]
            .as_str()
            .is_some_and(|message| message.ends_with(&format!("“{PRIVATE}”")))
    );
}
