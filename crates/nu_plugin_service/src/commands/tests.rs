//! Tests of the examples, and of whole calls from Nushell source to table against a mock daemon.

use crate::plugin::ServicePlugin;
use nu_plugin_test_support::PluginTest;
use nu_protocol::{ShellError, Span, Value};
use service_api::{API_VERSION, Project, project::Environment, routes};
use service_client::mock_daemon::{self, MockDaemon, MockReply, outcome};
use std::ffi::OsString;
use std::sync::Arc;
use std::sync::mpsc::channel;

const STATUS: &str = r#"[{"name":"web","status":"running","state":"ready","health":"healthy","pid":7,
    "uptime_ms":1500.0,"memory":1024,"restarts":0}]"#;

/// A Nushell with a temporary project.
struct Shell {
    nu: PluginTest,
    dir: tempfile::TempDir,
}

impl Shell {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("services.toml"), "").unwrap();
        let nu = PluginTest::new("service", Arc::new(ServicePlugin::default())).unwrap();
        let path = dir.path().to_str().unwrap().to_owned();
        let mut shell = Self { nu, dir };
        for name in ["PWD", "HOME", "XDG_RUNTIME_DIR", "XDG_STATE_HOME"] {
            shell.set(name, &path);
        }
        shell
    }

    fn set(&mut self, variable: &str, value: &str) {
        self.nu.engine_state_mut().add_env_var(variable.into(), Value::test_string(value));
    }

    fn project(&self) -> Project {
        let dir = self.dir.path();
        let env =
            |name: &str| matches!(name, "XDG_RUNTIME_DIR" | "XDG_STATE_HOME").then(|| OsString::from(dir));
        let uid = nix::unistd::getuid().as_raw();
        Project::find(None, &Environment { env: &env, cwd: dir, uid, runs: &|_| false }).unwrap()
    }

    /// A daemon of this project that responds with its own version, and to every other request with `reply`.
    fn daemon(&self, mut reply: impl FnMut(&str) -> MockReply + Send + 'static) -> MockDaemon {
        let socket = self.project().socket;
        std::fs::create_dir_all(socket.parent().unwrap()).unwrap();
        MockDaemon::serving_at(&socket, move |request| {
            if request.contains(routes::VERSION) { version(API_VERSION) } else { reply(request) }
        })
    }

    fn eval(&mut self, source: &str) -> Result<Value, ShellError> {
        self.nu.eval(source)?.into_value(Span::test_data())
    }

    fn error_code(&mut self, source: &str) -> String {
        match self.eval(source) {
            Err(ShellError::LabeledError(error)) => error.code.unwrap(),
            other => panic!("`{source}` gave {other:?}"),
        }
    }
}

fn version(api: u32) -> MockReply {
    MockReply::data(&format!(r#"{{"version":"0.9.0","api":{api}}}"#))
}

fn names(table: &Value) -> Vec<String> {
    let rows = table.as_list().unwrap();
    rows.iter().map(|row| row.get_data_by_key("name").unwrap().coerce_into_string().unwrap()).collect()
}

#[test]
fn every_example_gives_what_it_shows() {
    let mut nu = PluginTest::new("service", Arc::new(ServicePlugin::default())).unwrap();
    for command in super::all() {
        nu.test_examples(&command.examples()).unwrap();
    }
}

#[test]
fn every_command_is_found_under_its_category() {
    for command in super::all() {
        let signature = command.signature();
        assert_eq!(signature.category.to_string(), "service", "{}", signature.name);
        assert!(!command.search_terms().is_empty(), "{}", signature.name);
        assert!(!command.examples().is_empty(), "{}", signature.name);
    }
}

#[test]
fn status_asks_for_the_names_from_the_pipe_and_types_the_answer() {
    let mut shell = Shell::new();
    let daemon = shell.daemon(|_| MockReply::data(&STATUS.replace('\n', "")));
    let table = shell.eval("[{name: web}] | service status").unwrap();
    let uptime = table.as_list().unwrap()[0].get_data_by_key("uptime").unwrap();
    assert_eq!(uptime.as_duration().unwrap(), 1_000_000_000);
    assert!(daemon.requests()[1].starts_with("GET /api/v1/services/status?names=web&long=false "));
}

#[test]
fn start_sends_the_whole_request_and_gives_the_rows_in_their_order() {
    let mut shell = Shell::new();
    let (say, rows) = channel();
    let mut rows = Some(rows);
    let daemon = shell.daemon(move |_| MockReply::Rows(rows.take().unwrap()));
    say.send(outcome("db", true)).unwrap();
    say.send(outcome("web", true)).unwrap();
    drop(say);
    let table = shell.eval("service start web --no-deps --timeout 2sec").unwrap();
    assert_eq!(names(&table), ["db", "web"]);
    let body = r#"{"names":["web"],"all":false,"relatives":false,"wait":true,"timeout_ms":2000}"#;
    assert!(daemon.requests()[1].ends_with(body), "{:?}", daemon.requests());
}

#[test]
fn run_sends_the_definition_and_then_starts_what_it_was_called() {
    let mut shell = Shell::new();
    let daemon = shell.daemon(|_| {
        let (say, rows) = channel();
        say.send(outcome("ssh-2", true)).unwrap();
        MockReply::Rows(rows)
    });
    let source = "service run --env {A: 1} --memory-limit 100MB --timeout 2sec -- ssh -N host";
    assert_eq!(names(&shell.eval(source).unwrap()), ["ssh-2"]);
    let heard = daemon.requests();
    let body = |nth: usize| -> serde_json::Value {
        serde_json::from_str(heard[nth].split("\r\n\r\n").nth(1).unwrap()).unwrap()
    };
    assert!(heard[1].starts_with("POST /api/v1/services/add "), "{heard:?}");
    let definition = serde_json::json!({
        "env": {"A": 1}, "memory_limit": 100_000_000, "start_command": ["ssh", "-N", "host"],
        "working_dir": shell.dir.path()
    });
    assert_eq!(body(1), serde_json::json!({"services": [definition], "transient": true}));
    assert!(heard[3].starts_with("POST /api/v1/services/start "), "{heard:?}");
    assert_eq!(body(3)["names"], serde_json::json!(["ssh-2"]));
}

#[test]
fn a_start_in_which_all_that_was_named_failed_raises_the_reason() {
    let mut shell = Shell::new();
    let (say, rows) = channel();
    let mut rows = Some(rows);
    let _daemon = shell.daemon(move |_| MockReply::Rows(rows.take().unwrap()));
    say.send(outcome("web", false)).unwrap();
    drop(say);
    assert_eq!(shell.error_code("service start web"), "service::start_failed");
}

#[test]
fn a_refusal_by_the_daemon_is_an_error_with_its_code() {
    let mut shell = Shell::new();
    let _daemon = shell.daemon(|_| MockReply::failure(404, "not_found", "no service `wbe`"));
    for command in ["start", "status", "health", "logs"] {
        assert_eq!(shell.error_code(&format!("service {command} wbe")), "service::not_found");
    }
}

#[test]
fn a_daemon_of_another_version_is_told_in_one_sentence_with_the_fix() {
    let mut shell = Shell::new();
    let socket = shell.project().socket;
    std::fs::create_dir_all(socket.parent().unwrap()).unwrap();
    let daemon = MockDaemon::serving_at(&socket, |_| version(API_VERSION + 1));
    for command in ["status", "start web", "wait web", "logs -f", "why web"] {
        let Err(ShellError::LabeledError(error)) = shell.eval(&format!("service {command}")) else {
            panic!("`{command}` sent a request to a daemon of another version");
        };
        assert_eq!(error.code.as_deref(), Some("service::version_mismatch"), "{command}");
        assert!(error.msg.starts_with("cannot talk to the daemon: it is version 0.9.0"), "{}", error.msg);
        assert!(error.help.unwrap().starts_with("run `service daemon stop`"));
    }
    assert!(
        daemon.requests().iter().all(|request| request.contains(routes::VERSION)),
        "no other request is sent"
    );
}

#[test]
fn logs_come_line_by_line_and_typed() {
    let mut shell = Shell::new();
    let daemon = shell.daemon(|_| {
        let (say, rows) = channel();
        let line = r#"{"time":"2026-01-01T00:00:00Z","service":"a","stream":"stdout","line":"hello"}"#;
        say.send(format!(r#"{{"success":true,"data":{line},"error":null}}"#)).unwrap();
        MockReply::Rows(rows)
    });
    let table = shell.eval("service logs a b -n 3").unwrap();
    let time = table.as_list().unwrap()[0].get_data_by_key("time").unwrap();
    assert_eq!(time.as_date().unwrap().to_rfc3339(), "2026-01-01T00:00:00+00:00");
    assert!(
        daemon.requests()[1..]
            .iter()
            .any(|request| request.starts_with("GET /api/v1/logs?names=a,b&tail=3 "))
    );
}

#[test]
fn a_daemon_is_started_with_the_environment_of_the_shell_and_its_reason_to_fail_is_told() {
    let mut shell = Shell::new();
    let [program, seen] = ["orchestratord", "seen"].map(|name| shell.dir.path().join(name));
    mock_daemon::program(
        &program,
        r#"echo "$GREETING $PWD $*" >> "$HOME/seen"
           echo '{"failed":{"code":"bad_definition","message":"unknown key `prot`"}}'"#,
    );
    shell.set("ORCHESTRATORD", program.to_str().unwrap());
    shell.set("GREETING", "hello");
    assert_eq!(shell.error_code("service start web"), "service::bad_definition");
    let seen = std::fs::read_to_string(seen).unwrap();
    let config = shell.project().config;
    assert!(seen.starts_with(&format!("hello / run --config {} --nu /", config.display())), "{seen}");
    assert!(shell.project().log().is_file());
}

#[test]
fn what_only_reads_asks_the_program_once_when_no_daemon_runs() {
    let mut shell = Shell::new();
    let program = shell.dir.path().join("orchestratord");
    mock_daemon::program(
        &program,
        r#"[ "$1 $2" = "order web" ] || exit 1
           echo '{"success":true,"data":[{"step":1,"name":"web","level":0,"dependencies":[]}],"error":null}'"#,
    );
    shell.set("ORCHESTRATORD", program.to_str().unwrap());
    assert_eq!(names(&shell.eval("service order web").unwrap()), ["web"]);
    assert!(!shell.project().state_dir.exists());
}

#[test]
fn a_mistake_in_the_call_is_told_without_asking_anyone() {
    let mut shell = Shell::new();
    assert_eq!(shell.error_code("service stop"), "service::no_names");
    assert_eq!(shell.error_code("service stop web --all"), "service::ambiguous_input");
    assert_eq!(shell.error_code("[{nam: x}] | service stop"), "service::bad_row");
    assert_eq!(shell.error_code("service strat"), "service::unknown_subcommand");
    let status = shell.eval("service daemon status").unwrap();
    assert_eq!(
        status.get_data_by_key("running"),
        Some(Value::test_bool(false)),
        "a missing daemon is not an error"
    );
    assert_eq!(shell.error_code("service status --config /nowhere.toml"), "service::no_project");
}
