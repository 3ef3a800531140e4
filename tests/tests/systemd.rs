//! The systemd manager, against a real `systemd --user`.

use nix::sys::signal::Signal;
use serde_json::Value;
use service_tests::{Project, ServiceTable, Systemd, eventually, signal};
use std::os::unix::fs::PermissionsExt;

const STAYS: &str = "[Service]\nExecStart=/bin/sleep infinity\nRestart=on-failure\nRestartSec=0\n";

/// Units of the user's own systemd, also for root, with frequent checks.
fn services(text: &str) -> Option<(Project, Systemd)> {
    let defaults = "[orchestrator.service_defaults.health]\ninterval = \"300ms\"\n";
    let project = Project::new(&format!("{defaults}{text}"))?;
    let systemd = Systemd::start(&project)?;
    Some((project, systemd))
}

#[test]
fn a_unit_is_started_seen_and_stopped() {
    let Some((project, systemd)) =
        services("[services.web]\nmanager = \"systemd\"\nwith = { scope = \"user\" }")
    else {
        return;
    };
    systemd.unit("web.service", STAYS);
    let started = project.value("service start web");
    assert_eq!(started.row("web")["health"], "healthy", "{started}");
    let status = project.status("web");
    assert_eq!(status["pid"].to_string(), systemd.property("web", "MainPID"));
    assert!(status["memory"].as_u64().is_some_and(|bytes| bytes > 100_000), "{status}");
    assert!(status["uptime"].is_number(), "{status}");
    project.value("service stop web");
    assert_eq!(systemd.property("web", "ActiveState"), "inactive");
    assert_eq!(project.status("web")["state"], "stopped");
}

#[test]
fn what_systemd_restarts_by_itself_goes_on_with_another_pid_and_is_counted() {
    let Some((project, systemd)) =
        services("[services.web]\nmanager = \"systemd\"\nwith = { scope = \"user\" }")
    else {
        return;
    };
    systemd.unit("web.service", STAYS);
    project.value("service start web");
    let before = project.pid("web");
    signal(before, Signal::SIGKILL);
    eventually("its restart is seen", || {
        let status = project.status("web");
        (status["restarts"] == 1 && status["pid"].is_number() && status["pid"] != before).then_some(())
    });
    let states = project.value("service events web | where event == state | get to");
    assert_eq!(states, serde_json::json!(["starting", "ready"]), "it was up all the time");
    project.value("service stop web");
}

#[test]
fn a_unit_that_somebody_stops_rests_or_comes_back_as_its_policy_says() {
    let Some((project, systemd)) = services(
        r#"
        [services.rests]
        manager = "systemd"
        with = { scope = "user" }
        [services.returns]
        manager = "systemd"
        with = { scope = "user", unit = "other.service" }
        restart = "always"
        "#,
    ) else {
        return;
    };
    systemd.unit("rests.service", STAYS);
    systemd.unit("other.service", STAYS);
    project.value("service start rests returns");
    let before = project.pid("returns");
    systemd.systemctl(&["stop", "rests", "other"]);
    eventually("one is up again", || {
        let status = project.status("returns");
        (status["state"] == "ready" && status["pid"].is_number() && status["pid"] != before).then_some(())
    });
    eventually("the other is seen to rest", || {
        (project.status("rests")["state"] == "completed").then_some(())
    });
    assert_eq!(systemd.property("rests", "ActiveState"), "inactive");
    project.value("service stop returns");
}

#[test]
fn a_unit_that_somebody_starts_is_seen_with_its_pid_and_can_be_stopped() {
    let Some((project, systemd)) =
        services("[services.web]\nmanager = \"systemd\"\nwith = { scope = \"user\" }")
    else {
        return;
    };
    systemd.unit("web.service", STAYS);
    project.trust();
    assert_eq!(project.status("web")["state"], "stopped");
    let seen = || {
        let pid: serde_json::Value = systemd.property("web", "MainPID").parse::<u32>().ok()?.into();
        Some(project.status("web")).filter(|status| status["state"] == "ready" && status["pid"] == pid)
    };
    systemd.systemctl(&["start", "web"]);
    eventually("it is seen while nobody wants it", seen);
    project.value("service start web");
    systemd.systemctl(&["stop", "web"]);
    eventually("it rests", || (project.status("web")["state"] == "completed").then_some(()));
    systemd.systemctl(&["start", "web"]);
    eventually("it is seen after it had ended", seen);
    assert_eq!(project.value("service stop web").row("web")["action"], "stopped");
    assert_eq!(systemd.property("web", "ActiveState"), "inactive");
}

#[test]
fn a_unit_that_fails_is_told_with_its_result() {
    let Some((project, systemd)) = services(
        r#"
        [services.soon]
        manager = "systemd"
        with = { scope = "user" }
        restart = "no"
        [services.later]
        manager = "systemd"
        with = { scope = "user" }
        restart = "no"
        "#,
    ) else {
        return;
    };
    systemd.unit("soon.service", "[Service]\nType=oneshot\nExecStart=/bin/false\n");
    systemd.unit("later.service", "[Service]\nExecStart=/bin/sh -c 'read line < %t/fifo; exit 3'\n");
    let fifo = project.path("run/fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let error = project.error("service start soon");
    assert_eq!(error["code"], "service::start_failed");
    let message = error["msg"].as_str().unwrap();
    assert!(message.contains("code 1: soon.service failed") && !message.contains('\n'), "{error:#}");
    assert!(
        error["help"].as_str().is_some_and(|help| help.starts_with("see `service logs soon`")),
        "{error}"
    );
    assert_eq!(project.status("soon")["exit_code"], 1);
    project.value("service start later");
    std::fs::write(fifo, "now\n").unwrap();
    let status = eventually("its end is seen", || {
        Some(project.status("later")).filter(|status| status["state"] == "failed")
    });
    assert_eq!(status["exit_code"], 3, "{status:#}");
    assert!(status["reason"].as_str().unwrap().contains("failed (failed): exit-code"), "{status:#}");
}

#[test]
fn a_oneshot_unit_is_completed_by_its_start() {
    let Some((project, systemd)) =
        services("[services.once]\nmanager = \"systemd\"\noneshot = true\nwith = { scope = \"user\" }")
    else {
        return;
    };
    systemd.unit("once.service", "[Service]\nType=oneshot\nExecStart=/bin/true\n");
    let started = project.value("service start once");
    assert_eq!(started.row("once")["ok"], true, "{started}");
    assert_eq!(project.status("once")["state"], "completed");
}

#[test]
fn a_unit_that_is_not_there_is_told_by_name() {
    let Some((project, _systemd)) =
        services("[services.nope]\nmanager = \"systemd\"\nwith = { scope = \"user\" }")
    else {
        return;
    };
    let error = project.error("service start nope");
    assert!(error["msg"].as_str().unwrap().contains("Unit nope.service not found"), "{error:#}");
}

/// A private systemd has no journal, so a file replaces it.
#[test]
fn lines_of_the_journal_are_lines_of_the_log() {
    let Some(project) = Project::new("[services.web]\nmanager = \"systemd\"\nwith = { scope = \"user\" }")
    else {
        return;
    };
    let entry = |seconds: u64, message: &str| {
        format!(r#"{{"__REALTIME_TIMESTAMP":"{seconds}000000","MESSAGE":{message}}}"#)
    };
    let lines = [entry(1_767_225_600, r#""first""#), entry(1_767_225_601, "[195, 164]")].join("\n");
    project.write("bin/lines", &lines);
    let fake = project.write(
        "bin/journalctl",
        "#!/bin/sh\ncd \"$(dirname \"$0\")\" && echo \"$*\" > asked && exec cat lines\n",
    );
    std::fs::set_permissions(&fake, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", project.path("bin").display(), std::env::var("PATH").unwrap());
    let project = project.env("PATH", path);
    project.trust();
    let rows = project.value("service logs web --tail 7 | update time { format date '%s' }");
    assert_eq!(rows.column("time"), ["1767225600", "1767225601"]);
    assert_eq!(rows.column("line"), ["first", "ä"]);
    let asked = project.read("bin/asked");
    assert!(asked.contains("--user-unit=web.service") && asked.contains("--lines=7"), "{asked}");
}

#[test]
fn a_unit_that_a_signal_ends_is_told_with_the_signal_as_a_process_is() {
    let Some((project, systemd)) = services(
        "[services.web]\nmanager = \"systemd\"\nrestart = \"no\"\nwith = { scope = \"user\" }\n\
         [services.own]\nstart_command = \"sleep infinity\"\nrestart = \"no\"\n\
         [services.once]\nmanager = \"systemd\"\nrestart = \"no\"\nwith = { scope = \"user\" }",
    ) else {
        return;
    };
    systemd.unit("web.service", "[Service]\nExecStart=/bin/sleep infinity\n");
    systemd.unit("once.service", "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'kill -USR1 $$$$'\n");
    project.value("service start web own");
    for name in ["web", "own"] {
        signal(project.pid(name), Signal::SIGKILL);
        eventually("it has ended", || (project.status(name)["state"] == "failed").then_some(()));
        let status = project.status(name);
        assert_eq!(
            (&status["exit_code"], &status["exit_signal"]),
            (&Value::Null, &"SIGKILL".into()),
            "{name}"
        );
        let signals =
            project.value(&format!("service history {name} | where exit_signal? != null | get exit_signal"));
        assert_eq!(signals, serde_json::json!(["SIGKILL"]), "{name}");
        let reasons = project
            .value(&format!("service events {name} | where event == state and to == failed | get reason"));
        assert!(reasons[0].as_str().unwrap().starts_with("was ended by SIGKILL"), "{name}: {reasons}");
    }
    let error = project.error("service start once");
    assert!(error["msg"].as_str().unwrap().contains("was ended by SIGUSR1"), "{error:#}");
    assert_eq!(project.status("once")["exit_signal"], "SIGUSR1");
}

/// systemd retains the exit status of a unit while another unit refers to it, as with every enabled unit.
#[test]
fn a_unit_that_ends_well_for_systemd_rests_whatever_ended_it() {
    let Some((project, systemd)) = services(
        "[services.asked]\nmanager = \"systemd\"\nwith = { scope = \"user\" }\n\
         [services.java]\nmanager = \"systemd\"\nwith = { scope = \"user\" }",
    ) else {
        return;
    };
    systemd.unit("asked.service", STAYS);
    systemd.unit(
        "java.service",
        "[Service]\nExecStart=/bin/sh -c 'trap \"exit 143\" TERM; while :; do sleep 0.1; done'\nSuccessExitStatus=143\n",
    );
    systemd.unit("all.target", "[Unit]\nWants=asked.service java.service\n");
    systemd.systemctl(&["start", "all.target"]);
    project.value("service start asked java");
    systemd.systemctl(&["stop", "asked", "java"]);
    for name in ["asked", "java"] {
        eventually("it rests", || (project.status(name)["state"] == "completed").then_some(()));
    }
    assert_eq!(systemd.property("asked", "ExecMainStatus"), "15", "systemd remembers");
    assert_eq!(project.status("asked")["exit_signal"], "SIGTERM");
    let why = project.value("service why java | to text");
    assert!(why.as_str().is_some_and(|why| why.contains("exit code 143")), "{why}");
}

#[test]
fn what_is_wrong_with_one_unit_is_no_matter_of_the_others() {
    let Some((project, systemd)) = services(
        r#"
        [services.web]
        manager = "systemd"
        restart = "no"
        with = { scope = "user" }
        [services.pattern]
        manager = "systemd"
        with = { scope = "user", unit = "*" }
        [services.template]
        manager = "systemd"
        with = { scope = "user", unit = "a@" }
        [services.elsewhere]
        manager = "systemd"
        with = { scope = "system" }
        "#,
    ) else {
        return;
    };
    systemd.unit("web.service", STAYS);
    project.value("service start web");
    systemd.systemctl(&["stop", "web"]);
    eventually("it is seen", || (project.status("web")["state"] == "completed").then_some(()));
    let error = project.error("service start pattern");
    assert!(error["msg"].as_str().unwrap().contains("not the name of a unit"), "{error:#}");
}

#[test]
fn no_name_of_a_unit_becomes_an_option() {
    let unit = "with = { scope = \"user\", unit = \"--host=nowhere\" }";
    let Some((project, _systemd)) =
        services(&format!("[services.web]\nmanager = \"systemd\"\nrestart = \"no\"\n{unit}"))
    else {
        return;
    };
    let error = project.error("service start web");
    assert!(error["msg"].as_str().unwrap().contains("not the name of a unit"), "{error:#}");
}
