//! The daemon: it outlives shells, its services outlive it, and it sets damaged files aside.

use nix::sys::signal::Signal;
use service_tests::{
    Answer, Project, ServiceTable, alive, eventually, free_port, http, name, program, signal,
};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

const ONE: &str = "[services.web]\nstart_command = \"TEST_SERVICE\"\nrestart = \"no\"";

#[test]
fn a_killed_daemon_leaves_its_services_alone_and_takes_them_back() {
    let Some(project) = Project::new(ONE) else { return };
    project.value("service start web");
    let pid = project.pid("web");
    project.kill_daemon();
    assert!(alive(pid));
    assert_eq!(project.pid("web"), pid, "the next daemon knows it");
    eventually("it is ready as before", || (project.status("web")["state"] == "ready").then_some(()));
    assert_eq!(project.status("web")["restarts"], 0);
    assert_eq!(project.value("service start web").row("web")["action"], "unchanged");
    project.value("service stop web");
    assert!(!alive(pid));
}

#[test]
fn an_exit_code_is_known_though_nobody_was_there() {
    let Some(project) = Project::new(
        "[services.web]\nstart_command = [\"sh\", \"-c\", \"while ! test -e end; do sleep 0.02; done; echo bye; exit 7\"]\nrestart = \"no\"",
    ) else {
        return;
    };
    project.value("service start web");
    let pid = project.pid("web");
    project.kill_daemon();
    project.write("end", "");
    eventually("the service ends", || (!alive(pid)).then_some(()));
    eventually("its exit code is told", || (project.status("web")["exit_code"] == 7).then_some(()));
    assert_eq!(project.status("web")["status"], "failed");
    assert_eq!(project.value("service logs web | where stream == stdout").column("line"), ["bye"]);
}

#[test]
fn what_was_wanted_is_wanted_when_the_daemon_comes_back() {
    let Some(project) =
        Project::new("[services.web]\nstart_command = \"TEST_SERVICE\"\nrestart = \"always\"")
    else {
        return;
    };
    project.value("service start web");
    let pid = project.pid("web");
    project.kill_daemon();
    signal(pid, Signal::SIGKILL);
    eventually("the service is gone", || (!alive(pid)).then_some(()));
    eventually("it runs again", || {
        let status = project.status("web");
        (status["pid"].is_u64() && status["pid"] != pid).then_some(())
    });
}

#[test]
fn a_state_file_that_cannot_be_read_is_set_aside_and_services_go_on() {
    let Some(project) = Project::new(ONE) else { return };
    project.value("service start web");
    let pid = project.pid("web");
    project.kill_daemon();
    for entry in fs::read_dir(project.state_dir()).unwrap().flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "json") {
            fs::write(entry.path(), "{ this was never JSON").unwrap();
        }
    }
    assert_eq!(project.pid("web"), pid, "the service goes on and is known");
    assert_eq!(project.value("service stop web").row("web")["ok"], true);
}

#[test]
fn the_daemon_can_stop_without_its_services_and_with_them() {
    let Some(project) = Project::new(ONE) else { return };
    project.value("service start web");
    let (pid, daemon) = (project.pid("web"), project.daemon());
    project.value("service daemon stop");
    eventually("the daemon ends", || (!alive(daemon)).then_some(()));
    assert!(alive(pid));
    assert_eq!(project.pid("web"), pid);
    project.value("service daemon stop --services");
    eventually("all have ended", || project.processes().is_empty().then_some(()));
}

#[test]
fn the_daemon_outlives_the_shell_that_started_it() {
    let Some(project) = Project::new(ONE) else { return };
    project.value("service start web"); // the shell of this command has exited
    let daemon = project.daemon();
    project.value("service status");
    assert_eq!(project.daemon(), daemon);
}

#[test]
fn nobody_else_may_talk_to_the_daemon_or_read_what_it_keeps() {
    let Some(project) = Project::new(ONE) else { return };
    project.value("service start web");
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let socket = project.socket();
    assert_eq!(mode(&socket), 0o600);
    assert_eq!(mode(socket.parent().unwrap()), 0o700);
    assert_eq!(mode(&project.state_dir()), 0o700);
}

#[test]
fn the_api_answers_in_the_envelope_of_the_guide() {
    let Some(project) = Project::new(ONE) else { return };
    project.value("service start web");
    let socket = project.socket();
    let (status, list) = http(&socket, "GET", "/api/v1/services/list");
    assert_eq!((status, &list["success"], &list["error"]), (200, &true.into(), &serde_json::Value::Null));
    assert_eq!(list["data"].column("name"), ["web"]);
    let (status, health) = http(&socket, "GET", "/api/v1/services/web/health");
    assert_eq!((status, &health["data"]["healthy"]), (200, &true.into()));
    let (status, missing) = http(&socket, "POST", "/api/v1/services/wbe/start");
    assert_eq!((status, &missing["success"]), (404, &false.into()), "{missing}");
    assert_eq!(missing["error"]["code"], "not_found");
    assert!(missing["error"]["help"].as_str().unwrap().contains("web"), "{missing}");
    let (status, stopped) = http(&socket, "POST", "/api/v1/services/web/stop");
    assert_eq!((status, stopped["data"].row("web")["action"].as_str()), (200, Some("stopped")));
    let (status, wrong) = http(&socket, "GET", "/api/v1/services/web/stop");
    assert_eq!((status, &wrong["error"]["code"]), (405, &"bad_request".into()), "{wrong}");
    let (status, nowhere) = http(&socket, "GET", "/api/v1/nowhere");
    assert_eq!((status, &nowhere["success"]), (404, &false.into()));
}

#[test]
fn a_new_daemon_takes_over_at_once_and_restarts_no_service() {
    let Some(project) = Project::new("[services.web]\nstart_command = \"TEST_SERVICE note starts\"") else {
        return;
    };
    project.value("service start web");
    let (daemon, web) = (project.daemon(), project.pid("web"));
    for _ in 0..5 {
        project.value("service daemon restart");
        assert_eq!(project.status("web")["state"], "ready");
    }
    assert_ne!(project.daemon(), daemon);
    assert_eq!(project.pid("web"), web);
    assert_eq!(project.read("starts").lines().count(), 1);
}

#[test]
fn a_killed_shim_takes_the_whole_service_along_and_the_service_comes_back() {
    let services = "[services.web]\nstart_command = \"setsid sleep 1000 & sleep 1001 & exec sleep 1002\"\nshell = \"sh\"";
    let Some(project) = Project::new(services) else { return };
    project.value("service start web");
    let before = project.processes();
    let (shim, leader) = project.run_of("web");
    signal(shim, Signal::SIGKILL);
    let again = eventually("it runs again", || {
        let status = project.status("web");
        (status["state"] == "ready" && status["pid"] != leader).then_some(status)
    });
    assert_eq!(again["restarts"], 1, "{again}");
    // The daemon and its zygote remain. All processes of the old run have ended, including processes that had left the
    // session.
    let stays = |pid: &u32| ["orchestratord", "shim-template"].contains(&name(*pid).as_str());
    let survivors: Vec<u32> = before.into_iter().filter(|pid| alive(*pid) && !stays(pid)).collect();
    assert_eq!(survivors, Vec::<u32>::new());
}

#[test]
fn a_record_that_cannot_be_read_does_not_start_a_service_twice() {
    let Some(project) = Project::new("[services.web]\nstart_command = \"TEST_SERVICE note starts\"") else {
        return;
    };
    project.value("service start web");
    let pid = project.pid("web");
    project.kill_daemon();
    fs::write(project.run_json("web"), "garbage").unwrap();
    assert_eq!(project.value("service start web").row("web")["ok"], true);
    assert_eq!(project.pid("web"), pid);
    assert_eq!(project.read("starts").lines().count(), 1);
}

#[test]
fn whoever_stops_the_daemon_gets_an_answer_however_late_the_body_comes() {
    let Some(project) = Project::new(ONE) else { return };
    for _ in 0..10 {
        project.value("service status");
        let socket = project.socket();
        let mut stream = UnixStream::connect(&socket).expect("the daemon listens");
        let head = "POST /api/v1/daemon/stop HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n";
        stream.write_all(head.as_bytes()).expect("the daemon reads");
        // The daemon has noticed the aborted request once it has answered another client.
        http(&socket, "GET", "/api/v1/version");
        stream.write_all(b"{}").expect("the daemon still reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the daemon answers");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let gone = || UnixStream::connect(&socket).is_err().then_some(());
        eventually("the daemon has gone", gone);
    }
}

#[test]
fn who_waits_is_told_when_the_daemon_ends() {
    let port = free_port();
    let Some(project) = Project::new(&format!(
        "[services.slow]\nstart_command = \"TEST_SERVICE wait 60000\"\nhealth_check_endpoint = \"tcp://127.0.0.1:{port}\""
    )) else {
        return;
    };
    let waiting = project.spawn("try { service start slow } catch {|e| $e.details.code } | to json --raw");
    eventually("it starts", || {
        let status = project.nu("service status slow --long | to json --raw");
        (status.success && status.value().row("slow")["state"] == "starting").then_some(())
    });
    project.value("service daemon stop");
    assert_eq!(Answer::wait_for(waiting).value(), "service::daemon_unreachable");
    project.value("service stop slow");
}

#[test]
fn a_daemon_whose_socket_was_removed_is_found_again() {
    let Some(project) = Project::new(ONE) else { return };
    project.value("service start web");
    let (daemon, web) = (project.daemon(), project.pid("web"));
    fs::remove_file(project.socket()).unwrap();
    assert_eq!(project.pid("web"), web);
    assert_eq!(project.daemon(), daemon);
}

#[test]
fn a_service_that_is_removed_from_the_file_goes_when_it_has_stopped() {
    let Some(project) = Project::new(
        "[services.a]\nstart_command = \"TEST_SERVICE\"\n[services.b]\nstart_command = \"TEST_SERVICE\"",
    ) else {
        return;
    };
    project.value("service start --all");
    project.write("services.toml", "[services.a]\nstart_command = \"sleep 1000\"");
    assert_eq!(project.value("service status").column("name"), ["a", "b"]);
    assert_eq!(project.error("service start b")["code"], "service::not_found");
    assert_eq!(project.value("service stop b").row("b")["action"], "stopped");
    assert_eq!(project.value("service status").column("name"), ["a"]);
}

#[test]
fn with_a_broken_file_a_new_daemon_shows_and_stops_what_runs_and_takes_the_mended_file_up() {
    let services = "[services.web]\nstart_command = \"TEST_SERVICE note starts\"\nrestart = \"always\"\n[services.other]\nstart_command = \"TEST_SERVICE\"";
    let Some(project) = Project::new(services) else { return };
    project.value("service start --all");
    let (web, other) = (project.pid("web"), project.pid("other"));
    project.kill_daemon();
    project.write("services.toml", "[services.web");
    assert_eq!(project.pid("web"), web);
    assert_eq!(project.error("service start web")["code"], "service::bad_definition");
    assert_eq!(project.value("service stop other").row("other")["ok"], true);
    assert!(!alive(other));
    project.define(services);
    assert_eq!(project.value("service start web").row("web")["action"], "unchanged");
    signal(web, Signal::SIGKILL);
    eventually("its policy starts it again", || {
        (project.read("starts").lines().count() == 2 && project.status("web")["state"] == "ready")
            .then_some(())
    });
}

#[test]
fn no_value_of_an_environment_is_in_the_state_directory_and_a_new_daemon_sees_that_it_is_the_same() {
    let services = |value: &str| {
        format!("[services.web]\nstart_command = \"TEST_SERVICE\"\nenv = {{ TOKEN = \"{value}\" }}")
    };
    let Some(project) = Project::new(&services("s3cr3t-value")) else { return };
    project.value("service start web");
    project.kill_daemon();
    let found =
        std::process::Command::new("grep").args(["-r", "s3cr3t-value"]).arg(project.state_dir()).output();
    assert_eq!(String::from_utf8_lossy(&found.unwrap().stdout), "");
    assert_eq!(project.value("service plan --all | get change"), serde_json::json!(["none"]));
    project.define(&services("another"));
    assert_eq!(project.value("service plan | get because.0"), "env");
}

#[test]
fn the_shim_that_is_named_is_the_one_that_runs_and_must_be_there() {
    let directory = tempfile::tempdir().unwrap();
    let copy = directory.path().join("another-shim");
    fs::copy(program("service-shim"), &copy).unwrap();
    let Some(project) = Project::new(ONE) else { return };
    let project = project.env("SERVICE_SHIM", copy.display().to_string());
    project.value("service start web");
    let (shim, _) = project.run_of("web");
    assert_eq!(fs::read_link(format!("/proc/{shim}/exe")).unwrap(), copy);
    project.value("service daemon stop --services");
    let project = project.env("SERVICE_SHIM", "/nowhere/service-shim");
    let error = project.error("service start web");
    let text = error.to_string();
    assert!(text.contains("`/nowhere/service-shim`") && text.contains("$SERVICE_SHIM"), "{text}");
}
