//! Stops and restarts: dependents first, whole process trees, also services that ignore signals.

use service_tests::{Project, ServiceTable, alive, eventually, free_port};
use std::time::{Duration, Instant};

const CHAIN: &str = r#"
    [services.database]
    start_command = "TEST_SERVICE"

    [services.cache]
    start_command = "TEST_SERVICE"
    dependencies = ["database"]

    [services.web]
    start_command = "TEST_SERVICE"
    dependencies = ["cache"]

    [services.bystander]
    start_command = "TEST_SERVICE"
"#;

#[test]
fn a_stop_takes_running_dependents_down_first() {
    let Some(project) = Project::new(CHAIN) else { return };
    project.value("service start --all");
    let stopped = project.value("service stop database");
    assert_eq!(stopped.column("name"), ["web", "cache", "database"]);
    assert_eq!(stopped.column("action"), ["stopped", "stopped", "stopped"]);
    assert_eq!(project.status("bystander")["status"], "running");
}

#[test]
fn what_a_stop_waits_for_is_told() {
    let Some(project) = Project::new(
        "[services.web]\nstart_command = \"TEST_SERVICE fork deaf say up\"\nready = { log = \"up\" }",
    ) else {
        return;
    };
    project.value("service start web");
    let pid = project.pid("web");
    project.value("service stop web --no-wait");
    let reason = eventually("the reason names it", || {
        let status = project.status("web");
        status["reason"].as_str().filter(|reason| reason.contains("still running")).map(str::to_owned)
    });
    let told = [format!("pid {pid} (test_service)"), ", killed in ".to_owned()];
    assert!(told.iter().all(|words| reason.contains(words)), "{reason}");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid.cast_signed()), nix::sys::signal::Signal::SIGKILL)
        .unwrap();
    assert_eq!(project.value("service stop web").row("web")["ok"], true);
}

#[test]
fn a_stop_without_dependents_leaves_them_running() {
    let Some(project) = Project::new(CHAIN) else { return };
    project.value("service start web");
    let pid = project.pid("web");
    assert_eq!(project.value("service stop database --no-dependents").column("name"), ["database"]);
    assert_eq!(project.pid("web"), pid);
}

#[test]
fn a_restart_gives_back_what_it_took_down() {
    let Some(project) = Project::new(CHAIN) else { return };
    project.value("service start web");
    let before = ["database", "cache", "web"].map(|name| project.pid(name));
    let rows = project.value("service restart database");
    assert_eq!(rows.row("database")["action"], "restarted");
    let after = ["database", "cache", "web"].map(|name| project.pid(name));
    assert!(before.iter().zip(after).all(|(before, after)| *before != after), "{before:?} {after:?}");
    assert_eq!(project.status("bystander")["status"], "stopped", "it did not run before");
}

#[test]
fn a_service_that_ignores_term_is_killed_when_its_time_is_over() {
    let Some(project) = Project::new(
        "[services.deaf]\nstart_command = \"TEST_SERVICE deaf say listening\"\nstop_timeout = \"300ms\"\nready = { log = \"listening\" }",
    ) else {
        return;
    };
    project.value("service start deaf");
    let pid = project.pid("deaf");
    assert_eq!(project.value("service stop deaf").row("deaf")["ok"], true);
    assert!(!alive(pid));
    assert_eq!(project.status("deaf")["exit_signal"], "SIGKILL");
}

#[test]
fn a_stop_has_succeeded_when_the_whole_tree_is_gone() {
    let Some(project) = Project::new(
        "[services.tree]\nstart_command = \"TEST_SERVICE fork fork daemonize say grown\"\nready = { log = \"grown\" }",
    ) else {
        return;
    };
    project.value("service start tree");
    let actors = || {
        let named = |pid: &u32| {
            std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "test_service\n")
        };
        project.processes().into_iter().filter(named).count()
    };
    eventually("the leader, two children and a detached grandchild run", || (actors() == 4).then_some(()));
    project.value("service stop tree");
    assert_eq!(actors(), 0);
}

#[test]
fn stop_signal_is_the_one_asked_for() {
    let Some(project) = Project::new(
        "[services.deaf]\nstart_command = \"TEST_SERVICE deaf say listening\"\nstop_signal = \"INT\"\nready = { log = \"listening\" }",
    ) else {
        return;
    };
    project.value("service start deaf");
    project.value("service stop deaf");
    assert_eq!(project.status("deaf")["exit_signal"], "SIGINT");
}

#[test]
fn up_and_down_are_start_and_stop_of_everything() {
    let port = free_port();
    let Some(project) = Project::new(&format!(
        "[services.a]\nstart_command = \"TEST_SERVICE listen {port}\"\nhealth_check_endpoint = \"tcp://127.0.0.1:{port}\"\n\
         [services.b]\nstart_command = \"TEST_SERVICE\"\ndependencies = [\"a\"]"
    )) else {
        return;
    };
    let module = concat!(env!("CARGO_MANIFEST_DIR"), "/../nu/service");
    let up = project.value(&format!("use {module}; service up"));
    assert_eq!(up.column("name"), ["a", "b"]);
    assert_eq!(up.column("ok"), ["true", "true"]);
    assert_eq!(project.value(&format!("use {module}; service up a")).row("a")["action"], "unchanged");
    let down = project.value(&format!("use {module}; service down"));
    assert_eq!(down.column("name"), ["b", "a"]);
    eventually("nothing is left, the daemon neither", || project.processes().is_empty().then_some(()));
}

/// A parent that passes `SIGTERM` on to its child. The child saves on the first signal and aborts on the second.
fn passes_on(kill_mode: &str) -> Option<Project> {
    let project = Project::new(&format!(
        "[services.web]\nshell = \"sh\"\n{kill_mode}\nready = {{ log = \"up\" }}\nstop_timeout = \"60s\"\n\
         start_command = \"sh child.sh & child=$!; trap 'kill -TERM $child' TERM; \
         while kill -0 $child 2>/dev/null; do wait $child; done; echo over\""
    ))?;
    project.write(
        "child.sh",
        "n=0; trap 'n=$((n+1)); echo TERM $n' TERM; echo up\nuntil [ $n -gt 0 ]; do sleep 0.02; done\n\
         i=0; while [ $i -lt 25 ]; do sleep 0.02; i=$((i+1)); done; echo saved after $n\n",
    );
    Some(project)
}

#[test]
fn a_parent_that_passes_the_stop_signal_on_is_the_only_one_that_is_asked_if_it_is_to_be() {
    let Some(project) = passes_on("kill_mode = \"main\"") else { return };
    project.value("service start web");
    assert_eq!(project.value("service stop web | get ok.0"), true);
    let lines = project.value("service logs web");
    assert_eq!(lines.column("line"), ["up", "TERM 1", "saved after 1", "over"]);
}

#[test]
fn what_the_first_process_leaves_behind_is_killed_where_it_alone_is_asked() {
    let Some(project) = Project::new(
        "[services.web]\nshell = \"sh\"\nkill_mode = \"main\"\nready = { log = \"up\" }\nstop_timeout = \"1h\"\n\
         start_command = \"sh -c \\\"trap '' TERM; echo up; while :; do sleep 1; done\\\" & wait\"",
    ) else {
        return;
    };
    project.value("service start web");
    assert_eq!(project.value("service stop web | get ok.0"), true);
}

/// Sends the messages of its program to its notify socket; during a stop it requests more time and waits for the file
/// `go`.
const ASKS_WHILE_IT_STOPS: &str = "import os, signal, socket, sys, time\n\
    def say(text):\n    \
        at = os.environ['NOTIFY_SOCKET'].replace('@', '\\0', 1)\n    \
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(text.encode(), at)\n\
    def stop(*_):\n    \
        say('EXTEND_TIMEOUT_USEC=' + sys.argv[1] + '\\nSTATUS=writing the last pages')\n    \
        open(sys.argv[2], 'w').close()\n    \
        while not os.path.exists('go'): time.sleep(0.01)\n    \
        print('all is written', flush=True)\n    \
        sys.exit(0)\n\
    signal.signal(signal.SIGTERM, stop)\n\
    say('READY=1')\n\
    while True: time.sleep(1000)\n";

#[test]
fn a_stop_that_asks_for_more_time_gets_it_and_no_more_than_it_asked_for() {
    let Some(project) = Project::new(
        "[services.asks]\nstart_command = \"python3 asks.py 120000000 asks.asked\"\nready = { notify = true }\nstop_timeout = \"1s\"\n\
         [services.stuck]\nstart_command = \"python3 asks.py 1200000 stuck.asked\"\nready = { notify = true }\nstop_timeout = \"1s\"",
    ) else {
        return;
    };
    project.write("asks.py", ASKS_WHILE_IT_STOPS);
    project.value("service start asks stuck");
    let (asks, began) = (project.pid("asks"), Instant::now());
    let stopping = project.spawn("service stop asks | to json --raw");
    eventually("it has asked", || project.path("asks.asked").exists().then_some(()));
    // The other service requests less time than it needs. Its stop ends after the time that the first service had
    // without an extension.
    assert_eq!(project.value("service stop stuck").row("stuck")["ok"], true);
    assert!(
        began.elapsed() > Duration::from_millis(1200),
        "it was killed {:?} after the first",
        began.elapsed()
    );
    assert_eq!(project.status("stuck")["exit_signal"], "SIGKILL");
    let status = project.status("asks");
    assert_eq!((&status["state"], &status["pid"]), (&"stopping".into(), &asks.into()), "{status}");
    project.write("go", "");
    let stopped = service_tests::Answer::wait_for(stopping).value();
    assert_eq!(stopped.row("asks")["ok"], true, "{stopped}");
    let status = project.status("asks");
    assert_eq!(
        (&status["exit_code"], &status["exit_signal"]),
        (&0.into(), &serde_json::Value::Null),
        "{status}"
    );
    assert_eq!(project.value("service logs asks").column("line"), ["all is written"]);
}

/// A server that ends once its clients have closed every accepted connection, like many servers.
const CLOSES_LAST: &str = "import signal, socket, sys, threading\n\
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])\n\
    server = socket.create_server(('127.0.0.1', int(sys.argv[1])), backlog=64)\n\
    open_now = []\n\
    def serve(stream):\n    \
        while stream.recv(4096): stream.sendall(b'HTTP/1.1 204 No Content\\r\\n\\r\\n')\n    \
        stream.close()\n\
    def accept():\n    \
        while True:\n        \
            try: stream, _ = server.accept()\n        \
            except OSError: return\n        \
            thread = threading.Thread(target=serve, args=[stream])\n        \
            open_now.append(thread)\n        \
            thread.start()\n\
    accepting = threading.Thread(target=accept)\n\
    accepting.start()\n\
    signal.sigwait([signal.SIGTERM])\n\
    server.shutdown(socket.SHUT_RDWR)\n\
    accepting.join()\n\
    for thread in open_now: thread.join()\n\
    print('every connection is closed', flush=True)\n";

#[test]
fn a_server_that_waits_for_its_connections_is_not_kept_by_checks() {
    let port = free_port();
    let Some(project) = Project::new(&format!(
        "[services.web]\nstart_command = \"python3 web.py {port}\"\nhealth_check_endpoint = \"http://127.0.0.1:{port}/\"\n\
         health = {{ interval = \"50ms\", timeout = \"60s\" }}\nstop_timeout = \"120s\"\nrestart = \"no\""
    )) else {
        return;
    };
    project.write("web.py", CLOSES_LAST);
    project.value("service start web");
    for round in 1..=3 {
        eventually("it has been checked some times", || {
            let checks = project.value("service history web | where kind == check | length");
            (checks.as_u64()? >= 3 * round).then_some(())
        });
        let stopped = project.value("service stop web");
        assert_eq!(stopped.row("web")["ok"], true, "{stopped}");
        let status = project.status("web");
        assert_eq!(
            (&status["exit_code"], &status["exit_signal"]),
            (&0.into(), &serde_json::Value::Null),
            "{status}"
        );
        project.value("service start web");
    }
    let said = project.value("service logs web").column("line");
    assert_eq!(said, ["every connection is closed"; 3]);
}
