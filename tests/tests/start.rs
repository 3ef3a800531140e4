//! Starts: in dependency order, each service after its dependencies have their conditions, and no service twice.

use serde_json::Value;
use service_tests::{Answer, Project, ServiceTable, eventually, free_port};

/// database -> cache -> web-app. Each listens late, and exits at once if its dependency does not listen yet.
fn chain() -> String {
    let [database, cache, web] = [free_port(), free_port(), free_port()];
    format!(
        r#"
        [services.web-app]
        start_command = "TEST_SERVICE need {cache} wait 50 listen {web}"
        health_check_endpoint = "tcp://127.0.0.1:{web}"
        dependencies = ["cache"]
        restart = "no"

        [services.cache]
        start_command = "TEST_SERVICE need {database} wait 200 listen {cache}"
        health_check_endpoint = "tcp://127.0.0.1:{cache}"
        dependencies = ["database"]
        restart = "no"

        [services.database]
        start_command = "TEST_SERVICE wait 200 listen {database}"
        health_check_endpoint = "tcp://127.0.0.1:{database}"
        restart = "no"
        "#
    )
}

#[test]
fn a_dependent_starts_when_what_it_needs_is_ready() {
    let Some(project) = Project::new(&chain()) else { return };
    let order = project.value("service order web-app");
    assert_eq!(order.column("name"), ["database", "cache", "web-app"]);
    assert_eq!(order.column("level"), ["0", "1", "2"]);

    let started = project.value("service start web-app");
    assert_eq!(started.column("name"), ["database", "cache", "web-app"]);
    assert_eq!(started.column("action"), ["started", "started", "started"]);
    let status = project.value("service status");
    assert_eq!(status.column("state"), ["ready", "ready", "ready"]);
    assert_eq!(project.value("service status | where health != healthy | length"), 0);
}

#[test]
fn what_runs_already_stays_as_it_is() {
    let Some(project) = Project::new(&chain()) else { return };
    project.value("service start web-app");
    let pid = project.pid("cache");
    let again = project.value("service start web-app");
    assert_eq!(again.row("web-app")["action"], "unchanged");
    assert_eq!(project.pid("cache"), pid);
}

#[test]
fn two_shells_that_start_a_service_at_once_start_one_process() {
    let Some(project) = Project::new(
        "[services.web]\nstart_command = \"TEST_SERVICE note starts wait 200\"\n[services.web.ready]\ndelay = \"300ms\"",
    ) else {
        return;
    };
    let shells: Vec<_> = (0..2).map(|_| project.spawn("service start web | to json --raw")).collect();
    let answers: Vec<Value> = shells.into_iter().map(|shell| Answer::wait_for(shell).value()).collect();
    assert!(answers.iter().all(|rows| rows.row("web")["ok"] == true), "{answers:?}");
    assert_eq!(project.read("starts").lines().count(), 1, "one start only");
}

#[test]
fn an_empty_pipe_starts_and_stops_nothing() {
    let Some(project) = Project::new("[services.web]\nstart_command = \"TEST_SERVICE\"") else { return };
    assert_eq!(project.value("[] | service start").column("name").len(), 0);
    project.value("service start web");
    let pid = project.pid("web");
    assert_eq!(
        project.value("service status | where health == unhealthy | service stop").column("name").len(),
        0
    );
    assert_eq!(project.pid("web"), pid);
}

#[test]
fn names_come_from_a_pipe_of_names_or_of_rows() {
    let Some(project) = Project::new(
        "[services.a]\nstart_command = \"TEST_SERVICE\"\n[services.b]\nstart_command = \"TEST_SERVICE\"\n[services.c]\nstart_command = \"TEST_SERVICE\"",
    ) else {
        return;
    };
    assert_eq!(project.value("[a b] | service start | sort-by name").column("name"), ["a", "b"]);
    assert_eq!(
        project.value("service status | where status == stopped | service start").column("name"),
        ["c"]
    );
    assert_eq!(project.value("'a' | service stop").row("a")["action"], "stopped");
    assert_eq!(project.error("service start")["code"], "service::no_names");
    assert_eq!(project.value("service stop --all").column("ok"), ["true", "true", "true"]);
}

#[test]
fn without_waiting_the_answer_comes_at_once() {
    let port = free_port();
    let Some(project) = Project::new(&format!(
        "[services.slow]\nstart_command = \"TEST_SERVICE wait 60000 listen {port}\"\nhealth_check_endpoint = \"tcp://127.0.0.1:{port}\""
    )) else {
        return;
    };
    assert_eq!(project.value("service start slow --no-wait").row("slow")["action"], "starting");
    assert_eq!(project.status("slow")["state"], "starting");
    let late = project.error("service start slow --timeout 200ms");
    assert_eq!(late["code"], "service::timeout", "{late}");
}

#[test]
fn auto_start_dependencies_can_be_switched_off() {
    let services = format!("[orchestrator.services]\nauto_start_dependencies = false\n{}", chain());
    let Some(project) = Project::new(&services) else { return };
    let error = project.error("service start cache");
    assert_eq!(error["code"], "service::dependency_not_running", "{error}");
    assert!(error["msg"].as_str().unwrap().contains("`database`"), "{error}");
    assert_eq!(project.value("service status").column("status"), ["stopped", "stopped", "stopped"]);
    project.value("service start database");
    assert_eq!(project.value("service start cache").column("name"), ["cache"]);
}

#[test]
fn a_disabled_manager_reports_but_starts_nothing() {
    let services = format!("[orchestrator.services]\nmanager_enabled = false\n{}", chain());
    let Some(project) = Project::new(&services) else { return };
    assert_eq!(project.error("service start database")["code"], "service::manager_disabled");
    assert_eq!(project.error("service stop --all")["code"], "service::manager_disabled");
    assert_eq!(project.value("service status").column("status"), ["stopped", "stopped", "stopped"]);
}

#[test]
fn a_one_shot_is_complete_before_what_needs_its_result() {
    let Some(project) = Project::new(
        r#"
        [services.migrate]
        start_command = "TEST_SERVICE wait 200 note migrated exit 0"
        oneshot = true

        [services.web]
        start_command = ["sh", "-c", "test -e migrated && exec TEST_SERVICE"]
        dependencies = [{ name = "migrate", condition = "completed" }]
        restart = "no"
        "#,
    ) else {
        return;
    };
    let rows = project.value("service start web");
    assert_eq!(rows.column("name"), ["migrate", "web"]);
    assert_eq!(rows.column("ok"), ["true", "true"]);
    assert_eq!(project.status("migrate")["state"], "completed");
    assert_eq!(project.status("migrate")["exit_code"], 0);
}

#[test]
fn a_start_of_what_is_done_is_answered_at_once_and_does_it_once_more_only_if_it_has_changed() {
    let services = |work: &str| {
        format!(
            "[services.migrate]\nstart_command = \"TEST_SERVICE note {work} exit 0\"\noneshot = true\n\
             [services.web]\nstart_command = \"TEST_SERVICE\"\nready = {{ delay = \"10ms\" }}\n\
             dependencies = [{{ name = \"migrate\", condition = \"completed\" }}]\n"
        )
    };
    let Some(project) = Project::new(&services("first")) else { return };
    project.value("service start web");
    let action = |line: &str| project.value(line).row("migrate")["action"].clone();
    for line in ["service start migrate", "service start migrate --no-wait", "service start --all"] {
        assert_eq!(action(line), "unchanged", "{line}");
    }
    project.value("service stop web");
    assert_eq!(action("service start migrate"), "unchanged");
    assert_eq!(project.read("first").lines().count(), 1);
    assert_eq!(action("service restart migrate"), "started");
    assert_eq!(project.read("first").lines().count(), 2);
    project.define(&services("second"));
    assert_eq!(action("service start migrate"), "started");
    assert_eq!(project.read("second").lines().count(), 1);
}

#[test]
fn what_dies_while_it_begins_has_not_started_and_what_only_lives_is_not_called_healthy() {
    // The project has default settings.
    let Some(project) = Project::new(
        "[services.dies]\nstart_command = \"TEST_SERVICE wait 300 moan 'no module' exit 3\"\nrestart = \"no\"\n\
         [services.top]\nstart_command = \"TEST_SERVICE\"\ndependencies = [\"dies\"]\n\
         [services.lives]\nstart_command = \"TEST_SERVICE\"\n\
         [orchestrator.service_defaults]\n",
    ) else {
        return;
    };
    let error = project.error("service start --all");
    let message = error["msg"].as_str().expect("it has a message");
    assert!(
        message.contains("`dies`") && message.contains("started: `lives`"),
        "any failure counts: {error}"
    );
    let rows = project.value("service start dies top lives");
    let [dies, top, lives] = ["dies", "top", "lives"].map(|name| rows.row(name));
    let message = dies["error"].to_string();
    assert!(dies["ok"] == false && message.contains("exited with code 3"), "{dies}");
    assert!(top["ok"] == false && project.status("top")["pid"].is_null(), "{top}");
    assert_eq!((&lives["ok"], &lives["health"]), (&true.into(), &"alive".into()));
    assert_eq!(project.status("lives")["health"], "alive");
    let health = project.value("service health lives");
    assert_eq!((&health[0]["healthy"], &health[0]["kind"]), (&true.into(), &"process".into()));
    assert_ne!(project.value("service why lives")["summary"], "all is well");
}

#[test]
fn a_one_shot_is_tried_once_and_a_crash_is_an_answer_while_the_policy_goes_on() {
    let Some(project) = Project::new(
        "[services.migrate]\nstart_command = \"TEST_SERVICE note migrated exit 1\"\noneshot = true\n\
         [services.db]\nstart_command = \"sh -c 'test -e mended || exit 7; exec sleep 1000'\"\n\
         backoff = { initial = \"400ms\", limit = 7 }\n\
         [services.web]\nstart_command = \"TEST_SERVICE\"\ndependencies = [\"db\"]\n\
         [orchestrator.service_defaults]\nrestart = \"on-failure\"\nready = { delay = \"100ms\" }\n",
    ) else {
        return;
    };
    let failed = project.error("service start migrate");
    assert_eq!(failed["msg"], "cannot start `migrate`: exited with code 1");
    assert_eq!(
        (project.read("migrated").lines().count(), &project.status("migrate")["state"]),
        (1, &"failed".into())
    );
    let run = project.error("service run --oneshot --name once 'sh -c \"echo >> once; exit 1\"'");
    assert_eq!((&run["code"], project.read("once").len()), (&"service::start_failed".into(), 1));

    let rows = project.error("service start web");
    let message = rows["msg"].as_str().expect("it has a message");
    assert!(message.contains("it depends on `db`") && message.contains("exited with code 7"), "{rows}");
    assert!(message.contains("trying again (1 of 7)"), "{rows}");
    project.write("mended", "");
    let waited = project.value("service wait web");
    assert_eq!(waited.column("state"), ["ready"], "the request continues");
}

#[test]
fn what_is_done_is_done_again_only_where_that_is_asked() {
    let Some(project) = Project::new(
        "[services.db]\nstart_command = \"TEST_SERVICE\"\n\
         [services.migrate]\nstart_command = \"TEST_SERVICE note migrated exit 0\"\noneshot = true\ndependencies = [\"db\"]\n\
         [services.web]\nstart_command = \"TEST_SERVICE\"\ndependencies = [\"migrate\"]\n",
    ) else {
        return;
    };
    let done = || project.read("migrated").lines().count();
    assert!(project.value("service health").column("healthy").iter().all(|healthy| healthy == "null"));
    project.value("service start --all");
    let rows = project.value("service restart --all");
    assert_eq!(
        (&rows.row("migrate")["action"], &rows.row("web")["action"]),
        (&"unchanged".into(), &"restarted".into())
    );
    let rows = project.value("service restart db | sort-by name");
    assert_eq!((rows.column("name"), done()), (vec!["db".to_owned(), "web".to_owned()], 1));
    project.value("service restart migrate");
    assert_eq!(done(), 2);
    project.value("service restart --all --oneshots");
    assert_eq!(done(), 3);
    assert!(project.value("service health migrate")[0]["healthy"].is_null());
}

#[test]
fn a_service_can_say_itself_that_it_is_ready() {
    let Some(project) = Project::new(
        r#"
        [services.notifies]
        start_command = "TEST_SERVICE wait 150 note notified notify"
        ready = { notify = true }

        [services.logs]
        start_command = "TEST_SERVICE wait 150 note logged say 'accepting connections'"
        ready = { log = "accepting \\w+" }
        "#,
    ) else {
        return;
    };
    assert_eq!(project.value("service start notifies logs").column("ok"), ["true", "true"]);
    assert!(!project.read("notified").is_empty() && !project.read("logged").is_empty());
}

#[test]
fn a_service_runs_where_and_with_what_it_is_told() {
    let Some(project) = Project::new(
        r#"
        [services.web]
        start_command = "env"
        shell = "sh"
        oneshot = true
        working_dir = "inner"
        env = { COLOUR = "green" }
        env_file = "web.env"
        "#,
    ) else {
        return;
    };
    project.write("inner/.keep", "");
    project.write("web.env", "# a comment\nSHAPE=\"round one\"\n");
    project.value("service start web");
    let lines = project.value("service logs web").column("line");
    let inner = format!("PWD={}", project.path("inner").canonicalize().unwrap().display());
    for wanted in ["COLOUR=green", "SHAPE=round one", &inner] {
        assert!(lines.iter().any(|line| line == wanted), "no {wanted} in {lines:?}");
    }
}

/// A program that sends its arguments to its notify socket.
const NOTIFIES: &str = "import os, socket, time\n\
    def say(text):\n    \
        at = os.environ['NOTIFY_SOCKET'].replace('@', '\\0', 1)\n    \
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(text.encode(), at)\n";

#[test]
fn a_service_that_asks_for_time_gets_it_and_what_it_says_is_told() {
    let Some(project) = Project::new(
        "[services.asks]\nstart_command = \"python3 asks.py\"\nready = { notify = true, timeout = \"500ms\" }\n\
         [services.stuck]\nstart_command = \"python3 stuck.py\"\nready = { notify = true, timeout = \"2s\" }\nrestart = \"no\"",
    ) else {
        return;
    };
    project.write(
        "asks.py",
        &format!(
            "{NOTIFIES}say('EXTEND_TIMEOUT_USEC=60000000\\nSTATUS=replaying the journal')\n\
             while not os.path.exists('go'): time.sleep(0.02)\nsay('READY=1\\nSTATUS=up')\ntime.sleep(1000)\n"
        ),
    );
    project.write("stuck.py", &format!("{NOTIFIES}say('STATUS=waiting for the moon')\ntime.sleep(1000)\n"));
    project.value("service start asks --no-wait");
    eventually("its status is told", || {
        project.status("asks")["reason"]
            .as_str()
            .filter(|reason| reason.contains("replaying the journal"))
            .map(drop)
    });
    // This exceeds the start timeout without the extension.
    std::thread::sleep(std::time::Duration::from_millis(700));
    assert_eq!(project.status("asks")["state"], "starting");
    std::fs::write(project.path("go"), "").expect("the directory is ours");
    eventually("it is ready", || (project.status("asks")["state"] == "ready").then_some(()));
    assert_eq!(project.status("asks")["reason"], serde_json::Value::Null);
    let failed = project.error("service start stuck");
    assert!(failed["msg"].as_str().is_some_and(|msg| msg.contains("waiting for the moon")), "{failed}");
}

#[test]
fn of_many_those_that_failed_come_last_and_a_line_tells_how_many() {
    let quick = |nth: usize| {
        format!("[services.s{nth}]\nstart_command = \"TEST_SERVICE\"\nready = {{ delay = \"300ms\" }}\n")
    };
    let services: String = (0..6).map(quick).collect();
    let Some(project) = Project::new(&format!(
        "[services.a]\nstart_command = \"false\"\nrestart = \"no\"\n[services.b]\nstart_command = \"false\"\nrestart = \"no\"\n{services}"
    )) else {
        return;
    };
    let names = "a s0 s1 b s2 s3 s4 s5";
    for front in ["", "use SERVICE_HTTP *; "] {
        let front =
            front.replace("SERVICE_HTTP", &format!("'{}/../nu/service-http'", env!("CARGO_MANIFEST_DIR")));
        let answer = project.nu(&format!("{front}service start {names} | get ok | to json --raw"));
        assert_eq!(answer.stdout.trim(), "[true,true,true,true,true,true,false,false]", "{answer:?}");
        assert_eq!(answer.stderr.matches("6 of 8 started, 2 failed: ").count(), 1, "{answer:?}");
        project.value("service stop --all");
        let few = project.nu(&format!("{front}service start a s0 | get name | to json --raw"));
        assert_eq!(few.stdout.trim(), r#"["s0","a"]"#, "{few:?}");
        assert!(!few.stderr.contains(" started, "), "{few:?}");
        project.value("service stop --all");
    }
}
