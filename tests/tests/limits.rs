//! Limits and users: the resources and the identity of a service, and the errors if they cannot be applied.
//!
//! A delegated cgroup v2 enforces the limits; without one, rlimits do. The tests pass with both.

use serde_json::Value;
use service_tests::{Lack, Project, ServiceTable, eventually, program};
use std::os::unix::fs::PermissionsExt;

/// The mechanism that enforces the limits of a running service.
fn kept_by(status: &Value) -> String {
    status["limits"].as_str().unwrap_or_else(|| panic!("no word about its limits: {status}")).to_owned()
}

fn log_of(project: &Project, name: &str) -> String {
    project.value(&format!("service logs {name}")).column("line").join("\n")
}

/// The cgroup of a running service.
fn cgroup_of(project: &Project, name: &str) -> Option<std::path::PathBuf> {
    let note = project.run_json(name).with_file_name("limits.json");
    let note: Value =
        serde_json::from_slice(&std::fs::read(note).expect("its limits are noted")).expect("JSON");
    note["cgroup"].as_str().map(Into::into)
}

#[test]
fn a_service_that_takes_too_much_memory_ends_and_the_reason_is_told() {
    let Some(project) = Project::new(
        "[services.greedy]\nstart_command = \"TEST_SERVICE await go eat 400\"\nmemory_limit = '200MB'\nrestart = 'no'\n",
    ) else {
        return;
    };
    assert_eq!(project.value("service start greedy").row("greedy")["ok"], true);
    let by = kept_by(&project.status("greedy"));
    project.write("go", "");
    let status = eventually("it has ended", || {
        Some(project.status("greedy")).filter(|status| status["state"] == "failed")
    });
    assert_eq!(status["memory_limit"], 200_000_000);
    assert_eq!(status["limits"], Value::Null, "nothing runs");
    if by == "cgroup" {
        assert_eq!(status["exit_signal"], "SIGKILL");
        assert_eq!(status["reason"], "was ended by SIGKILL: it reached its memory_limit of 200 MB");
    } else {
        assert_eq!((by.as_str(), &status["exit_code"]), ("rlimit", &Value::from(12)));
        assert!(log_of(&project, "greedy").contains("there is no memory left"));
    }
}

#[test]
fn a_limit_holds_from_the_first_instruction_and_not_for_the_keeper() {
    let Some(project) = Project::new(
        "[services.a]\nstart_command = 'echo $(ulimit -v); cat /proc/self/cgroup; exec sleep 1000'\nshell = 'sh'\n\
         memory_limit = '256MiB'\n",
    ) else {
        return;
    };
    project.value("service start a");
    let said =
        eventually("it has said all", || Some(log_of(&project, "a")).filter(|log| log.contains("0::")));
    let (shim, _) = project.run_of("a");
    let status = std::fs::read_to_string(format!("/proc/{shim}/limits")).expect("the shim runs");
    let free = status.lines().any(|line| {
        line.starts_with("Max address space") && line.split_ascii_whitespace().nth(3) == Some("unlimited")
    });
    match cgroup_of(&project, "a") {
        Some(cgroup) => {
            let name = cgroup.file_name().expect("it has a name").to_string_lossy();
            assert!(said.contains(&*name), "{said}");
            let status = std::fs::read_to_string(format!("/proc/{shim}/cgroup")).expect("the shim runs");
            assert!(!status.contains(&*name), "{status}");
            project.value("service stop a");
            eventually("its cgroup is gone", || (!cgroup.exists()).then_some(()));
        }
        None => {
            assert!(said.starts_with("262144\n"), "{said}");
            assert!(free, "{status}");
        }
    }
}

#[test]
fn limits_are_shown_typed_with_a_word_of_who_keeps_them_also_by_the_next_daemon() {
    let Some(project) = Project::new(
        "[orchestrator.service_defaults]\ncpu_limit = '50%'\n\
         [services.a]\nstart_command = \"TEST_SERVICE\"\nmemory_limit = '200MB'\n\
         [services.b]\nstart_command = \"TEST_SERVICE\"\ncpu_limit = 2\n",
    ) else {
        return;
    };
    project.value("service start --all");
    let before = project.status("a");
    assert_eq!((&before["memory_limit"], &before["cpu_limit"]), (&200_000_000.into(), &0.5.into()));
    let by = kept_by(&before);
    let reason = before["reason"].as_str().unwrap_or_default();
    match by.as_str() {
        "cgroup" => assert_eq!(reason, ""),
        "memory: rlimit, cpu: none" => {
            assert!(reason.starts_with("memory_limit applies to each process separately: "), "{reason}");
            assert!(reason.contains("; cpu_limit is not enforced: "), "{reason}");
        }
        _ => panic!("an unexpected mixture: {before}"),
    }
    assert_eq!(project.status("b")["cpu_limit"], 2.0);
    assert_eq!(project.status("b")["memory_limit"], Value::Null);

    project.define("[services.a]\nstart_command = \"TEST_SERVICE\"\nmemory_limit = '300MB'\n");
    project.kill_daemon();
    let after = project.status("a");
    assert_eq!(after["pid"], before["pid"]);
    assert_eq!(
        (kept_by(&after), &after["memory_limit"]),
        (by, &200_000_000.into()),
        "what runs keeps its own"
    );
    project.value("service restart a");
    assert_eq!(project.status("a")["memory_limit"], 300_000_000);
}

#[test]
fn a_limit_that_was_reached_while_no_daemon_ran_is_told_by_the_next() {
    let Some(project) = Project::new(
        "[services.greedy]\nstart_command = \"TEST_SERVICE await go eat 400\"\nmemory_limit = '200MB'\nrestart = 'no'\n",
    ) else {
        return;
    };
    project.value("service start greedy");
    let cgroup = cgroup_of(&project, "greedy");
    let (shim, _) = project.run_of("greedy");
    project.kill_daemon();
    project.write("go", "");
    eventually("its shim has ended", || (!service_tests::alive(shim)).then_some(()));
    let status = project.status("greedy");
    let expected = match cgroup {
        Some(_) => "was ended by SIGKILL: it reached its memory_limit of 200 MB",
        None => "exited with code 12",
    };
    assert_eq!(status["reason"], expected);
    if let Some(cgroup) = cgroup {
        assert!(!cgroup.exists(), "{} is still there", cgroup.display());
    }
}

#[test]
fn a_limit_goes_with_its_keeper() {
    let Some(project) =
        Project::new("[services.a]\nstart_command = \"TEST_SERVICE daemonize\"\nmemory_limit = '200MB'\n")
    else {
        return;
    };
    project.value("service start a");
    let Some(cgroup) = cgroup_of(&project, "a") else {
        service_tests::skip_for(
            Lack::MemoryCgroup,
            "there is no cgroup v2 with a memory controller that is ours",
        );
        return;
    };
    let (shim, _) = project.run_of("a");
    service_tests::signal(shim, nix::sys::signal::Signal::SIGKILL);
    eventually("its cgroup is gone", || (!cgroup.exists()).then_some(()));
    eventually("it is back", || project.status("a")["pid"].as_u64());
}

/// A project of root whose services may run as `nobody`, and a copy of the test service that `nobody` may execute.
fn with_users(services: &str) -> Option<(Project, tempfile::TempDir)> {
    if !nix::unistd::geteuid().is_root() {
        service_tests::skip_for(Lack::Root, "only root can start a service as another user");
        return None;
    }
    let public = tempfile::tempdir().expect("a temporary directory can be made");
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(public.path(), open).expect("it is ours");
    let copy = public.path().join("test_service");
    std::fs::copy(program("test_service"), &copy).expect("it can be copied");
    let services = services.replace("PUBLIC", &public.path().display().to_string());
    Some((Project::new(&services)?, public))
}

#[test]
fn a_user_has_its_groups_its_home_and_its_word_on_the_notify_socket() {
    let Some((project, _public)) = with_users(
        "[services.a]\nuser = 'nobody'\nstart_command = 'id -u; id -G; echo $USER $HOME; exec PUBLIC/test_service notify'\n\
         shell = 'sh'\nworking_dir = 'PUBLIC'\nready.notify = true\nmemory_limit = '500MB'\n\
         health_check_endpoint = 'exec:sh -c \"echo $(id -u) $(id -G) $USER $HOME\"'\n",
    ) else {
        return;
    };
    assert_eq!(project.value("service start a").row("a")["ok"], true);
    let nobody = nix::unistd::User::from_name("nobody").expect("users can be looked up").expect("it exists");
    let home = nobody.dir.display();
    let said =
        eventually("it has said all", || Some(log_of(&project, "a")).filter(|log| log.lines().count() == 3));
    let lines: Vec<&str> = said.lines().collect();
    let groups = lines[1];
    assert_eq!((lines[0], lines[2]), (nobody.uid.to_string().as_str(), format!("nobody {home}").as_str()));
    assert!(!groups.split(' ').any(|group| group == "0"), "root's groups were kept: {groups}");
    let checked = project.value("service health a").row("a").clone();
    let message = checked["message"].as_str().unwrap_or_default();
    assert!(message.contains(&format!("{} {groups} nobody {home}", nobody.uid)), "{message}");
}

#[test]
fn a_user_that_does_not_exist_is_an_error_and_nothing_is_run() {
    let Some(project) =
        Project::new("[services.a]\nuser = 'no-such-user'\nstart_command = \"TEST_SERVICE note ran\"\n")
    else {
        return;
    };
    let error = project.error("service start a");
    assert_eq!(error["msg"], "cannot start `a`: user `no-such-user` does not exist", "{error}");
    assert_eq!(project.read("ran"), "");
}

#[test]
fn a_group_without_a_user_is_an_error_with_its_place() {
    let Some(project) = Project::new("[services.a]\nstart_command = \"TEST_SERVICE\"\ngroup = 'daemon'\n")
    else {
        return;
    };
    let error = project.error("service start a");
    let rendered = error["rendered"].as_str().unwrap_or_default();
    assert!(rendered.contains("`group` needs `user`") && rendered.contains(":3:"), "{error}");
}
