//! The token `read` changes nothing on the machine and reveals no program output.

use crate::{address, bearer, open_project, request, token};
use service_tests::{ServiceTable, eventually};
use std::thread;

const PRIVATE: &str = "private-words";

#[test]
fn who_may_only_read_has_checks_run_once_for_all_and_reads_nothing_that_they_write() {
    let services = format!(
        r#"
        [services.counted]
        start_command = "TEST_SERVICE say up"
        ready = {{ log = "up" }}
        health_check_endpoint = "exec:sh -c 'echo run >> runs; sleep 0.5; echo {PRIVATE}'"
        health = {{ interval = "1h" }}

        [services.failing]
        start_command = "TEST_SERVICE say up"
        ready = {{ log = "up" }}
        health_check_endpoint = "exec:sh -c 'echo {PRIVATE} >&2; exit 3'"
        health = {{ interval = "50ms", retries = 1, start_period = "0s" }}
        "#
    )
    // The harness's test service comes later in PATH.
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
            scope.spawn(|| assert_eq!(request(&at, "GET", "/api/v1/services/counted/health", &read).0, 200));
        }
    });
    let run = runs() - before;
    assert!(run <= 6, "24 requests at once were {run} runs");

    let get = |path: &str, headers: &str| request(&at, "GET", path, headers).2.to_string();
    let failing = "/api/v1/services/failing";
    for path in [
        format!("{failing}/health"),
        format!("{failing}/why"),
        "/api/v1/services/status?long=true".to_owned(),
        "/api/v1/events".to_owned(),
        "/api/v1/services/history".to_owned(),
    ] {
        // The command line contains the word as well.
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

#[test]
fn who_may_only_read_is_told_nothing_that_a_manager_or_a_stop_command_said() {
    let services = format!(
        r#"
        [services.lamp]
        manager = "lamp.nu"
        health = {{ interval = "100ms" }}

        [services.dark]
        manager = "lamp.nu"
        with = {{ fails = true }}

        [services.shade]
        manager = "command"
        start_command = "true"
        stop_command = "true"
        status_command = "print {PRIVATE}"
        health = {{ interval = "100ms" }}

        [services.knob]
        start_command = "TEST_SERVICE say up"
        ready = {{ log = "up" }}
        stop_command = "print --stderr {PRIVATE}; exit 3"
        "#
    )
    .replace("        ", "");
    let Some(project) = open_project(&services) else { return };
    project.write(
        "lamp.nu",
        &"export def start []: record -> record { if $in.with?.fails? == true { error make {msg: 'WORD', help: 'WORD'} }; {state: running} }\n\
          export def status []: record -> record { {state: running message: 'WORD'} }\n\
          export def check []: nothing -> record { {present: true message: 'WORD'} }\n\
          export def stop []: record -> record { {state: stopped} }"
            .replace("WORD", PRIVATE),
    );
    project.value("service start lamp shade knob");
    let error = project.error("service start dark");
    assert!(error["msg"].as_str().is_some_and(|told| told.contains(&format!("“{PRIVATE}"))), "{error}");
    project.value("service stop knob");

    let at = address(&project);
    let headers = |role: &str| bearer(&at, &token(&project, role));
    let (read, admin) = (headers("read"), headers("admin"));
    let get = |path: &str, headers: &str| request(&at, "GET", path, headers).2.to_string();
    // The text of a definition is private.
    let told = |path: &str, headers: &str| get(path, headers).contains(&format!("“{PRIVATE}"));
    for path in [
        "/api/v1/services/lamp/health",
        "/api/v1/services/lamp/why",
        "/api/v1/services/shade/health",
        "/api/v1/services/dark/why",
        "/api/v1/services/dark/status",
        "/api/v1/services/status?long=true",
        "/api/v1/services/history",
        "/api/v1/events",
        "/api/v1/managers",
        "/api/v1/why",
    ] {
        eventually(&format!("its owner reads it at {path}"), || told(path, &admin).then_some(()));
        assert!(!told(path, &read), "{path}: {}", get(path, &read));
        assert!(get(path, &read).contains("“…”"), "{path}: {}", get(path, &read));
    }
    let stopped = get("/api/v1/events", &admin);
    assert!(stopped.contains("its stop command failed"), "{stopped}");
}

#[test]
fn what_is_run_for_who_may_only_read_is_bounded() {
    let check = "exec:sh -c 'echo begin >> runs; sleep 0.3; echo end >> runs'";
    let service = |nth: usize| {
        format!(
            "[services.s{nth}]\nstart_command = \"TEST_SERVICE say up\"\nready = {{ log = \"up\" }}\n\
             health_check_endpoint = \"{check}\"\nhealth = {{ interval = \"1h\" }}\n"
        )
    };
    let Some(project) = open_project(&(0..24).map(service).collect::<String>()) else { return };
    project.value("service start --all");
    let at = address(&project);
    let read = bearer(&at, &token(&project, "read"));
    eventually("what its start has run is over", || {
        let (begun, ended) = runs(&project.read("runs"));
        (begun.len() == ended).then_some(())
    });
    project.write("runs", "");
    thread::scope(|scope| {
        for nth in 0..24 {
            let (at, read) = (&at, &read);
            let path = format!("/api/v1/services/s{nth}/health");
            scope.spawn(move || assert_eq!(request(at, "GET", &path, read).0, 200));
        }
    });
    let (begun, ended) = runs(&project.read("runs"));
    assert_eq!((begun.len(), ended), (24, 24));
    assert!(begun.iter().all(|running| *running <= 8), "{begun:?}");
}

/// The number of runs at the beginning of each run, including itself; and the number of ended runs.
fn runs(text: &str) -> (Vec<usize>, usize) {
    let (mut begun, mut ended) = (Vec::new(), 0);
    for line in text.lines() {
        match line {
            "begin" => begun.push(begun.len() + 1 - ended),
            _ => ended += 1,
        }
    }
    (begun, ended)
}
