//! A launch in flight, through a zygote or to a shim that is killed or frozen: it begins once, or not at all.

use crate::shim::unborn;
use crate::{leaves_nothing, named};
use nix::sys::signal::Signal;
use service_tests::{Project, ServiceTable, alive, eventually, signal};

/// `db` is ready when the test requests it. The other services wait for `db`, and record their starts.
fn crowd(number: usize) -> String {
    let db = "[services.db]\nstart_command = \"TEST_SERVICE\"\nhealth_check_endpoint = \"exec:test -e go\"\n";
    let one = |n: usize| {
        format!(
            "[services.w{n}]\nstart_command = \"TEST_SERVICE alone lock{n} note starts{n}\"\ndependencies = [\"db\"]\n"
        )
    };
    let waiting: String = (0..number).map(one).collect();
    format!("{db}{waiting}[services.free]\nstart_command = \"TEST_SERVICE\"\n")
}

const WAITING: usize = 5;

/// Waits until there is an idle shim for each waiting service. Returns the idle shims.
#[track_caller]
fn crowded(project: &Project) -> Vec<u32> {
    project.value("service start db ...(0..4 | each { $'w($in)' }) --no-wait");
    eventually("as many shims wait as services do", || {
        Some(unborn(project)).filter(|shims| shims.len() == WAITING)
    })
}

#[test]
fn a_zygote_that_is_killed_while_services_wait_takes_no_launch_along() {
    for frozen in [false, true] {
        let Some(project) = Project::new(&crowd(WAITING)) else { return };
        let waiting = crowded(&project);
        let zygote = named(&project, "shim-template")[0];
        if frozen {
            for shim in &waiting {
                signal(*shim, Signal::SIGSTOP);
            }
        }
        signal(zygote, Signal::SIGKILL);
        eventually("there is another one", || {
            (named(&project, "shim-template").first()? != &zygote).then_some(())
        });
        eventually("nobody waits that it had forked", || {
            waiting.iter().all(|shim| !alive(*shim)).then_some(())
        });
        assert_eq!(project.value("service start free").row("free")["ok"], true);
        assert_eq!(project.value("service stop w0").row("w0")["ok"], true);
        project.write("go", "");
        for n in 1..WAITING {
            let name = format!("w{n}");
            assert_eq!(project.value(&format!("service wait {name}")).row(&name)["state"], "ready");
            assert_eq!(project.read(&format!("starts{n}")).lines().count(), 1, "{name}, frozen: {frozen}");
            assert_eq!(project.status(&name)["restarts"], 0, "{name}, frozen: {frozen}");
        }
        assert_eq!(project.read("starts0"), "", "what was asked to stop has not begun");
        leaves_nothing(&project);
    }
}

/// The launches wait in the socket of the frozen zygote.
#[test]
fn a_launch_that_is_on_its_way_does_not_begin_after_a_stop() {
    let Some(project) = Project::new(&crowd(WAITING)) else { return };
    project.write("go", "");
    project.value("service start db");
    signal(named(&project, "shim-template")[0], Signal::SIGSTOP);
    project.value("service start w0 w1 w2 --no-wait");
    let stopped = project.value("service stop w0 w1 w2");
    assert!(stopped.column("ok").iter().all(|ok| ok == "true"), "{stopped}");
    assert_eq!(project.value("service start w3").row("w3")["ok"], true);
    for n in 0..3 {
        assert_eq!(project.read(&format!("starts{n}")), "");
        assert_eq!(project.status(&format!("w{n}"))["state"], "stopped");
    }
    leaves_nothing(&project);
}

/// The stop command cannot work before the service has begun.
#[test]
fn nor_if_it_has_a_stop_command() {
    let Some(project) = Project::new(
        "[services.free]\nstart_command = \"TEST_SERVICE\"\n[services.web]\nstart_command = \"TEST_SERVICE note starts\"\nstop_command = \"touch asked\"\nmanager = \"process\"",
    ) else {
        return;
    };
    project.value("service start free");
    signal(named(&project, "shim-template")[0], Signal::SIGSTOP);
    project.value("service start web --no-wait");
    assert_eq!(project.value("service stop web").row("web")["ok"], true);
    assert_eq!(project.read("starts"), "");
    assert!(!project.path("asked").exists(), "there was nothing to stop");
    leaves_nothing(&project);
}

/// A start that waits in a queue does not use the time limit of the service.
#[test]
fn the_time_that_a_service_has_begins_with_its_process() {
    let Some(project) = Project::new(
        r#"
        [services.free]
        start_command = "TEST_SERVICE"
        [services.web]
        start_command = "TEST_SERVICE say up"
        ready = { log = "up", timeout = "500ms" }
        "#,
    ) else {
        return;
    };
    project.value("service start free");
    let zygote = named(&project, "shim-template")[0];
    // The zygote is continued after a second without a report of a shim.
    signal(zygote, Signal::SIGSTOP);
    let started = project.value("service start web");
    assert_eq!(started.row("web")["ok"], true, "{started}");
    assert_eq!(project.status("web")["restarts"], 0);
    leaves_nothing(&project);
}
