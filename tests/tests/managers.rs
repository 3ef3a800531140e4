//! Managers: services that other programs run, through the built-in modules and through custom ones.

use service_tests::{Project, ServiceTable, WAIT_TIMEOUT, eventually};
use std::os::unix::fs::PermissionsExt;
use std::time::Instant;

#[test]
fn a_service_with_a_stop_command_is_started_and_stopped_by_nushell_lines() {
    let Some(project) = Project::new(
        r#"
        [services.lamp]
        start_command = "$env.COLOUR | save --force lamp"
        manager = "command"
        stop_command = "rm lamp"
        status_command = "open lamp"
        env = { COLOUR = "green" }
        "#,
    ) else {
        return;
    };
    assert_eq!(project.value("service list").row("lamp")["manager"], "command");
    assert_eq!(project.status("lamp")["status"], "unknown", "nobody has asked");
    project.value("service start lamp");
    assert_eq!(project.read("lamp"), "green");
    assert_eq!(project.status("lamp")["status"], "running");
    assert_eq!(project.value("service stop lamp").row("lamp")["action"], "stopped");
    assert!(!project.path("lamp").exists());
}

#[test]
fn a_command_that_fails_is_told_with_what_it_said() {
    let Some(project) = Project::new(
        r#"
        [services.lamp]
        start_command = "sh -c 'echo no current >&2; exit 3'"
        manager = "command"
        stop_command = "true"
        restart = "no"
        "#,
    ) else {
        return;
    };
    let error = project.error("service start lamp");
    let message = error["msg"].as_str().unwrap();
    assert_eq!(error["code"], "service::start_failed");
    assert!(message.contains("exit code 3") && message.contains("no current"), "{error:#}");
}

#[test]
fn a_manager_that_hangs_is_ended() {
    let Some(project) = Project::new(
        r#"
        [orchestrator.managers]
        timeout = "500ms"

        [services.lamp]
        start_command = "sleep 10min"
        manager = "command"
        stop_command = "true"
        restart = "no"
        "#,
    ) else {
        return;
    };
    let begun = Instant::now();
    let error = project.error("service start lamp");
    assert!(begun.elapsed() < WAIT_TIMEOUT, "took {:?}", begun.elapsed());
    assert!(error["msg"].as_str().unwrap().contains("cannot start `lamp`"), "{error:#}");
    let daemon = project.daemon();
    let shims_and_nus = || project.processes().into_iter().filter(|pid| *pid != daemon).count();
    eventually("nothing of the manager is left", || (shims_and_nus() == 0).then_some(()));
}

/// A process that has left the session of the call is found as well.
#[test]
fn a_manager_that_hangs_is_ended_with_what_left_its_session() {
    let Some(project) = Project::new(
        r#"
        [orchestrator.managers]
        timeout = "500ms"

        [services.lamp]
        start_command = "^setsid sh -c 'echo > started; exec sleep 600'; sleep 10min"
        manager = "command"
        stop_command = "true"
        restart = "no"
        "#,
    ) else {
        return;
    };
    project.error("service start lamp");
    assert!(project.path("started").exists());
    let daemon = project.daemon();
    let others = || project.processes().into_iter().filter(|pid| *pid != daemon).count();
    eventually("nothing of the manager is left", || (others() == 0).then_some(()));
}

#[test]
fn a_manager_may_print_much_before_it_answers() {
    let Some(project) =
        Project::new("[services.lamp]\nstart_command = \"bright\"\nmanager = \"lamp.nu\"\nrestart = \"no\"")
    else {
        return;
    };
    let answer = |state: &str| {
        format!(
            "export def {state} []: record -> record {{ print ('x' | fill -w 200000 -c x); {{state: running}} }}\n"
        )
    };
    project.write(
        "lamp.nu",
        &(answer("start") + &answer("status") + &answer("stop").replace("running", "stopped")),
    );
    assert_eq!(project.value("service start lamp").row("lamp")["ok"], true);
    assert_eq!(project.value("service stop lamp").row("lamp")["ok"], true);
}

#[test]
fn a_manager_can_be_a_module_of_ones_own() {
    let Some(project) = Project::new(
        "[services.lamp]\ndescription = \"desk\"\nstart_command = \"bright\"\nmanager = \"managers/lamp.nu\"",
    ) else {
        return;
    };
    project.write(
        "managers/lamp.nu",
        r#"# Lamps are files.
export def start []: record -> record {
    let lamp = $in
    $lamp.start_command | save --force ($lamp.working_dir | path join lamp)
    {state: running message: $"($lamp.description) lamp is ($lamp.start_command)"}
}
export def stop []: record -> record {
    let lamp = $in
    rm ($lamp.working_dir | path join lamp)
    {state: stopped}
}
export def status []: record -> record {
    {state: (if ($in.working_dir | path join lamp | path exists) { "running" } else { "stopped" })}
}
"#,
    );
    project.value("service start lamp");
    assert_eq!(project.read("lamp"), "bright");
    assert_eq!(project.status("lamp")["status"], "running");
    project.value("service stop lamp");
    assert_eq!(project.status("lamp")["status"], "stopped");
}

#[test]
fn systemd_is_asked_for_the_unit_and_its_answer_becomes_status() {
    let Some(project) = Project::new("[services.web]\nmanager = \"systemd\"") else {
        return;
    };
    // There is no systemd in a container, so this fake `systemctl` stores its unit in a file.
    let fake = project.write(
        "bin/systemctl",
        "#!/bin/sh\ncd \"$(dirname \"$0\")\" && echo \"$*\" >> asked\ncase \"$*\" in\n\
         *' start web.service') touch up ;;\n*' stop web.service') rm up ;;\n\
         *) if test -e up; then state=active; else state=inactive; fi\n\
         printf 'LoadState=loaded\\nActiveState=%s\\nSubState=running\\nResult=success\\nStatusText=\\n' $state\n\
         printf 'MainPID=4711\\nMemoryCurrent=[not set]\\nNRestarts=0\\nExecMainStatus=0\\n' ;;\nesac\n",
    );
    std::fs::set_permissions(&fake, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", project.path("bin").display(), std::env::var("PATH").unwrap());
    let project = project.env("PATH", path);
    project.value("service start web");
    assert_eq!(project.status("web")["status"], "running");
    project.value("service stop web");
    assert_eq!(project.status("web")["status"], "stopped");
    assert!(project.read("bin/asked").contains("start web.service"));
}

#[test]
fn the_guides_own_services_say_that_there_is_no_systemd() {
    if std::path::Path::new("/run/systemd/system").exists() {
        return; // the services might really start here
    }
    let Some(project) = Project::new(include_str!("../../examples/platform/guide.toml")) else { return };
    assert_eq!(project.value("service order oci-registry").column("name"), ["coredns", "oci-registry"]);
    let error = project.error("service start oci-registry");
    assert_eq!(error["code"], "service::dependency_failed", "{error:#}");
    let status = project.status("coredns");
    assert!(status["reason"].as_str().unwrap().contains("systemctl start coredns"), "{status:#}");
}

#[test]
fn a_module_that_cannot_stop_what_it_starts_starts_nothing() {
    let Some(project) = Project::new("[services.lamp]\nmanager = \"half.nu\"\nrestart = \"no\"") else {
        return;
    };
    project.write(
        "half.nu",
        "export def start []: record -> record { 'on' | save lamp; {state: running} }\n\
         export def status []: record -> record { {state: running} }",
    );
    let error = project.error("service start lamp");
    assert!(error["msg"].as_str().unwrap().contains("stop"), "{error:#}");
    assert!(!project.path("lamp").exists());
}

#[test]
fn a_start_of_what_its_manager_will_not_stop_is_answered() {
    let Some(project) = Project::new("[services.lamp]\nmanager = \"stuck.nu\"") else { return };
    project.write(
        "stuck.nu",
        "export def start []: record -> record { {state: running} }\n\
         export def status []: record -> record { {state: running} }\n\
         export def stop []: record -> record { {state: running message: 'will not'} }",
    );
    project.value("service start lamp");
    assert!(project.error("service stop lamp")["msg"].as_str().unwrap().contains("will not"));
    let error = project.error("service start lamp");
    assert!(error["msg"].as_str().unwrap().contains("will not"), "{error:#}");
}

#[test]
fn what_ended_within_its_start_has_its_exit_code() {
    let Some(project) = Project::new("[services.lamp]\nmanager = \"broken.nu\"\nrestart = \"no\"") else {
        return;
    };
    project.write(
        "broken.nu",
        "export def start []: record -> record { {state: failed exit_code: 7} }\n\
         export def status []: record -> record { {state: failed exit_code: 7} }\n\
         export def stop []: record -> record { {state: stopped} }",
    );
    let error = project.error("service start lamp");
    assert!(error["msg"].as_str().unwrap().contains("code 7"), "{error:#}");
    assert_eq!(project.status("lamp")["exit_code"], 7);
}

#[test]
fn what_a_signal_ended_within_its_start_is_told_with_that_signal() {
    let Some(project) = Project::new("[services.lamp]\nmanager = \"broken.nu\"\nrestart = \"no\"") else {
        return;
    };
    for (said, shown) in [("11", "SIGSEGV"), ("SIGABRT", "SIGABRT"), ("40", "40")] {
        project.write(
            "broken.nu",
            &"export def start []: record -> record { {state: failed exit_signal: NAME} }\n\
              export def status []: record -> record { {state: failed exit_signal: NAME} }\n\
              export def stop []: record -> record { {state: stopped} }"
                .replace("NAME", said),
        );
        let error = project.error("service start lamp");
        assert!(error["msg"].as_str().unwrap().contains(shown), "{error:#}");
        let status = project.status("lamp");
        assert_eq!((&status["exit_code"], &status["exit_signal"]), (&serde_json::Value::Null, &shown.into()));
    }
}

#[test]
fn what_a_manager_says_is_fit_to_be_shown_and_no_more_than_it_says() {
    let Some(project) = Project::new("[services.lamp]\nmanager = \"lamp.nu\"\nrestart = \"no\"") else {
        return;
    };
    let lamp = |start: &str| {
        let rest = "export def status []: record -> record { let lamp = $in; cd $lamp.working_dir; \
                    {state: (if ('up' | path exists) { 'running' } else { 'stopped' }) message: $\"(ansi red)hot(char bel)\"} }\n\
                    export def stop []: record -> record { {state: stopped} }";
        project.write(
            "lamp.nu",
            &format!("export def start []: record -> record {{ let lamp = $in; {start} }}\n{rest}"),
        );
    };
    let said = || project.error("service start lamp")["msg"].as_str().unwrap().to_owned();
    lamp("if true { error make {msg: $\"(ansi red)no power(ansi reset)\"} }; {state: running}");
    assert_eq!(said(), "cannot start `lamp`: “no power”");
    lamp("$lamp.volts");
    let error = said();
    assert_eq!(error.matches("try using 'volts?'").count(), 1, "{error}");
    lamp("touch ($lamp.working_dir | path join up); {state: running}");
    project.value("service start lamp");
    eventually("it has been asked", || {
        let health = project.value("service why lamp | get last_check.message");
        (health == "“hot”").then_some(())
    });
    project.value("service stop lamp");
    assert_eq!(project.status("lamp")["exit_code"], serde_json::Value::Null);
}

#[test]
fn a_question_that_hangs_keeps_the_answers_about_others_back_once() {
    let Some(project) = Project::new(
        r#"
        [orchestrator.managers]
        timeout = "3s"
        [orchestrator.service_defaults]
        restart = "no"
        [orchestrator.service_defaults.health]
        interval = "200ms"

        [services.lamp]
        start_command = "'on' | save lamp"
        manager = "command"
        stop_command = "rm --force lamp"
        status_command = "open lamp"

        [services.hangs]
        start_command = "true"
        manager = "command"
        stop_command = "true"
        status_command = "if ('now' | path exists) { sleep 10min }"
        "#,
    ) else {
        return;
    };
    project.value("service start --all");
    project.write("now", "");
    let cannot_be_asked =
        || project.status("hangs")["reason"].as_str().is_some_and(|reason| reason.contains("cannot query"));
    eventually("it hangs", || cannot_be_asked().then_some(()));
    std::fs::remove_file(project.path("lamp")).unwrap();
    eventually("the end of the other is seen", || {
        (project.status("lamp")["state"] == "failed").then_some(())
    });
    std::fs::remove_file(project.path("now")).unwrap();
    eventually("it has come back", || (!cannot_be_asked()).then_some(()));
}

#[test]
fn a_key_of_with_that_a_module_does_not_know_is_told_before_it_starts_anything() {
    let Some(project) =
        Project::new("[services.lamp]\nmanager = \"lamp.nu\"\nwith = { txt = \"on\" }\nrestart = \"no\"")
    else {
        return;
    };
    project.write("lamp.nu", include_str!("../../nu/managers/template.nu"));
    let error = project.error("service start lamp");
    let message = error["msg"].as_str().unwrap();
    assert!(message.contains("`txt`") && message.contains("did you mean `text`?"), "{error:#}");
    assert!(!project.path("lamp.lamp").exists());
}

#[test]
fn an_answer_of_the_wrong_kind_is_told_in_plain_words() {
    let Some(project) = Project::new("[services.lamp]\nmanager = \"lamp.nu\"\nrestart = \"no\"") else {
        return;
    };
    project.write(
        "lamp.nu",
        "export def start []: record -> record { {state: running pid: many} }\n\
         export def status []: record -> record { {state: running} }\n\
         export def stop []: record -> record { {state: stopped} }",
    );
    let error = project.error("service start lamp");
    let message = error["msg"].as_str().unwrap();
    assert!(message.contains("`pid` should be an int, not “many”"), "{error:#}");
}

#[test]
fn a_stop_command_does_not_change_who_runs_a_service() {
    let Some(project) = Project::new(
        "[services.web]\nstart_command = \"TEST_SERVICE note started\"\nstop_command = \"sh -c 'echo > asked; exit 1'\"\n\
         [services.client]\nstart_command = \"systemctl start nothing-of-ours\"\nstop_command = \"true\"\n",
    ) else {
        return;
    };
    let list = project.value("service list");
    assert_eq!(
        (&list.row("web")["manager"], &list.row("client")["manager"]),
        (&"process".into(), &"command".into())
    );
    let findings = project.value("service check | where service == client and key == stop_command");
    assert!(
        findings[0]["help"].as_str().is_some_and(|help| help.contains("manager = \"command\"")),
        "{findings}"
    );
    assert_eq!(project.value("service start web").row("web")["ok"], true);
    assert!(project.status("web")["pid"].is_u64() && !project.read("started").is_empty());
    assert_eq!(project.value("service stop web").row("web")["ok"], true);
    assert!(project.path("asked").exists(), "it was asked by its own command");
}

#[test]
fn a_start_command_that_stays_where_it_has_to_end_is_told_so() {
    let Some(project) = Project::new(
        "[orchestrator.managers]\ntimeout = \"1s\"\n\
         [services.web]\nstart_command = \"sleep 10min\"\nmanager = \"command\"\nstop_command = \"true\"\nrestart = \"no\"\n",
    ) else {
        return;
    };
    let error = project.error("service start web");
    let (message, help) = (error["msg"].as_str().unwrap(), error["help"].as_str().unwrap());
    assert!(message.contains("`start_command` did not exit within 1s and was killed"), "{error}");
    assert!(message.contains("manager = \"process\"") && !help.contains("nothing ran"), "{error}");
}
