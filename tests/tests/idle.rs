//! The idle timeout of the daemon, and the conditions that prevent it.

use service_tests::{Project, ServiceTable, alive, eventually, follow, free_port, program};
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

const SHORT: &str = "idle_timeout = \"1s\"";
const ONE: &str = "[services.web]\nstart_command = \"TEST_SERVICE\"\n";

#[test]
fn a_daemon_that_nobody_needs_ends_and_the_next_one_knows_all() {
    let text = |idle: &str| {
        format!(
            "[orchestrator]\n{idle}\n{ONE}[services.once]\nstart_command = \"true\"\noneshot = true\n\
             [services.broken]\nstart_command = [\"sh\", \"-c\", \"exit 7\"]\nrestart = \"no\"\n"
        )
    };
    let Some(project) = Project::new(&text("")) else { return };
    project.value("service start web once");
    project.error("service start broken");
    project.value("service stop web");
    let daemon = project.daemon();
    let seen = |line: &str| project.value(line);
    let states = "service status --long | select name status state exit_code restarts reason";
    let events = "service events --since 0 | where event == state";
    let (before, told) = (seen(states), seen(events));
    assert_eq!(before.row("broken")["exit_code"], 7);
    project.define(&text(SHORT));
    seen("service status");
    eventually("it ends", || (!alive(daemon)).then_some(()));
    eventually("with all that is its own", || project.processes().is_empty().then_some(()));
    let run = std::fs::read_dir(project.path("run/service-orchestrator")).expect("its socket was there");
    let sockets = run.flatten().filter(|entry| entry.file_name().to_string_lossy().contains(".sock"));
    assert_eq!(sockets.count(), 0, "no socket is left, under no name");
    assert_eq!(seen(states), before);
    assert_eq!(seen(events), told, "nothing has happened to a service");
    assert_eq!(project.value("service start web").row("web")["ok"], true);
}

/// A project with a daemon that is idle except for `hold`. Its idle timeout is one second from now on.
fn held(services: &str, hold: impl FnOnce(&Project)) -> Option<(Project, u32)> {
    let project = Project::new(services)?;
    project.value("service status");
    hold(&project);
    let daemon = project.daemon();
    project.define(&format!("[orchestrator]\n{SHORT}\n{services}"));
    project.value("service status");
    Some((project, daemon))
}

#[test]
fn a_daemon_that_somebody_needs_stays() {
    let Some(runs) = held(ONE, |project| drop(project.value("service start web"))) else { return };
    let failing = "[services.web]\nstart_command = \"false\"\nbackoff = { initial = \"20m\", max = \"20m\" }\nrestart = \"always\"\n";
    let waits = held(failing, |project| {
        project.nu("service start web");
        assert_eq!(project.status("web")["state"], "backoff");
    });
    let transient = held(ONE, |project| drop(project.value("service run --oneshot --name once true")));
    let mut stream = None;
    let followed = held(ONE, |project| {
        stream = Some(follow(&project.socket(), "/api/v1/events?follow=true"));
    });
    let listens = held(&format!("[orchestrator.api]\nlisten = \"127.0.0.1:{}\"\n{ONE}", free_port()), |_| {});
    let never = held(&format!("[orchestrator.services]\n{ONE}"), |_| {}).inspect(|(project, _)| {
        project.define(&format!("[orchestrator]\nidle_timeout = \"0s\"\n{ONE}"));
        project.value("service status");
    });
    let typed = typed();
    let held = [("runs", Some(runs)), ("waits", waits), ("transient", transient), ("followed", followed)];
    let held = held.into_iter().chain([("listens", listens), ("never", never)]);
    let held: Vec<_> = held.map(|(why, held)| (why, held.expect("there is a nu"))).collect();
    // This daemon becomes idle later than all the others would, and exits after the same time.
    let Some((_idle, last)) = self::held(ONE, |_| {}) else { return };
    eventually("one that nobody needs ends", || (!alive(last)).then_some(()));
    for (why, (project, daemon)) in held {
        assert!(alive(daemon), "{why}: {:?}", project.nu("service daemon status"));
    }
    let (project, mut child) = typed.expect("there is a nu");
    assert!(child.try_wait().expect("it is ours").is_none(), "it was started by hand");
    project.value("service daemon stop");
    let _ = child.wait();
    drop(stream);
}

/// A daemon that a user has started in a terminal.
fn typed() -> Option<(Project, Child)> {
    let project = Project::new(&format!("[orchestrator]\n{SHORT}\n{ONE}"))?;
    let mut command = project.command(&program("orchestratord"));
    let config = project.path("services.toml");
    command.arg("run").arg("--config").arg(config).stderr(Stdio::null());
    let mut child = command.spawn().expect("the daemon can be run");
    let mut line = String::new();
    let stdout = child.stdout.take().expect("it is piped");
    BufReader::new(stdout).read_line(&mut line).expect("it greets");
    assert!(line.contains("ready"), "{line}");
    Some((project, child))
}
