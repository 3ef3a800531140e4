//! Faults between the daemon and its shims: of the zygote that forks them, and of the socket over which they are
//! adopted.

use crate::{leaves_nothing, named};
use nix::sys::signal::Signal;
use service_tests::{Project, ServiceTable, alive, eventually, name, signal};
use std::fs;

const TWO: &str = "[services.web]\nstart_command = \"TEST_SERVICE alone lock say up\"\n[services.other]\nstart_command = \"TEST_SERVICE\"";

#[test]
fn a_frozen_zygote_is_woken_when_a_service_is_to_start() {
    let Some(project) = Project::new(TWO) else { return };
    project.value("service start web");
    signal(named(&project, "shim-template")[0], Signal::SIGSTOP);
    assert_eq!(project.value("service start other").row("other")["ok"], true);
    leaves_nothing(&project);
}

/// The kernel queues about 280 messages for a process that receives none.
#[test]
fn a_frozen_zygote_is_woken_however_many_services_are_to_start() {
    let one = |number: i32| format!("[services.s{number}]\nstart_command = \"sleep 600\"\n");
    let Some(project) = Project::new(&(0..350).map(one).collect::<String>()) else { return };
    project.value("service start s0");
    signal(named(&project, "shim-template")[0], Signal::SIGSTOP);
    let started = project.value("service start --all");
    assert!(started.column("ok").iter().all(|ok| ok == "true"), "{started}");
    leaves_nothing(&project);
}

#[test]
fn a_zygote_that_has_shims_outlives_its_daemon_and_one_that_has_none_does_not() {
    let Some(project) = Project::new(TWO) else { return };
    project.value("service start web");
    let web = project.pid("web");
    project.kill_daemon();
    assert_eq!(project.pid("web"), web);
    assert_eq!(project.value("service start other").row("other")["ok"], true);
    assert_eq!(named(&project, "shim-template").len(), 2);
    project.value("service stop web");
    eventually("the older one has ended", || (named(&project, "shim-template").len() == 1).then_some(()));
    leaves_nothing(&project);
}

/// `db` is ready when the test requests it, and `web` waits for `db`.
const WAITS: &str = r#"
    [services.db]
    start_command = "TEST_SERVICE"
    health_check_endpoint = "exec:test -e go"
    [services.web]
    start_command = "TEST_SERVICE alone lock say up"
    dependencies = ["db"]
"#;

/// Shims without a service.
pub(crate) fn unborn(project: &Project) -> Vec<u32> {
    named(project, "service-shim").into_iter().filter(|pid| below(*pid).is_empty()).collect()
}

/// The idle shim for `web`, once `db` runs.
#[track_caller]
fn one_unborn(project: &Project) -> u32 {
    let both = || Some(unborn(project)).filter(|_| named(project, "service-shim").len() == 2);
    eventually("a shim waits for its launch", || both().filter(|shims| shims.len() == 1))[0]
}

#[test]
fn a_service_that_waited_starts_whoever_of_those_that_wait_for_it_was_killed_or_frozen() {
    for victim in
        ["nobody", "asked to end", "the shim that waits", "the zygote", "both", "the daemon", "frozen"]
    {
        let Some(project) = Project::new(WAITS) else { return };
        project.value("service start web --no-wait");
        let shim = one_unborn(&project);
        let zygote = named(&project, "shim-template")[0];
        match victim {
            "asked to end" => {
                signal(shim, Signal::SIGTERM);
                eventually("it does", || (!alive(shim)).then_some(()));
            }
            "the shim that waits" => signal(shim, Signal::SIGKILL),
            "the zygote" => signal(zygote, Signal::SIGKILL),
            "both" => [zygote, shim].into_iter().for_each(|pid| signal(pid, Signal::SIGKILL)),
            "the daemon" => project.kill_daemon(),
            "frozen" => [zygote, shim].into_iter().for_each(|pid| signal(pid, Signal::SIGSTOP)),
            _ => {}
        }
        project.write("go", "");
        assert_eq!(project.value("service wait web").row("web")["state"], "ready", "victim: {victim}");
        assert_eq!(project.status("web")["restarts"], 0, "victim: {victim}");
        eventually("nobody waits any more", || unborn(&project).is_empty().then_some(()));
        leaves_nothing(&project);
    }
}

#[test]
fn what_is_not_to_start_any_more_has_no_shim_that_waits() {
    let Some(project) = Project::new(WAITS) else { return };
    project.value("service start web --no-wait");
    let shim = one_unborn(&project);
    project.value("service stop web");
    eventually("its shim has ended", || (!alive(shim)).then_some(()));
    project.value("service start web --no-wait");
    let shim = one_unborn(&project);
    project.kill_daemon();
    eventually("nor does it outlive the daemon", || (!alive(shim)).then_some(()));
    project.value("service status");
    leaves_nothing(&project);
}

/// Processes without the session, the environment and the parent of their service.
const HIDDEN: &str = r#"
    [services.web]
    start_command = "env -i setsid sleep 5555 & env -i setsid sh -c 'setsid sleep 5556 & exec sleep 5557' & exec sleep 5558"
    shell = "sh"
    restart = "no"
"#;

#[test]
fn what_has_left_its_session_and_environment_ends_with_a_killed_shim_also_after_a_change_of_daemon() {
    for daemons in [1, 2] {
        let Some(project) = Project::new(HIDDEN) else { return };
        project.value("service start web");
        if daemons == 2 {
            project.value("service daemon restart");
        }
        let (shim, _) = project.run_of("web");
        let family = || below(shim).into_iter().filter(|pid| name(*pid) == "sleep").collect::<Vec<_>>();
        let family = eventually("all four sleep", || Some(family()).filter(|pids| pids.len() == 4));
        signal(shim, Signal::SIGKILL);
        eventually("all of them are gone", || family.iter().all(|pid| !alive(*pid)).then_some(()));
        eventually("that is known", || (project.status("web")["state"] == "failed").then_some(()));
        leaves_nothing(&project);
    }
}

/// All processes below this one.
fn below(pid: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let children = children.split_whitespace().map(|pid| pid.parse().unwrap());
    children.flat_map(|child: u32| [vec![child], below(child)].concat()).collect()
}

/// The result of `rm -rf` in a part of the state directory: the shim lives, but clients cannot connect to it.
#[test]
fn a_shim_whose_socket_was_removed_keeps_its_service_and_can_be_stopped() {
    for deaf in [false, true] {
        let Some(project) = Project::new(&format!(
            "[services.web]\nstart_command = \"TEST_SERVICE {} say up\"\nstop_timeout = \"200ms\"",
            if deaf { "deaf" } else { "alone lock" }
        )) else {
            return;
        };
        project.value("service start web");
        let (shim, web) = project.run_of("web");
        let socket = project.run_json("web").with_file_name("shim.sock");
        project.kill_daemon();
        fs::remove_file(socket).unwrap();
        assert_eq!(project.pid("web"), web, "it is taken back");
        assert!(alive(web));
        assert_eq!(project.value("service stop web").row("web")["ok"], true);
        assert!(!alive(web) && !alive(shim));
        leaves_nothing(&project);
    }
}

#[test]
fn a_start_is_not_answered_with_a_process_whose_end_a_frozen_shim_has_not_reported() {
    let Some(project) = Project::new("[services.web]\nstart_command = \"TEST_SERVICE alone lock\"\n") else {
        return;
    };
    project.value("service start web");
    let (shim, web) = project.run_of("web");
    signal(shim, Signal::SIGSTOP);
    signal(web, Signal::SIGKILL);
    let row = project.value("service start web").row("web").clone();
    assert_eq!(row["ok"], true, "{row}");
    let now = project.pid("web");
    assert!(now != web && alive(now), "{row}");
    leaves_nothing(&project);
}

/// After a change of daemons, two processes hold the output of a service.
#[test]
fn what_a_service_said_before_its_adopted_shim_was_killed_is_in_the_log() {
    let script = "i=0; while :; do i=$((i+1)); echo $i; echo $i > said; done";
    let Some(project) = Project::new(&format!(
        "[services.web]\nstart_command = \"{script}\"\nshell = \"sh\"\nrestart = \"no\"\nlog = {{ max_size = \"1GB\" }}"
    )) else {
        return;
    };
    project.value("service start web");
    project.value("service daemon restart");
    let (shim, web) = project.run_of("web");
    signal(shim, Signal::SIGKILL);
    eventually("it has failed", || (project.status("web")["state"] == "failed").then_some(()));
    assert!(!alive(web));
    let said: u64 = project.read("said").trim().parse().unwrap_or_default();
    let lines = project.value("service logs web --tail 1000000 --raw | lines | length").as_u64().unwrap();
    let last =
        project.value("service logs web --tail 1 | get line.0").as_str().unwrap().parse::<u64>().unwrap();
    assert!(last >= said && last == lines, "{said} said; {lines} lines in the log, the last is {last}");
    leaves_nothing(&project);
}

#[test]
fn one_wish_makes_one_run_also_where_the_shim_is_killed_by_what_it_has_just_begun() {
    let one = |number: i32| {
        format!(
            "[services.s{number}]\noneshot = true\n\
             start_command = [\"sh\", \"-c\", \"echo run >> s{number}.runs; kill -9 $PPID\"]\n"
        )
    };
    let Some(project) = Project::new(&(0..24).map(one).collect::<String>()) else { return };
    let _ = project.nu("service start --all");
    for number in 0..24 {
        assert_eq!(project.read(&format!("s{number}.runs")).lines().count(), 1, "s{number}");
        assert_eq!(project.status(&format!("s{number}"))["state"], "failed");
    }
    leaves_nothing(&project);
}
