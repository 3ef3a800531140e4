//! The daemon: it outlives shells, its services outlive it, and what it finds broken it sets aside.

use nix::sys::signal::Signal;
use serde_json::Value;
use service_tests::{Project, ServiceTable, alive, eventually, http, signal};
use std::fs;
use std::os::unix::fs::PermissionsExt;

const ONE: &str = "[services.web]\nstart_command = \"ACTOR\"\nrestart = \"no\"";

/// Kills the daemon and waits until it is gone.
fn kill_daemon(project: &Project) {
    let daemon = project.daemon();
    signal(daemon, Signal::SIGKILL);
    eventually("the daemon is gone", || (!alive(daemon)).then_some(()));
}

#[test]
fn a_killed_daemon_leaves_its_services_alone_and_takes_them_back() {
    let Some(project) = Project::new(ONE) else { return };
    project.value("service start web");
    let pid = project.pid("web");
    kill_daemon(&project);
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
    kill_daemon(&project);
    project.write("end", "");
    eventually("the service ends", || (!alive(pid)).then_some(()));
    eventually("its exit code is told", || (project.status("web")["exit_code"] == 7).then_some(()));
    assert_eq!(project.status("web")["status"], "failed");
    assert_eq!(project.value("service logs web | where stream == stdout").column("line"), ["bye"]);
}

#[test]
fn what_was_wanted_is_wanted_when_the_daemon_comes_back() {
    let Some(project) = Project::new("[services.web]\nstart_command = \"ACTOR\"\nrestart = \"always\"")
    else {
        return;
    };
    project.value("service start web");
    let pid = project.pid("web");
    kill_daemon(&project);
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
    kill_daemon(&project);
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
    project.value("service start web"); // that shell has ended now
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
    let (status, nowhere) = http(&socket, "GET", "/api/v1/nowhere");
    assert_eq!((status, &nowhere["success"]), (404, &false.into()));
}

#[test]
fn a_new_daemon_takes_over_at_once_and_restarts_no_service() {
    let Some(project) = Project::new("[services.web]\nstart_command = \"ACTOR note starts\"") else { return };
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

/// The process ids that a shim wrote down about its run: its own, and the service's.
fn run_of(project: &Project, name: &str) -> (u32, u32) {
    let record = project.state_dir().join("services").join(name).join("run.json");
    let record = fs::read(record).expect("a service that was started has a record");
    let record: Value = serde_json::from_slice(&record).expect("a record is JSON");
    let pid =
        |process: &Value| process["pid"].as_u64().and_then(|pid| pid.try_into().ok()).expect("it has a pid");
    (pid(&record["shim"]), pid(&record["phase"]["running"]["leader"]))
}

#[test]
fn a_killed_shim_takes_the_whole_service_along_and_the_service_comes_back() {
    let services = "[services.web]\nstart_command = \"setsid sleep 1000 & sleep 1001 & exec sleep 1002\"\nshell = \"sh\"";
    let Some(project) = Project::new(services) else { return };
    project.value("service start web");
    let before = project.processes();
    let (shim, leader) = run_of(&project, "web");
    signal(shim, Signal::SIGKILL);
    let again = eventually("it runs again", || {
        let status = project.status("web");
        (status["state"] == "ready" && status["pid"] != leader).then_some(status)
    });
    assert_eq!(again["restarts"], 1, "{again}");
    // The daemon stays; of the old run nothing does, not even what had left the session.
    let daemon = project.daemon();
    let survivors: Vec<u32> = before.into_iter().filter(|pid| *pid != daemon && alive(*pid)).collect();
    assert_eq!(survivors, Vec::<u32>::new());
}
