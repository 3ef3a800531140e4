//! The audit trail: every request is in the journal with its actor, and a stop names its request.

use serde_json::Value;
use service_tests::{Project, eventually, post, signal, tcp};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

const PAIR: &str = r#"
[services.redis]
start_command = "TEST_SERVICE"
ready = { delay = "1ms" }
[services.api]
start_command = "TEST_SERVICE"
ready = { delay = "1ms" }
dependencies = ["redis"]
"#;

/// The last event of a service with this new state.
#[track_caller]
fn event(project: &Project, service: &str, to: &str) -> Value {
    let events = project.value(&format!("service events {service} --long | where to == {to}"));
    events
        .as_array()
        .and_then(|events| events.last())
        .unwrap_or_else(|| panic!("{service} {to}: {events}"))
        .clone()
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_default()
}

#[test]
fn a_start_and_a_stop_tell_who_gave_the_order_and_for_which_service() {
    let Some(project) = Project::new(PAIR) else { return };
    project.value("service start api");
    let uid = nix::unistd::geteuid();
    let begun = event(&project, "redis", "starting");
    let by = text(&begun, "by");
    // The actor is the shell and not its plugin.
    assert!(
        by.starts_with("user ") && by.contains(&format!("(uid {uid}, pid ")) && by.ends_with(", nu)"),
        "{begun}"
    );
    project.value("service stop redis");
    let stopped = event(&project, "redis", "stopped");
    assert!(text(&stopped, "reason").starts_with("stopped by `service stop` of user "), "{stopped}");
    for to in ["stopping", "stopped"] {
        let along = event(&project, "api", to);
        assert!(
            text(&along, "reason").starts_with("stopped with `redis`, by `service stop redis` of user "),
            "{along}"
        );
        assert!(text(&along, "by").starts_with("user "), "{along}");
    }
    // The next daemon has the origin as well.
    project.value("service daemon restart");
    for name in ["redis", "api"] {
        let why = project.value(&format!("service why {name}"));
        assert!(text(&why, "summary").contains("by `service stop"), "{why}");
    }
    let status = project.status("api");
    assert!(text(&status, "reason").starts_with("stopped with `redis`"), "{status}");
}

#[test]
fn events_are_found_by_who_brought_them_about() {
    let Some(project) = Project::new(
        r#"
        [services.phoenix]
        start_command = "TEST_SERVICE"
        restart = "always"
        [services.late]
        start_command = "TEST_SERVICE"
        ready = { log = "never said", timeout = "100ms" }
        restart = "no"
        [services.db]
        start_command = "TEST_SERVICE"
        [services.web]
        start_command = "TEST_SERVICE"
        dependencies = [{ name = "db", when_lost = "stop" }]
        "#,
    ) else {
        return;
    };
    project.value("service start phoenix web");
    project.error("service start late");
    signal(project.pid("phoenix"), nix::sys::signal::Signal::SIGKILL);
    project.value("service stop db --no-dependents");
    let by = |who: &str| {
        let rows = project.value(&format!("service events --by '{who}' | select service to by"));
        let row = |row: &Value| format!("{} {} {}", text(row, "service"), text(row, "to"), text(row, "by"));
        rows.as_array().map(|rows| rows.iter().map(row).collect::<Vec<_>>()).unwrap_or_default()
    };
    let rows = eventually("the policies have done their work", || {
        let rows = by("policy");
        let wanted = [
            "phoenix starting policy restart",
            "late stopping policy start timeout",
            "web stopping policy when_lost",
        ];
        wanted.iter().all(|wanted| rows.iter().any(|row| row == wanted)).then_some(rows)
    });
    assert!(rows.iter().all(|row| row.contains(" policy ")), "{rows:?}");
    let of_users = by("user");
    assert!(of_users.iter().any(|row| row.starts_with("db stopping user ")), "{of_users:?}");
    assert!(of_users.iter().all(|row| !row.contains("policy")), "{of_users:?}");
    assert_eq!(by("nobody at all"), Vec::<String>::new());
    let told = event(&project, "web", "stopped");
    assert_eq!(text(&told, "reason"), "stopped because its dependency `db` was lost (policy when_lost)");
    let ended = event(&project, "late", "failed");
    assert!(text(&ended, "reason").starts_with("was not ready within 100ms"), "{ended}");
}

#[test]
fn one_that_the_orchestrator_ended_is_not_told_as_ended_by_somebody() {
    let Some(project) = Project::new(PAIR) else { return };
    project.value("service start api; service restart api");
    let why = project.value("service why api");
    assert!(why["help"].is_null(), "{why}");
    assert!(text(&why, "exit").contains(": restarted by `service restart` of user "), "{why}");
    project.value("service stop api");
    let why = project.value("service why api");
    assert!(text(&why, "exit").contains(": stopped by `service stop` of user "), "{why}");
    assert!(!why.to_string().contains("somebody"), "{why}");
}

#[test]
fn a_client_of_the_api_the_hook_and_a_token_are_told_apart() {
    let Some(project) = Project::new(&format!("[orchestrator.api]\nlisten = \"127.0.0.1:0\"\n{PAIR}")) else {
        return;
    };
    project.value("service start api");
    let (status, _) = post(&project.socket(), "/api/v1/services/api/stop", "");
    assert_eq!(status, 200);
    let stopped = event(&project, "api", "stopped");
    assert!(text(&stopped, "by").contains(&format!("pid {}", std::process::id())), "{stopped}");

    let mut hook = UnixStream::connect(project.socket()).expect("the daemon listens");
    let head = "POST /api/v1/services/api/start HTTP/1.1\r\nHost: localhost\r\nService-Caller: hook\r\nConnection: close";
    write!(hook, "{head}\r\nContent-Length: 0\r\n\r\n").expect("the daemon reads");
    hook.read_to_string(&mut String::new()).expect("the daemon answers");
    let started = event(&project, "api", "starting");
    assert!(text(&started, "by").starts_with("hook of user "), "{started}");

    let daemon = project.value("service daemon status");
    let at = text(&daemon, "listen").trim_start_matches("http://").to_owned();
    let token = fs::read_to_string(project.state_dir().join("tokens/admin")).expect("there is one");
    let ask = |token: &str| {
        let head = format!("POST /api/v1/services/api/stop HTTP/1.1\r\nHost: {at}\r\nConnection: close");
        tcp(&at, &format!("{head}\r\nAuthorization: Bearer {token}\r\nContent-Length: 0\r\n\r\n"))
            .expect("it answers")
    };
    assert!(ask("wrong").starts_with("HTTP/1.1 401"));
    assert!(ask(token.trim()).starts_with("HTTP/1.1 200"));
    let stopped = event(&project, "api", "stopped");
    assert!(text(&stopped, "by").starts_with("token admin (127.0.0.1:"), "{stopped}");
    let log =
        fs::read_to_string(project.state_dir().join("orchestratord.log")).expect("the daemon has a log");
    assert!(
        log.lines().any(|line| line.contains("refused a request over TCP") && line.contains("127.0.0.1")),
        "{log}"
    );
}

#[test]
fn what_is_added_and_applied_is_told_with_who_did_it() {
    let Some(project) = Project::new(PAIR) else { return };
    project.value("{name: extra start_command: 'sleep 100'} | service add");
    project.value("service start redis");
    project.define(
        &PAIR.replace("start_command = \"TEST_SERVICE\"", "start_command = \"TEST_SERVICE say new\""),
    );
    project.value("service apply");
    let events = project.value("service events --by user");
    let of = |service: &str, event: &str| {
        let rows = events.as_array().into_iter().flatten();
        rows.filter(|row| row["service"] == service && row["event"] == event).count()
    };
    assert_eq!((of("extra", "defined"), of("redis", "changed")), (1, 1), "{events}");
    let again = event(&project, "redis", "stopping");
    assert!(text(&again, "reason").starts_with("restarted by `service apply` of user "), "{again}");
}
