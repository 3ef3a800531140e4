//! `GET /metrics` of the real daemon: both formats, validated by their tools, and the values after known events.

#![expect(clippy::float_cmp, reason = "counts are whole numbers")]

use nix::sys::signal::Signal;
use service_tests::{Project, ServiceTable, eventually, http, installed, signal, skip};
use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

const OPEN: &str = "application/openmetrics-text; version=1.0.0";
/// Parses the page with the reference parser, and prints the names of the families.
const READER: &str = "
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
print(' '.join(family.name for family in text_string_to_metric_families(sys.stdin.read())))
";

/// Head and body of the response.
fn get(socket: &Path, accept: &str) -> (String, String) {
    let mut stream = UnixStream::connect(socket).expect("the daemon listens");
    write!(
        stream,
        "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAccept: {accept}\r\n\r\n"
    )
    .expect("the daemon reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the daemon answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer has a head");
    (head.to_ascii_lowercase(), body.to_owned())
}

/// Every sample by its name with labels.
fn samples(page: &str) -> BTreeMap<String, f64> {
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    let pairs = lines.map(|line| line.rsplit_once(' ').expect("a sample has a value"));
    pairs.map(|(name, value)| (name.to_owned(), value.parse().expect("it is a number"))).collect()
}

/// The samples in the default format.
fn scrape(socket: &Path) -> BTreeMap<String, f64> {
    samples(&get(socket, "*/*").1)
}

/// The output of a tool for a page.
fn read_by(mut tool: Command, page: &str) -> String {
    let mut tool = tool
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it can be run");
    tool.stdin.take().expect("it is a pipe").write_all(page.as_bytes()).expect("it reads");
    let output = tool.wait_with_output().expect("it ends");
    let said =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{said}");
    said
}

const SERVICES: &str = r#"
[services.web]
start_command = "i=0; while [ $i -lt 100 ]; do i=$((i+1)); echo line $i; done; exec sleep 1000"
shell = "sh"
[services.slow]
start_command = "sleep 0.6; echo up; exec sleep 1000"
shell = "sh"
ready = { log = "up" }
[services.idle]
start_command = "true"
"#;

#[test]
fn both_formats_are_read_without_a_complaint_by_the_tools_that_define_them() {
    let Some(project) = Project::new(SERVICES) else { return };
    project.value("service start web");
    let socket = project.socket();
    let (head, plain) = get(&socket, "text/plain");
    assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    let (head, open) = get(&socket, OPEN);
    assert!(head.contains(&format!("content-type: {OPEN}")), "{head}");
    let names = |page: &str| samples(page).into_keys().collect::<Vec<_>>();
    assert_eq!(names(&plain), names(&open));
    match installed("promtool") {
        Some(promtool) => {
            let mut tool = Command::new(promtool);
            tool.args(["check", "metrics"]);
            assert_eq!(read_by(tool, &plain), "");
        }
        None => skip("there is no promtool"),
    }
    // The system's Python has the system's packages, even if another Python comes first on PATH.
    let mut pythons = ["/usr/bin/python3", "python3"].into_iter();
    let has_it = |python: &&str| {
        let tried =
            Command::new(python).args(["-c", "import prometheus_client"]).stderr(Stdio::null()).status();
        tried.is_ok_and(|status| status.success())
    };
    if let Some(python) = pythons.find(has_it) {
        let mut tool = Command::new(python);
        tool.args(["-c", READER]);
        assert!(read_by(tool, &open).contains("service_restarts service_start_duration_seconds"));
    } else {
        skip("there is no prometheus_client for python3");
    }
}

#[test]
fn what_happens_to_services_is_counted() {
    let Some(project) = Project::new(SERVICES) else { return };
    project.value("service start web slow");
    let socket = project.socket();
    let before = scrape(&socket);
    for (name, value) in [
        (r#"service_up{service="web"}"#, 1.0),
        (r#"service_ready{service="web"}"#, 1.0),
        (r#"service_wanted{service="web"}"#, 1.0),
        (r#"service_up{service="idle"}"#, 0.0),
        (r#"service_ready{service="idle"}"#, 0.0),
        (r#"service_wanted{service="idle"}"#, 0.0),
        (r#"service_restarts_total{service="web"}"#, 0.0),
        (r#"service_log_dropped_lines_total{service="web"}"#, 0.0),
        (r#"service_start_duration_seconds_bucket{service="slow",le="0.5"}"#, 0.0),
        (r#"service_start_duration_seconds_bucket{service="slow",le="+Inf"}"#, 1.0),
        (r#"service_start_duration_seconds_count{service="slow"}"#, 1.0),
        (r#"service_start_duration_seconds_count{service="idle"}"#, 0.0),
    ] {
        assert_eq!(before.get(name), Some(&value), "{name}");
    }
    assert!(!before.contains_key(r#"service_healthy{service="idle"}"#), "nothing is known of it");
    assert!(!before.contains_key(r#"service_healthy{service="web"}"#), "nobody has said how to check it");
    assert!(before[r#"service_start_duration_seconds_sum{service="slow"}"#] >= 0.6);

    let log = project.status("web")["log"].as_str().expect("it has a log").to_owned();
    let written = r#"service_log_written_bytes_total{service="web"}"#;
    let bytes = eventually("all is in the log", || {
        let bytes = fs::metadata(&log).ok()?.len();
        (fs::read_to_string(&log).ok()?.contains("line 100\n") && scrape(&socket)[written] == bytes as f64)
            .then_some(bytes)
    });
    let web = project.pid("web");
    signal(web, Signal::SIGKILL);
    eventually("it is started again", || {
        let now = scrape(&socket);
        (now[r#"service_restarts_total{service="web"}"#] == 1.0
            && now[r#"service_start_duration_seconds_count{service="web"}"#] == 2.0)
            .then_some(())
    });
    // A request resets the count in the status, but not in the metrics.
    project.value("service restart web");
    assert_eq!(project.value("service status web").row("web")["restarts"], 0);
    assert_eq!(scrape(&socket)[r#"service_restarts_total{service="web"}"#], 1.0);
    eventually("three runs have written", || {
        let whole = fs::metadata(&log).ok()?.len();
        (whole > 2 * bytes && scrape(&socket)[written] == whole as f64).then_some(())
    });

    let daemon = scrape(&socket);
    assert!(daemon["process_resident_memory_bytes"] > 1e6 && daemon["process_open_fds"] > 3.0);
    assert!(daemon["orchestratord_tasks"] >= 1.0 && daemon["process_start_time_seconds"] > 1.5e9);
    assert!(daemon["orchestratord_connection_turns_total"] >= 1.0);
    let longest = daemon["orchestratord_longest_connection_turn_seconds"];
    assert!(longest > 0.0 && longest <= daemon["orchestratord_connection_turn_seconds_total"], "{longest}");
    let version = project.value("service daemon status")["version"].as_str().unwrap_or_default().to_owned();
    assert_eq!(daemon[&format!("orchestratord_build_info{{version=\"{version}\"}}")], 1.0);
}

#[test]
fn failed_checks_are_counted_and_so_is_the_time_they_took() {
    let services = "[services.web]\nstart_command = \"TEST_SERVICE\"\nhealth_check_endpoint = 'exec:sh -c \"sleep 0.03; test -e well\"'\n\
                    health = { interval = '50ms', retries = 1 }";
    let Some(project) = Project::new(services) else { return };
    let well = project.write("well", "");
    project.value("service start web");
    let socket = project.socket();
    let count = |name: &str| scrape(&socket)[&format!("{name}{{service=\"web\"}}")];
    assert!(count("service_probe_duration_seconds_count") >= 1.0);
    assert!(count("service_probe_duration_seconds_sum") >= 0.03);
    let before = count("service_probe_failures_total");
    fs::remove_file(well).expect("it is ours");
    eventually("a check has failed", || {
        (count("service_probe_failures_total") > before && count("service_healthy") == 0.0).then_some(())
    });
    assert_eq!(count("service_up"), 1.0);
    let fast = scrape(&socket)[r#"service_probe_duration_seconds_bucket{service="web",le="0.025"}"#];
    assert_eq!(fast, 0.0, "none can have been quicker than its program");
}

#[test]
fn counts_begin_anew_with_the_daemon_and_that_of_a_log_goes_on_with_its_run() {
    let Some(project) = Project::new(SERVICES) else { return };
    project.value("service start web");
    let socket = project.socket();
    signal(project.pid("web"), Signal::SIGKILL);
    let restarts = r#"service_restarts_total{service="web"}"#;
    let written = r#"service_log_written_bytes_total{service="web"}"#;
    eventually("it is ready again", || {
        (scrape(&socket)[restarts] == 1.0 && project.status("web")["state"] == "ready").then_some(())
    });
    project.kill_daemon();
    assert_eq!(project.value("service status web").row("web")["restarts"], 1);
    let now = eventually("the new daemon has met the shim", || {
        let now = scrape(&project.socket());
        now.get(written).is_some_and(|bytes| *bytes > 0.0).then_some(now)
    });
    assert_eq!(now[restarts], 0.0);
    assert_eq!(now[r#"service_up{service="web"}"#], 1.0);
}

#[test]
fn the_daemon_is_well_and_a_wrong_file_is_a_doubt() {
    let Some(project) = Project::new(SERVICES) else { return };
    project.value("service start web");
    let socket = project.socket();
    let (status, answer) = http(&socket, "GET", "/api/v1/health");
    assert_eq!((status, &answer["data"]["status"]), (200, &"ok".into()), "{answer}");
    assert_eq!(answer["data"]["services"]["defined"], 3);
    assert_eq!(answer["data"]["services"]["ready"], 1);
    project.define("[services.web]\nstart_command = 3");
    let (status, answer) = http(&socket, "GET", "/api/v1/health");
    assert_eq!((status, &answer["data"]["status"]), (200, &"degraded".into()), "{answer}");
    assert!(
        answer["data"]["doubts"][0].as_str().is_some_and(|doubt| doubt.contains("start_command")),
        "{answer}"
    );
    project.define(SERVICES);
    assert_eq!(http(&socket, "GET", "/api/v1/health").1["data"]["status"], "ok");
}
