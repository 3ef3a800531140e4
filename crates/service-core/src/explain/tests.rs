//! Tests of the text and the remedy of `service why` for each state.

use super::*;
use crate::Moment;
use crate::config::Origin;
use crate::fleet::Blocker;
use crate::health::CheckFault;
use crate::snapshot::Status;
use core::time::Duration;

fn snapshot(state: State, goal: Goal, health: Health) -> Snapshot {
    Snapshot {
        id: crate::Plan::compile(crate::Config {
            services: alloc::vec![crate::config::Service::new(crate::Name::new("a").unwrap())],
            ..crate::Config::default()
        })
        .unwrap()
        .ids()
        .next()
        .unwrap(),
        goal,
        state,
        health,
        status: Status::Running,
        run: 1,
        launched: None,
        starter: StartedBy::Orchestrator,
        last_exit: None,
        exit_run: None,
        restarts: 0,
        reason: None,
        waits_for: None,
        asked: None,
        ended: None,
        began: None,
    }
}

#[expect(clippy::large_types_passed_by_value, reason = "each test constructs its own value")]
fn explained(
    state: State,
    goal: Goal,
    health: Health,
    context: ExplainContext<'_>,
) -> (String, Option<String>) {
    explain("web", &snapshot(state, goal, health), &context)
}

fn ready() -> State {
    State::Ready { launched: Moment::default(), since: Moment::default() }
}

fn failed(exit: Exit) -> State {
    State::Failed { at: Moment::default(), failure: Failure::Exited(exit), attempts: 1 }
}

#[test]
fn work_that_ends_where_a_service_was_expected_is_told_of_oneshot() {
    let mut service = crate::config::Service::new(crate::Name::new("ls").unwrap());
    let state = State::Completed { at: Moment::default(), exit: Exit::Code(0) };
    assert!(next_step_after_start(&service, &state).contains("`oneshot = true`"));
    service.origin = Origin::Transient;
    assert!(next_step_after_start(&service, &state).contains("with `--oneshot`"));
    assert!(next_step_after_start(&service, &failed(Exit::Code(1))).ends_with("then run it again"));
}

#[test]
fn a_program_that_is_not_found_is_looked_for_on_the_path_of_the_daemon() {
    let service = crate::config::Service::new(crate::Name::new("a").unwrap());
    let refused = |why: &str| State::Failed {
        at: Moment::default(),
        failure: Failure::LaunchFailed(why.to_string()),
        attempts: 1,
    };
    assert!(
        next_step_after_start(&service, &refused("program `x` is not in PATH"))
            .contains("service daemon restart")
    );
    let help = next_step_after_start(&service, &refused("working directory `/x` does not exist"));
    assert_eq!(
        help,
        "run `mkdir -p /x`, or correct `working_dir` of [services.a], then run `service start a`"
    );
    for (why, step) in [
        (
            "its env_file `/x/.env` is not understood: line 3: no name",
            "correct `/x/.env`, then run `service start a`",
        ),
        (
            "its env_file `/x/.env` sets `NOTIFY_SOCKET`, which is set for each run",
            "remove `NOTIFY_SOCKET` from `/x/.env`, then",
        ),
        ("its env_file `/x` cannot be read: it is not a regular file", "set `env_file` to a readable file"),
        ("its env_file `/x` cannot be read: No such file or directory (os error 2)", "create `/x`, or"),
        ("working directory `/x` is not a directory", "correct `working_dir` in [services.a]"),
        (
            "program `./x` begins with a byte order mark, so the kernel ignores its `#!` line",
            "save `./x` as UTF-8",
        ),
        ("program `./x` is a directory", "correct `start_command` in [services.a]"),
        (
            "working directory `/root` cannot be entered: permission denied",
            "allow the user of the daemon to enter `/root`, or correct `working_dir`",
        ),
        (
            "program `/root/x` cannot be examined: permission denied at `/root`",
            "allow the user of the daemon to enter `/root`",
        ),
        (
            "program `/root/x` cannot be executed: user `guest` may not enter `/root`",
            "allow user `guest` to enter `/root` (`setfacl -m u:guest:x /root`), or move the program",
        ),
        (
            "program `./x` cannot be executed: permission denied for user `guest`",
            "allow user `guest` to execute `./x` (`chmod o+rx ./x`), or correct `user`",
        ),
    ] {
        let help = next_step_after_start(&service, &refused(why));
        assert!(help.starts_with(step), "{why}: {help}");
    }
    let help = next_step_after_start(
        &service,
        &refused("the interpreter `/bin/sh\\r` of program `./a.sh` does not exist"),
    );
    assert!(help.contains("sed -i 's/\\r$//' ./a.sh"), "{help}");
}

#[test]
fn the_step_that_a_manager_suggests_is_the_next_step() {
    let mut service = crate::config::Service::new(crate::Name::new("a").unwrap());
    service.manager = Manager::BuiltIn("docker".to_string());
    let help = |why: &str| {
        let failure = Failure::LaunchFailed(why.to_string());
        next_step_after_start(&service, &State::Failed { at: Moment::default(), failure, attempts: 1 })
    };
    for (why, step) in [
        (
            &*with_step(
                "the docker daemon does not answer (/run/docker.sock)",
                "start it: `systemctl start docker` (as root)",
            ),
            "start it: `systemctl start docker` (as root), then run `service start a`",
        ),
        ("“no such image (run `podman pull x`)”", "run `podman pull x`, then run `service start a`"),
        (
            "its manager `/x/m.nu` failed: “Error: parse”",
            "correct the module `/x/m.nu`; `service managers` shows",
        ),
        ("its manager `/x/m.nu` does not export `start`; it exports `stop`", "correct the module `/x/m.nu`"),
        (
            "cannot read its manager `/x/m.nu`: No such file or directory",
            "create `/x/m.nu`, or correct `manager`",
        ),
        ("its manager has no key `imag` of `with` (did you mean `image`?)", "correct `with` in [services.a]"),
        ("user `x` does not exist", "correct `user` in [services.a]"),
    ] {
        assert!(help(why).starts_with(step), "{why}: {}", help(why));
    }
}

#[test]
fn a_check_that_was_not_answered_or_trusts_nobody_is_not_a_wrong_endpoint() {
    let late = State::Failed { at: Moment::default(), failure: Failure::StartTimeout, attempts: 1 };
    let context = ExplainContext {
        check: Some("no answer"),
        endpoint: Some("https://x"),
        check_timeout: Some(Duration::from_secs(1)),
        ..ExplainContext::default()
    };
    for (fault, step) in [
        (None, "correct `health_check_endpoint`"),
        (Some(CheckFault::Timeout), "raise `health.timeout` (1s)"),
        (
            Some(CheckFault::Certificate),
            "name the certificate of `https://x` or of its authority in `health.ca_file`",
        ),
    ] {
        let context = ExplainContext { check_fault: fault, ..context };
        let (_, help) = explained(late.clone(), Goal::Up, Health::None, context);
        assert!(help.as_ref().unwrap().starts_with(step), "{fault:?}: {help:?}");
    }
}

#[test]
fn output_that_stays_in_a_buffer_is_no_wrong_pattern() {
    let late = State::Failed { at: Moment::default(), failure: Failure::StartTimeout, attempts: 1 };
    let mut service = crate::config::Service::new(crate::Name::new("web").unwrap());
    service.ready.log = Some("up".to_string());
    let help = |service: &Service, lines, state: State| {
        let context = ExplainContext { lines, ..ExplainContext::new(service) };
        explained(state, Goal::Up, Health::Alive, context).1
    };
    assert!(help(&service, 0, late.clone()).unwrap().contains("`stdbuf -oL`; or correct `ready.log` (`up`)"));
    assert!(help(&service, 3, late.clone()).unwrap().starts_with("correct `ready.log` (`up`)"));
    assert_eq!(help(&service, 0, ready()), None);
    service.start_command.text = "/usr/bin/python3 server.py".to_string();
    for state in [late.clone(), ready()] {
        assert!(help(&service, 0, state).unwrap().contains("set `PYTHONUNBUFFERED = \"1\"` in `env`"));
    }
    assert_eq!(help(&service, 1, ready()), None);
    service.env.push(("PYTHONUNBUFFERED".to_string(), "1".to_string()));
    assert_eq!(help(&service, 0, ready()), None);
}

#[test]
fn lines_that_are_withheld_or_too_many_are_counted_as_they_are() {
    let sign = |lines, counted, said| {
        let context = ExplainContext { ready: Some("up"), lines, counted, said, ..ExplainContext::default() };
        missing_sign(&context).unwrap()
    };
    assert_eq!(sign(2, Counted::All, None), "none of its 2 lines matches `ready.log` = `up`");
    assert_eq!(
        sign(1000, Counted::Last, Some("x")),
        "none of its last 1000 lines matches `ready.log` = `up`, the last is `x`"
    );
    assert!(sign(0, Counted::All, None).starts_with("it has written no line"));
}

#[test]
fn who_reads_to_the_end_of_its_input_is_told_so_whatever_its_restart_policy() {
    let failure = Failure::Exited(Exit::Code(0));
    let backoff = State::Backoff { until: Moment::default(), failure };
    let context = ExplainContext { lived: Some(Duration::from_millis(5)), ..ExplainContext::default() };
    let (_, help) = explained(backoff, Goal::Up, Health::None, context);
    assert!(help.as_ref().unwrap().contains("standard input is closed"), "{help:?}");
}

#[test]
fn who_got_a_pipe_as_an_argument_is_told_of_the_shell_also_where_it_ended_well() {
    let shell = Some(("`|` is passed as an argument", "set `shell = \"sh\"`"));
    let context = ExplainContext { shell, ..ExplainContext::default() };
    let completed = State::Completed { at: Moment::default(), exit: Exit::Code(0) };
    for state in [failed(Exit::Code(1)), completed] {
        let (_, help) = explained(state.clone(), Goal::Up, Health::None, context);
        assert_eq!(help.unwrap(), "`|` is passed as an argument: set `shell = \"sh\"`");
        let context = ExplainContext { origin: Origin::Transient, ..context };
        assert!(explained(state, Goal::Up, Health::None, context).1.unwrap().ends_with("`--shell sh`"));
    }
}

#[test]
fn a_start_that_took_too_long_tells_what_it_waited_for() {
    let late = State::Failed { at: Moment::default(), failure: Failure::StartTimeout, attempts: 1 };
    let limit = Some(Duration::from_secs(4));
    let check =
        ExplainContext { limit, check: Some("503"), endpoint: Some("http://x"), ..ExplainContext::default() };
    let (text, help) = explained(late.clone(), Goal::Up, Health::None, check);
    assert!(text.starts_with("it was not ready within 4s: 503, and"), "{text}");
    assert!(help.unwrap().starts_with("correct `health_check_endpoint` (`http://x`)"));
    let log = ExplainContext {
        limit,
        ready: Some("up"),
        lines: 3,
        said: Some("on port 7"),
        ..ExplainContext::default()
    };
    let (text, help) = explained(late, Goal::Up, Health::None, log);
    assert!(
        text.contains("none of its 3 lines matches `ready.log` = `up`, the last is `on port 7`"),
        "{text}"
    );
    assert!(help.unwrap().starts_with("correct `ready.log` (`up`)"));
}

#[test]
fn what_goes_to_the_background_or_ends_with_its_input_is_told_so() {
    let completed = State::Completed { at: Moment::default(), exit: Exit::Code(0) };
    let left = ExplainContext { left: Some("1 process (sleep)"), ..ExplainContext::default() };
    let (text, help) = explained(completed.clone(), Goal::Up, Health::None, left);
    assert_eq!(text, "it exited with code 0; what it left behind was killed: 1 process (sleep)");
    assert!(help.unwrap().starts_with("run it in the foreground"));
    let soon = ExplainContext { lived: Some(Duration::from_millis(20)), ..ExplainContext::default() };
    let help = explained(completed, Goal::Up, Health::None, soon).1.unwrap();
    assert!(help.contains("`oneshot = true`") && help.contains("standard input"), "{help}");
}

#[test]
fn whoever_was_started_again_and_again_is_told_of_the_limit() {
    let state = State::Failed { at: Moment::default(), failure: Failure::Exited(Exit::Code(4)), attempts: 6 };
    let (text, _) = explained(state, Goal::Up, Health::None, ExplainContext::default());
    assert!(
        text.starts_with("it exited with code 4; after 6 tries it has reached its restart limit"),
        "{text}"
    );
}

#[test]
fn what_is_in_no_file_is_not_corrected_there() {
    let failed = failed(Exit::Code(127));
    let help = |origin| {
        let context = ExplainContext { origin, ..ExplainContext::default() };
        explained(failed.clone(), Goal::Up, Health::None, context).1.unwrap()
    };
    assert!(help(Origin::File).contains("services.toml"));
    assert!(!help(Origin::Added).contains("services.toml"));
    assert!(!help(Origin::Transient).contains("services.toml"));
}

#[test]
fn a_healthy_service_needs_no_help() {
    let (text, help) = explained(ready(), Goal::Up, Health::Healthy, ExplainContext::default());
    assert_eq!((text.as_str(), help), ("all is well", None));
}

#[test]
fn all_is_not_well_without_what_it_needs_and_a_look_at_the_process_alone_is_no_check() {
    let context = ExplainContext {
        lost: Some(("db", "which failed: exited with code 1")),
        ..ExplainContext::default()
    };
    let (text, help) = explained(ready(), Goal::Up, Health::Alive, context);
    assert_eq!(text, "it runs, and depends on `db`, which failed: exited with code 1");
    assert_eq!(help.as_deref(), Some("run `service why db`"));
    let (text, _) = explained(ready(), Goal::Up, Health::Alive, ExplainContext::default());
    assert_ne!(text, "all is well");
}

#[test]
fn what_nobody_wants_is_started_with_a_start() {
    let (_, help) = explained(State::Stopped, Goal::Down, Health::None, ExplainContext::default());
    assert_eq!(help.as_deref(), Some("run `service start web`"));
}

#[test]
fn whoever_waits_points_at_what_it_waits_for() {
    let context = ExplainContext { need: Some(("db", Some(Blocker::Failed))), ..ExplainContext::default() };
    let (text, help) = explained(State::Stopped, Goal::Up, Health::None, context);
    assert_eq!(text, "it waits for `db`, which does not start by itself");
    let mut snapshot = snapshot(State::Stopped, Goal::Up, Health::None);
    snapshot.reason = Some("waits for `db` to be completed; it is ready".to_string());
    let (text, _) =
        explain("web", &snapshot, &ExplainContext { need: Some(("db", None)), ..ExplainContext::default() });
    assert_eq!(text, "it waits for `db` to be completed; it is ready");
    assert_eq!(help.as_deref(), Some("run `service why db`"));
}

#[test]
fn the_holder_of_a_port_comes_before_other_help() {
    let context = ExplainContext { holder: Some("pid 7 (nginx)"), ..ExplainContext::default() };
    let (text, help) = explained(failed(Exit::Code(98)), Goal::Up, Health::None, context);
    assert!(text.contains("; its port is held by pid 7 (nginx), and"), "{text}");
    assert_eq!(help.as_deref(), Some("end pid 7 (nginx), or change one of the two ports"));
}

#[test]
fn an_end_that_a_manager_reports_comes_with_the_managers_message() {
    let check = Some("status_command ended with exit code 1");
    let context = ExplainContext { check, managed: true, ..ExplainContext::default() };
    let (text, _) = explained(failed(Exit::Unreported), Goal::Up, Health::None, context);
    assert!(
        text.starts_with("it ended, according to its manager: status_command ended with exit code 1"),
        "{text}"
    );
    let context = ExplainContext { check: Some("HTTP 500"), ..ExplainContext::default() };
    let (text, _) = explained(failed(Exit::Code(1)), Goal::Up, Health::None, context);
    assert!(!text.contains("HTTP 500"), "{text}");
}

#[test]
fn a_wrong_command_is_corrected_in_the_file() {
    let (text, help) = explained(failed(Exit::Code(127)), Goal::Up, Health::None, ExplainContext::default());
    assert!(text.starts_with("it exited with code 127: the command was not found"), "{text}");
    assert!(help.unwrap().starts_with("correct [services.web]"));
    let said = Some("serve: error while loading shared libraries: libx.so");
    let (_, help) = explained(
        failed(Exit::Code(127)),
        Goal::Up,
        Health::None,
        ExplainContext { said, ..ExplainContext::default() },
    );
    assert!(help.unwrap().contains("libx.so"));
}

#[test]
fn the_memory_limit_is_named_where_the_program_speaks_of_memory() {
    let context =
        ExplainContext { said: Some("MemoryError"), memory: Some(50_000_000), ..ExplainContext::default() };
    let (_, help) = explained(failed(Exit::Code(1)), Goal::Up, Health::None, context);
    assert!(help.unwrap().starts_with("raise `memory_limit` (50MB), or remove it, in"));
}

#[test]
fn the_line_that_says_most_is_told_and_not_one_behind_it() {
    let context = ExplainContext {
        said: Some("Node.js v20"),
        telling: Some("Error: listen EADDRINUSE"),
        ..ExplainContext::default()
    };
    let (_, help) = explained(failed(Exit::Code(1)), Goal::Up, Health::None, context);
    assert!(help.unwrap().contains("`Error: listen EADDRINUSE`"));
}

#[test]
fn what_starts_again_after_a_crash_says_how_it_ended_before() {
    let mut snapshot = snapshot(State::Launching { since: Moment::default() }, Goal::Up, Health::Pending);
    (snapshot.last_exit, snapshot.restarts) = (Some(Exit::Code(3)), 2);
    let (text, _) = explain("web", &snapshot, &ExplainContext::default());
    assert_eq!(text, "it is starting; its last run exited with code 3");
}

#[test]
fn exits_are_told_with_what_they_usually_mean() {
    let killed = "it was killed: by the kernel for lack of memory, or by another process (SIGKILL)";
    assert_eq!(describe_exit(Exit::Code(137)), format!("exited with code 137: {killed}"));
    assert_eq!(describe_exit(Exit::Signal(9)), format!("was ended by SIGKILL: {killed}"));
    assert_eq!(describe_exit(Exit::Code(0)), "exited with code 0");
    assert_eq!(describe_exit(Exit::Code(3)), "exited with code 3");
}
