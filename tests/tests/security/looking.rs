//! Read-only commands run nothing that the user has not accepted: no program, no manager module and no check of a
//! `services.toml`.

use service_tests::{Project, ServiceTable, eventually};
use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

/// A project whose services record when any of their commands is run.
fn watched() -> Option<Project> {
    let project = Project::new("")?;
    let ran = project.path("ran");
    let note = |who: &str| format!("sh -c 'echo {who} >> {}; false'", ran.display());
    project.write(
        "m.nu",
        &format!(
            "export-env {{ \"module\\n\" | save --append {0} }}\nexport def start [] {{ {{state: running}} }}\n\
             export def stop [] {{ {{state: stopped}} }}\nexport def status [] {{ {{state: stopped}} }}\n\
             export def logs [] {{ [] }}\n",
            ran.display()
        ),
    );
    let nu = project.write(
        "nu.sh",
        &format!("#!/bin/sh\necho nu >> {}\nexec '{}' \"$@\"\n", ran.display(), project.shell()[0].display()),
    );
    fs::set_permissions(nu, Permissions::from_mode(0o755)).expect("it is ours");
    project.define(&format!(
        "[orchestrator.managers]\nnu = \"nu.sh\"\n\
         [services.command]\nmanager = \"command\"\nstart_command = \"true\"\nstop_command = \"true\"\nstatus_command = \"{}\"\n\
         [services.module]\nmanager = \"m.nu\"\n\
         [services.checked]\nstart_command = \"TEST_SERVICE\"\nhealth_check_endpoint = \"exec:{}\"\n\
         [services.plain]\nstart_command = \"TEST_SERVICE\"\n",
        note("status"),
        note("check"),
    ));
    Some(project)
}

/// Every read-only command.
const LOOKS: &[&str] = &[
    "service status",
    "service status --long",
    "service list",
    "service order",
    "service graph",
    "service plan",
    "service managers",
    "service check",
    "service events",
    "service history",
    "service health",
    "service why command",
    "service why module",
    "service logs plain",
    "try { service logs module }",
    "try { service wait module --for running --timeout 100ms }",
    "service daemon status",
];

#[test]
fn who_only_looks_runs_nothing_of_a_file_that_nobody_has_accepted() {
    let Some(project) = watched() else { return };
    let front = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../nu/service-http");
    let program = service_tests::program("orchestratord").display().to_string();
    let plain = format!("$env.ORCHESTRATORD = '{program}'; use {} *; ", front.display());
    for load in [String::new(), plain] {
        let answer = project.nu(&format!("{load}{}", LOOKS.join(" | ignore; ")));
        assert!(answer.success, "{answer:?}");
    }
    let rows = project.value("service status --long");
    for name in ["command", "module"] {
        let row = rows.row(name);
        assert_eq!((&row["status"], &row["state"]), (&"unknown".into(), &"unknown".into()), "{row}");
        assert!(row["reason"].as_str().is_some_and(|reason| reason.starts_with("not asked: ")), "{row}");
        let why = project.value(&format!("service why {name}"));
        assert!(why["summary"].as_str().is_some_and(|told| told.starts_with("not asked: ")), "{why}");
        assert_eq!(project.error(&format!("service stop {name}"))["code"], "service::untrusted_file");
    }
    assert_eq!(rows.row("plain")["state"], "stopped");
    let health = project.value("service health checked");
    assert!(health.row("checked")["message"].as_str().is_some_and(|told| told.starts_with("not checked: ")));
    assert_eq!(project.read("ran"), "", "nothing of it ran");
    // A new daemon has no further acceptance.
    project.kill_daemon();
    project.value("service status");
    assert_eq!(project.read("ran"), "", "nothing of it ran");
    // A request for any service accepts the whole file.
    project.value("service start plain");
    eventually("they are asked", || {
        let rows = project.value("service status");
        (rows.row("command")["state"] == "stopped" && rows.row("module")["state"] == "stopped").then_some(())
    });
    eventually("it ran", || {
        let ran = project.read("ran");
        ["nu", "module", "status"].iter().all(|who| ran.contains(who)).then_some(())
    });
}

#[test]
fn what_a_file_says_anew_is_not_asked_before_it_is_accepted_anew() {
    let Some(project) = Project::new("") else { return };
    let define = |who: &str| {
        project.define(&format!(
            "[services.web]\nmanager = \"command\"\nstart_command = \"true\"\nstop_command = \"true\"\n\
             status_command = \"sh -c 'echo {who} >> {}; false'\"\nhealth.interval = \"50ms\"\n\
             [services.plain]\nstart_command = \"TEST_SERVICE\"\n",
            project.path("ran").display()
        ));
    };
    define("first");
    project.value("service start plain");
    eventually("it is asked", || project.read("ran").contains("first").then_some(()));
    project.kill_daemon();
    define("pulled");
    let row = project.status("web");
    assert_eq!(row["state"], "unknown", "{row}");
    assert_eq!(project.status("plain")["state"], "ready", "what runs goes on");
    let module = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../nu/service");
    assert!(!project.read("ran").contains("pulled"));
    project.value(&format!("use {}; service trust", module.display()));
    eventually("it is asked", || {
        project.status("web");
        project.read("ran").contains("pulled").then_some(())
    });
    eventually("it is known", || (project.status("web")["state"] == "stopped").then_some(()));
}

/// The changed module records that it was loaded. The accepted module answers with the content of the file beside it.
#[test]
fn what_runs_is_asked_and_stopped_by_the_accepted_module_until_the_changed_one_is_accepted() {
    let Some(project) = Project::new("") else { return };
    let note = |what: &str| format!("\"{what}\\n\" | save --append {}", project.path("ran").display());
    project.write("words.nu", "export def answer [] { {state: running message: fine} }\n");
    let module = |load: &str, what: &str| {
        project.write(
            "m.nu",
            &format!(
                "use ./words.nu\nexport-env {{ {} }}\n\
                 export def start [] {{ {{state: running}} }}\n\
                 export def stop [] {{ {}; {{state: stopped}} }}\n\
                 export def status [] {{ {}; words answer }}\n\
                 export def logs [] {{ {}; [] }}\n",
                note(load),
                note(&format!("{what} stop")),
                note(&format!("{what} status")),
                note(&format!("{what} logs")),
            ),
        );
    };
    module("first", "first");
    project.define("[services.web]\nmanager = \"m.nu\"\nhealth.interval = \"50ms\"\n[services.plain]\nstart_command = \"TEST_SERVICE\"\n");
    project.value("service start web");
    eventually("it is asked", || project.read("ran").contains("first status").then_some(()));
    module("changed", "changed");
    project.write("ran", "");
    eventually("it is asked", || project.read("ran").contains("first status").then_some(()));
    assert_eq!(project.value("service health web").row("web")["message"], "“fine”");
    project.value("service logs web");
    assert!(project.read("ran").contains("first logs"));
    let reason = project.status("web")["reason"].clone();
    assert!(reason.as_str().is_some_and(|reason| reason.contains("its module has changed")), "{reason}");
    // A new daemon uses the copy as well.
    project.kill_daemon();
    project.write("ran", "");
    assert_eq!(project.status("web")["status"], "running");
    eventually("it is asked", || project.read("ran").contains("first status").then_some(()));
    assert_eq!(project.value("service stop web").row("web")["ok"], true);
    let ran = project.read("ran");
    assert!(ran.contains("first stop") && !ran.contains("changed"), "{ran}");
    assert_eq!(project.status("web")["state"], "unknown", "at rest it is not asked");
    project.value("service start web");
    eventually("it is asked", || project.read("ran").contains("changed status").then_some(()));
}

#[test]
fn following_all_logs_runs_no_module_before_it_is_accepted() {
    let Some(project) = Project::new("") else { return };
    let module = |name: &str, log: &str| {
        let note = |what: &str| format!("\"{what}\\n\" | save --append {}", project.path(log).display());
        project.write(
            name,
            &format!(
                "export-env {{ {} }}\nexport def start [] {{ {{state: running}} }}\nexport def stop [] {{ {{state: stopped}} }}\n\
                 export def status [] {{ {{state: stopped}} }}\nexport def logs [] {{ {}; [] }}\n",
                note("loaded"),
                note("asked"),
            ),
        );
    };
    module("accepted.nu", "accepted");
    module("new.nu", "new");
    let accepted = "[services.plain]\nstart_command = \"TEST_SERVICE\"\n[services.accepted]\nmanager = \"accepted.nu\"\n";
    project.define(accepted);
    project.value("service start plain");
    project.define(&format!("{accepted}[services.new]\nmanager = \"new.nu\"\n"));
    assert_eq!(project.status("new")["state"], "unknown");
    let mut stream = UnixStream::connect(project.socket()).expect("the daemon listens");
    stream.write_all(b"GET /api/v1/logs?follow=true HTTP/1.1\r\nhost: localhost\r\naccept: application/x-ndjson\r\n\r\n").expect("it takes a request");
    let mut head = [0; 12];
    stream.read_exact(&mut head).expect("it is answered");
    assert_eq!(&head, b"HTTP/1.1 200");
    let asked = || project.read("accepted").matches("asked").count();
    let before = asked();
    eventually("the accepted module is asked by the follower", || (asked() > before + 2).then_some(()));
    assert_eq!(project.read("new"), "", "nothing of the new module ran");
    project.value("service start plain");
    eventually("the new module is asked as well", || project.read("new").contains("asked").then_some(()));
    drop(stream);
}

#[test]
fn what_is_started_is_what_was_trusted() {
    let Some(project) = Project::new("[services.web]\nstart_command = \"TEST_SERVICE\"\n") else { return };
    let module = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../nu/service");
    let trusted = project.value(&format!("use {}; service trust", module.display()));
    let hash = trusted["hash"].as_str().expect("it has a hash").to_owned();
    project.define("[services.web]\nstart_command = \"TEST_SERVICE say swapped\"\n");
    let error = project.error(&format!("service start web --if-hash {hash}"));
    assert_eq!(error["code"], "service::untrusted_file", "{error}");
    assert_eq!(project.status("web")["state"], "stopped");
    project.define("[services.web]\nstart_command = \"TEST_SERVICE\"\n");
    project.value(&format!("service start web --if-hash {hash}"));
    assert_eq!(project.status("web")["state"], "ready");
}

#[test]
fn what_is_no_regular_file_of_bounded_size_is_an_error_in_words() {
    let Some(project) = Project::new("") else { return };
    let file = project.path("services.toml");
    let fifo = |path: &std::path::Path| {
        let _ = fs::remove_file(path);
        nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).expect("it is ours");
    };
    fifo(&file);
    let error = project.error("service list");
    assert!(error["msg"].as_str().is_some_and(|told| told.contains("not a regular file")), "{error}");
    fs::remove_file(&file).expect("it is ours");
    fs::File::create(&file).and_then(|file| file.set_len(10 << 30)).expect("it takes no room");
    let error = project.error("service list");
    assert!(error["msg"].as_str().is_some_and(|told| told.contains("larger than 16 MiB")), "{error}");
    fs::remove_file(&file).expect("it is ours");
    project.define("[services.web]\nstart_command = \"TEST_SERVICE\"\nenv_file = \"pipe\"\n[services.mod]\nmanager = \"m.nu\"\n");
    fifo(&project.path("pipe"));
    fifo(&project.path("m.nu"));
    for name in ["web", "mod"] {
        let error = project.error(&format!("service start {name}"));
        assert!(error["msg"].as_str().is_some_and(|told| told.contains("not a regular file")), "{error}");
    }
}

#[test]
fn a_manager_that_somebody_has_changed_is_as_it_came_before_it_is_run() {
    let Some(project) = Project::new(
        "[services.web]\nmanager = \"command\"\nstart_command = \"touch up\"\nstop_command = \"rm up\"\nstatus_command = \"test -e up\"\n",
    ) else {
        return;
    };
    project.value("service start web");
    let module = project.state_dir().join("managers/command.nu");
    let text = fs::read_to_string(&module).expect("it is there");
    let planted = project.path("planted");
    fs::write(&module, format!("export-env {{ touch {} }}\n{text}", planted.display())).expect("it is ours");
    project.value("service stop web");
    assert!(!planted.exists(), "it was not run");
    assert_eq!(fs::read_to_string(&module).expect("it is there"), text);
}

#[test]
fn an_answer_is_kept_by_nobody_and_is_what_it_says_to_be() {
    let Some(project) = Project::new("[services.web]\nstart_command = \"TEST_SERVICE\"\n") else { return };
    project.value("service start web");
    let socket = project.socket();
    for request in [
        "GET /api/v1/services/status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        "GET /nowhere HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        "this is no request\r\n\r\n",
    ] {
        let mut stream = UnixStream::connect(&socket).expect("it listens");
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it is answered");
        let answer = answer.to_lowercase();
        for header in ["cache-control: no-store", "x-content-type-options: nosniff"] {
            assert!(answer.contains(header), "{request}: {answer}");
        }
    }
}
