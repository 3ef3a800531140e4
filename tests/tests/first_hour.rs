//! A new user's first hour: services that are broken in many ways. For each service, `service start` and `service why`
//! each name the cause and the next step, and both agree.

use serde_json::Value;
use service_tests::{Lack, Project, ServiceTable, eventually, free_port, skip_for};
use std::fmt::Write as _;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

/// A service, the expected cause of its failure, and the expected next step.
struct Case {
    name: &'static str,
    toml: &'static str,
    cause: &'static str,
    step: &'static str,
}

const fn case(name: &'static str, toml: &'static str, cause: &'static str, step: &'static str) -> Case {
    Case { name, toml, cause, step }
}

/// `HELD` is a port of another process; `OWN` and `OTHER` are free ports.
const CASES: &[Case] = &[
    case(
        "taken",
        "start_command = \"TEST_SERVICE listen HELD\"\nhealth_check_endpoint = \"tcp://127.0.0.1:HELD\"",
        "is held by pid ",
        "end pid ",
    ),
    case("killed", "start_command = [\"sh\", \"-c\", \"kill -9 $$\"]", "SIGKILL", "dmesg"),
    case("crashed", "start_command = [\"sh\", \"-c\", \"kill -11 $$\"]", "SIGSEGV", "coredumpctl"),
    case(
        "exit1",
        "start_command = [\"sh\", \"-c\", \"echo starting; echo boom: cannot open config.yml >&2; exit 1\"]",
        "exited with code 1",
        "fix the reported problem: `boom: cannot open config.yml`; then run `service start exit1`",
    ),
    case("silent", "start_command = \"false\"", "exited with code 1", "run its command by hand"),
    case("usage", "start_command = \"ls --nosuch\"", "wrong command line", "fix the reported problem"),
    case(
        "missing",
        "start_command = \"nosuchprogram-x\"",
        "`nosuchprogram-x` is not in PATH",
        "service daemon restart",
    ),
    case(
        "ownpath",
        "start_command = \"nosuchprogram-x\"\nenv = { PATH = \"./bin:$PATH\" }",
        "is not in PATH",
        "write every directory of `env.PATH` in full",
    ),
    case(
        "nofile",
        "start_command = \"./nosuch.sh\"",
        "`./nosuch.sh` does not exist",
        "correct `start_command`",
    ),
    case("noenv", "start_command = \"sleep 9\"\nenv_file = \".env.missing\"", ".env.missing", "create `"),
    case(
        "nodir",
        "start_command = \"sleep 9\"\nworking_dir = \"nosuchdir\"",
        "working directory",
        "mkdir -p ",
    ),
    case(
        "nouser",
        "start_command = \"sleep 9\"\nuser = \"nosuchuser-x\"",
        "`nosuchuser-x` does not exist",
        "correct `user`",
    ),
    case(
        "badenv",
        "start_command = \"sleep 9\"\nenv_file = \"bad.env\"",
        "is not understood: line 2: ",
        "correct `",
    ),
    case(
        "direnv",
        "start_command = \"sleep 9\"\nenv_file = \".\"",
        "it is not a regular file",
        "set `env_file` to a readable file",
    ),
    case("directory", "start_command = \"./dir\"", "`./dir` is a directory", "correct `start_command`"),
    case(
        "filedir",
        "start_command = \"sleep 9\"\nworking_dir = \"crlf.sh\"",
        "is not a directory",
        "correct `working_dir`",
    ),
    case(
        "library",
        "start_command = [\"sh\", \"-c\", \"echo serve: cannot open libx.so >&2; exit 127\"]",
        "exited with code 127",
        "fix the reported problem: `serve: cannot open libx.so`",
    ),
    case(
        "node",
        "start_command = [\"sh\", \"-c\", \"printf 'Error: no port\\\\n  at a\\\\n  at b\\\\n}\\\\nNode.js v20\\\\n' >&2; exit 1\"]",
        "exited with code 1",
        "`Error: no port`",
    ),
    case("noexec", "start_command = \"./noexec.sh\"", "is not executable", "chmod +x ./noexec.sh"),
    case(
        "noprogram",
        "start_command = \"./empty\"",
        "program `./empty` is empty",
        "build or copy `./empty` again",
    ),
    case(
        "halfprogram",
        "start_command = \"./half\"",
        "program `./half` is truncated",
        "build or copy `./half` again",
    ),
    case("noshebang", "start_command = \"./noshebang.sh\"", "no `#!` line", "`#!/usr/bin/env sh`"),
    case(
        "badshebang",
        "start_command = \"./badshebang.sh\"",
        "the interpreter `/nowhere/sh`",
        "correct the first line of `./badshebang.sh`",
    ),
    case(
        "crlf",
        "start_command = \"./crlf.sh\"",
        "the interpreter `/bin/sh\\r`",
        "sed -i 's/\\r$//' ./crlf.sh",
    ),
    case(
        "wrongport",
        "start_command = \"TEST_SERVICE listen OWN\"\nhealth_check_endpoint = \"tcp://127.0.0.1:OTHER\"\nready = { timeout = \"1s\" }",
        "connection refused at ",
        "correct `health_check_endpoint` (`tcp://127.0.0.1:OTHER`)",
    ),
    case(
        "sick",
        "start_command = \"TEST_SERVICE\"\nhealth_check_endpoint = \"exec:sh -c 'echo 503 Service Unavailable; exit 1'\"\nready = { timeout = \"1s\" }",
        "503 Service Unavailable",
        "correct `health_check_endpoint`",
    ),
    case(
        "nocheck",
        "start_command = \"TEST_SERVICE\"\nhealth_check_endpoint = \"exec:nosuchcheck-x\"\nready = { timeout = \"1s\" }",
        "nosuchcheck-x",
        "correct `health_check_endpoint`",
    ),
    case(
        "nosocket",
        "start_command = \"TEST_SERVICE\"\nhealth_check_endpoint = \"unix:///nowhere/x.sock\"\nready = { timeout = \"1s\" }",
        "within 1s: ",
        "correct `health_check_endpoint`",
    ),
    case(
        "unready",
        "start_command = \"TEST_SERVICE say booting say listening\"\nready = { log = \"never said\", timeout = \"1s\" }",
        "none of its 2 lines matches `ready.log` = `never said`, the last is `listening`",
        "correct `ready.log` (`never said`)",
    ),
    case(
        "unsaid",
        "start_command = \"TEST_SERVICE\"\nready = { notify = true, timeout = \"1s\" }",
        "it has not sent READY=1",
        "$NOTIFY_SOCKET",
    ),
    case(
        "variable",
        "start_command = \"sleep $NOSUCHPORT\"",
        "exited with code 1",
        "`$NOSUCHPORT` is not expanded",
    ),
    case("home", "start_command = \"cat ~/nosuchnotes\"", "exited with code 1", "`~` is not expanded"),
    case("pipe", "start_command = \"echo hi | cat\"", "exited with code 0", "`|` is passed as an argument"),
    case("done", "start_command = \"true\"", "exited with code 0", "set `oneshot = true`"),
    case("watcher", "start_command = \"cat\"", "exited with code 0", "standard input"),
    case(
        "restarted",
        "start_command = \"cat\"\nrestart = \"always\"\nbackoff = { initial = \"1h\", max = \"1h\" }",
        "exited with code 0",
        "standard input",
    ),
    case(
        "slowcheck",
        "start_command = \"TEST_SERVICE\"\nhealth_check_endpoint = \"exec:sleep 50\"\nhealth = { timeout = \"300ms\" }\nready = { timeout = \"2s\" }",
        " within 300ms",
        "raise `health.timeout` (300ms)",
    ),
    case(
        "noauthority",
        "start_command = \"TEST_SERVICE\"\nhealth_check_endpoint = \"https://127.0.0.1:OTHER\"\nhealth = { ca_file = \"no.pem\" }\nready = { timeout = \"1s\" }",
        "no.pem",
        "`health.ca_file`",
    ),
    case(
        "buffered",
        "start_command = [\"sh\", \"-c\", \"exec sleep 99 # python\"]\nready = { log = \"up\", timeout = \"1s\" }",
        "it has written no line",
        "PYTHONUNBUFFERED",
    ),
    case(
        "nomodule",
        "manager = \"./nosuch.nu\"\nstart_command = \"x\"",
        "cannot read its manager",
        "create `",
    ),
    case(
        "badmodule",
        "manager = \"./bad.nu\"\nstart_command = \"x\"",
        "its manager `",
        "correct the module `",
    ),
    case(
        "elsewhere",
        "manager = \"command\"\nstart_command = \"^false\"\nstop_command = \"true\"\nstatus_command = \"false\"",
        "`^false` ended with exit code 1",
        "run `^false` by hand in ",
    ),
    case(
        "background",
        "shell = \"sh\"\nstart_command = \"sleep 4901 & exit 0\"",
        "what it left behind was killed: 1 process (sleep)",
        "run it in the foreground",
    ),
    case(
        "waits",
        "start_command = \"TEST_SERVICE\"\ndependencies = [{ name = \"exit1\", condition = \"ready\" }]",
        "it depends on `exit1`, which failed: exited with code 1",
        "fix the reported problem: `boom: cannot open config.yml`",
    ),
];

fn services(held: u16) -> String {
    let (own, other) = (free_port(), free_port());
    let mut text =
        "[orchestrator.service_defaults]\nrestart = \"no\"\nready = { delay = \"500ms\" }\n".to_owned();
    for Case { name, toml, .. } in CASES {
        let _ = writeln!(text, "[services.{name}]\n{toml}"); // writing to a string cannot fail
    }
    text.replace("HELD", &held.to_string())
        .replace("OWN", &own.to_string())
        .replace("OTHER", &other.to_string())
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_default()
}

#[test]
fn each_of_the_ways_in_which_a_service_is_broken_is_told_with_cause_and_next_step() {
    let holder = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let held = holder.local_addr().expect("it is bound").port();
    let Some(project) = Project::new(&services(held)) else { return };
    for (file, content, mode) in [
        ("noexec.sh", "#!/bin/sh\nsleep 9\n", 0o644),
        ("noshebang.sh", "sleep 9\n", 0o755),
        ("empty", "", 0o755),
        ("half", "\x7fELF\x02\x01\x01", 0o755),
        ("badshebang.sh", "#!/nowhere/sh -e\nsleep 9\n", 0o755),
        ("crlf.sh", "#!/bin/sh\r\nsleep 9\r\n", 0o755),
        ("bad.env", "A=1\nB C=2\n", 0o644),
        ("dir/file", "", 0o644),
        ("bad.nu", "export def start [] { {state: running }\n", 0o644),
    ] {
        let path = project.write(file, content);
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
    }
    // All services fail, and therefore the command fails; the rows come from the API.
    let (status, answer) =
        service_tests::post(&project_socket(&project), "/api/v1/services/start", "{\"all\":true}");
    assert_eq!(status, 200, "{answer}");
    let rows = &answer["data"];
    let whys = project.value("service why");
    let mut wrong = Vec::new();
    for Case { name, cause, step, .. } in CASES {
        let error = &rows.row(name)["error"];
        let why = whys.row(name);
        let causes = [text(error, "message"), text(why, "summary")];
        let steps = [text(error, "help"), text(why, "help")];
        let other = text(why, "help");
        if !causes.iter().any(|text| text.contains(cause)) {
            wrong.push(format!("{name}: no `{cause}` in {causes:#?}"));
        }
        // The port in a step varies, so only the text before it is compared.
        let step = step.split("127.0.0.1").next().unwrap_or_default();
        if !steps.iter().any(|text| text.contains(step)) {
            wrong.push(format!("{name}: no `{step}` in {steps:#?}"));
        }
        if *name != "waits" && text(error, "help") != other {
            wrong.push(format!("{name}: the error says `{}`, why says `{other}`", text(error, "help")));
        }
    }
    assert!(wrong.is_empty(), "{}\n{rows:#}", wrong.join("\n"));
    assert_eq!(rows.row("exit1")["error"]["log"], serde_json::json!(["boom: cannot open config.yml"]));
    assert_eq!(rows.row("waits")["error"]["log"], serde_json::json!(["boom: cannot open config.yml"]));
    let error = project.error("service start exit1");
    assert!(text(&error, "msg").contains("\n  | boom: cannot open config.yml"), "{error}");
    drop(holder);
}

fn project_socket(project: &Project) -> std::path::PathBuf {
    project.value("service status");
    project.socket()
}

/// Only root can run a service as another user.
#[test]
fn what_the_user_of_a_service_may_not_reach_is_told_with_the_user_and_the_directory() {
    let Some(project) =
        Project::new("[services.closed]\nstart_command = '/bin/true'\nuser = 'nobody'\noneshot = true\n")
    else {
        return;
    };
    if !nix::unistd::geteuid().is_root() {
        return skip_for(Lack::Root, "only root can run a service as another user");
    }
    let closed = project.path("closed");
    let program = project.write("closed/program", "#!/bin/sh\nsleep 9\n");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("it is ours");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).expect("it is ours");
    fs::set_permissions(project.path("."), fs::Permissions::from_mode(0o755)).expect("it is ours");
    project.define(&format!(
        "[services.closed]\nstart_command = '{}'\nuser = 'nobody'\nworking_dir = '/'\n",
        program.display()
    ));
    let error = project.error("service start closed");
    let (message, help) = (text(&error, "msg"), text(&error, "help"));
    let directory = closed.display();
    assert!(message.contains(&format!("user `nobody` may not enter `{directory}`")), "{error:#}");
    assert!(help.contains(&format!("allow user `nobody` to enter `{directory}`")), "{error:#}");
}

#[test]
fn all_is_not_well_where_a_dependency_is_lost_or_a_service_went_with_another() {
    let Some(project) = Project::new(
        r#"
        [services.brief]
        start_command = "TEST_SERVICE wait 300 exit 3"
        restart = "no"
        ready = { delay = "50ms" }
        [services.keeper]
        start_command = "TEST_SERVICE"
        dependencies = [{ name = "brief", when_lost = "keep" }]
        [services.base]
        start_command = "TEST_SERVICE"
        [services.top]
        start_command = "TEST_SERVICE"
        dependencies = ["base"]
        "#,
    ) else {
        return;
    };
    project.value("service start keeper top");
    let rows = eventually("it is lost", || {
        let rows = project.value("service why | select name summary help");
        (rows.column("name") == ["brief", "keeper"]).then_some(rows)
    });
    let keeper = rows.row("keeper");
    assert!(text(keeper, "summary").starts_with("it runs, and depends on `brief`, which failed"), "{rows}");
    assert_eq!(keeper["help"], "run `service why brief`");
    project.value("service stop base");
    let top = project.value("service why top");
    assert!(text(&top, "summary").contains("stopped with `base`, by `service stop base` of user "), "{top}");
    assert_eq!(top["help"], "run `service start top`");
}

#[test]
fn a_stop_command_that_fails_or_does_nothing_is_told() {
    let Some(project) = Project::new(
        r#"
        [services.fails]
        manager = "process"
        start_command = "TEST_SERVICE"
        stop_command = "./stop.sh"
        [services.idles]
        manager = "process"
        start_command = "TEST_SERVICE"
        stop_command = "echo done"
        stop_timeout = "300ms"
        [services.deaf]
        start_command = "TEST_SERVICE deaf"
        stop_timeout = "200ms"
        [services.gone]
        manager = "process"
        start_command = "TEST_SERVICE"
        stop_command = "./nosuch-stop.sh"
        "#,
    ) else {
        return;
    };
    let script = project.write("stop.sh", "#!/bin/sh\necho 'pg_ctl: no such cluster' >&2\nexit 3\n");
    fs::set_permissions(script, fs::Permissions::from_mode(0o755)).expect("it is ours");
    project.value("service start --all");
    let rows = project.value("service stop --all");
    for (name, note) in [
        (
            "fails",
            "its stop command failed, so it got SIGTERM: `./stop.sh` ended with code 3: “pg_ctl: no such cluster”",
        ),
        ("idles", "killed after 300ms: its stop command ended with code 0, but the service did not end"),
        ("deaf", "killed after 200ms: it did not end on SIGTERM"),
        ("gone", "its stop command failed, so it got SIGTERM: cannot run `./nosuch-stop.sh`"),
    ] {
        let row = rows.row(name);
        assert_eq!(row["ok"], true, "{row}");
        assert!(text(row, "note").starts_with(note), "{row}");
        let reason = project.status(name);
        assert!(text(&reason, "reason").contains(note), "{reason}");
        let events = project.value(&format!("service events {name} | where event == stop"));
        let told =
            events.as_array().into_iter().flatten().any(|event| text(event, "reason").starts_with(note));
        assert!(told, "{events}");
    }
}
