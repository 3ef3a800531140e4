//! The contract of docs/managers.md: the input of a module, its valid results, and the handling of invalid ones.

use serde_json::json;
use service_tests::{Project, ServiceTable, WAIT_TIMEOUT, eventually};
use std::fmt::Write as _;
use std::time::Instant;

/// A module whose services are files, and which records its calls.
const FILES: &str = r#"
def note [word: string]: nothing -> nothing { $"($word)\n" | save --append ("DIR" | path join calls) }
def file [name: string]: nothing -> string { "DIR" | path join $"($name).up" }
export def start []: record -> record { let it = $in; note $"start ($it.name)"; "" | save --force (file $it.name); {state: running} }
export def stop []: record -> record { let it = $in; note $"stop ($it.name)"; rm --force (file $it.name); {state: stopped} }
export def status []: record -> record {
    let it = $in
    note $"status ($it.name)"
    {state: (if (file $it.name | path exists) { "running" } else { "stopped" })}
}
"#;

/// A project with a module `own.nu`; `DIR` in its text stands for the project's directory.
fn project(services: &str, module: &str) -> Option<Project> {
    let project = Project::new(services)?;
    // The file exists before, because two concurrent calls would each create it.
    project.write("calls", "");
    write(&project, module);
    Some(project)
}

fn write(project: &Project, module: &str) {
    let directory = project.path("").display().to_string();
    project.write("own.nu", &module.replace("DIR", directory.trim_end_matches('/')));
}

const LAMP: &str = "[services.lamp]\nmanager = \"own.nu\"\nrestart = \"no\"\n";

fn calls(project: &Project, of: &str) -> usize {
    project.read("calls").lines().filter(|line| *line == of).count()
}

#[test]
fn the_template_works_as_it_is() {
    let Some(project) =
        Project::new("[services.desk]\nmanager = \"lamps.nu\"\nwith = { text = \"on\\nstill on\" }")
    else {
        return;
    };
    project.write("lamps.nu", include_str!("../../nu/managers/template.nu"));
    project.value("service start desk");
    assert_eq!(project.read("desk.lamp"), "on\nstill on");
    let status = project.status("desk");
    assert_eq!((&status["state"], &status["id"]), (&json!("ready"), &json!(project.path("desk.lamp"))));
    assert!(status["uptime"].is_number(), "{status}");
    let lines = project.value("service logs desk --tail 1");
    assert_eq!(lines.column("line"), ["still on"]);
    let managers = project.value("service managers");
    let row = managers.row("lamps.nu");
    assert_eq!(row["commands"], "check, logs, start, status, status all, stop");
    assert_eq!(
        (&row["present"], &row["program"], &row["services"]),
        (&json!(true), &json!("files"), &json!(1))
    );
    project.value("service stop desk");
    assert!(!project.path("desk.lamp").exists());
}

#[test]
fn a_module_gets_the_service_as_it_is_written_and_nothing_of_the_users() {
    let Some(project) = project(
        r#"
        [services.lamp]
        manager = "own.nu"
        description = "desk"
        env = { COLOUR = "green" }
        with = { deep = { list = [1, 2.5, "x", true] }, day = 2026-01-02 }
        "#,
        "export def start []: record -> record {
            {input: $in env: ($env | columns)} | to json | save DIR/seen
            {state: running}
        }
        export def stop []: record -> record { {state: stopped} }
        export def status []: record -> record { {state: running} }",
    ) else {
        return;
    };
    let project = project.env("SECRET", "of mine");
    project.value("service start lamp");
    let seen: serde_json::Value = serde_json::from_str(&project.read("seen")).unwrap();
    let input = &seen["input"];
    assert_eq!(input["with"], json!({"deep": {"list": [1, 2.5, "x", true]}, "day": "2026-01-02"}));
    assert_eq!((&input["name"], &input["description"]), (&json!("lamp"), &json!("desk")));
    assert_eq!((&input["start_command"], &input["env"]), (&json!(null), &json!({"COLOUR": "green"})));
    let allowed = "PATH HOME USER LANG TERM XDG_RUNTIME_DIR DBUS_SESSION_BUS_ADDRESS SERVICE_CALL_ID";
    // Nushell's own variables.
    let its = "PWD CMD_DURATION_MS LAST_EXIT_CODE NU_VERSION FILE_PWD CURRENT_FILE PROCESS_PATH SHLVL config ENV_CONVERSIONS NU_LIB_DIRS NU_PLUGIN_DIRS";
    for name in seen["env"].as_array().unwrap() {
        let name = name.as_str().unwrap();
        let known = allowed.split(' ').chain(its.split(' ')).any(|known| known == name);
        assert!(known || name.starts_with("PROMPT") || name.starts_with("TRANSIENT"), "{name}");
    }
}

#[test]
fn what_a_module_tells_is_shown() {
    let Some(project) = project(
        LAMP,
        r#"
        def is []: nothing -> record {
            {state: running id: c0ffee message: "well" since: ((date now) - 1hr) memory: 10mb restarts: 2}
        }
        export def start []: record -> record { let it = $in; is }
        export def stop []: record -> record { {state: stopped} }
        export def status []: record -> record { let it = $in; is }
        "#,
    ) else {
        return;
    };
    project.value("service start lamp");
    let status = project.status("lamp");
    assert_eq!(
        (&status["id"], &status["memory"], &status["restarts"]),
        (&json!("c0ffee"), &json!(10_000_000), &json!(2))
    );
    assert!(status["uptime"].as_u64().is_some_and(|age| age >= 3_600_000_000_000), "{status}");
}

#[test]
fn noise_before_the_answer_is_not_the_answer() {
    let Some(project) = project(
        LAMP,
        r#"
        export def start []: record -> record {
            print --no-newline ('x' | fill --width 200000 --character x)
            ^echo '{"ok": {"state": "failed"}}'
            {state: running message: ('m' | fill --width 200000 --character m)}
        }
        export def stop []: record -> record { {state: stopped} }
        export def status []: record -> record { {state: running} }
        "#,
    ) else {
        return;
    };
    assert_eq!(project.value("service start lamp").row("lamp")["ok"], true);
}

#[test]
fn a_call_that_prints_without_end_is_ended() {
    let Some(project) = project(
        LAMP,
        "export def start []: record -> record { ^yes; {state: running} }
        export def stop []: record -> record { {state: stopped} }
        export def status []: record -> record { {state: running} }",
    ) else {
        return;
    };
    for line in ["^yes", "^sh -c 'exec yes >&2'"] {
        write(&project, &FILES.replace("{state: running}", &format!("{line}; {{state: running}}")));
        let begun = Instant::now();
        let error = project.error("service start lamp");
        assert!(error["msg"].as_str().unwrap().contains("it printed more than 1 MiB"), "{error:#}");
        assert!(begun.elapsed() < WAIT_TIMEOUT, "took {:?}", begun.elapsed());
    }
    let daemon = project.daemon();
    let others = || project.processes().into_iter().filter(|pid| *pid != daemon).count();
    eventually("nothing of the calls is left", || (others() == 0).then_some(()));
}

#[test]
fn a_module_that_does_not_keep_the_contract_is_told_how() {
    let Some(project) = project(LAMP, FILES) else { return };
    let fault = |module: &str, expected: &str| {
        write(&project, module);
        let error = project.error("service start lamp");
        assert!(error["msg"].as_str().unwrap().contains(expected), "{error:#} should have {expected}");
    };
    fault(
        &format!("export const CONTRACT = 2\n{FILES}"),
        "uses contract 2, and this orchestrator supports 1",
    );
    fault(
        "export def stop []: record -> record { {state: stopped} }",
        "does not export `start`; it exports `stop`",
    );
    fault(
        &FILES.replace("{state: running}", "{state: up}"),
        "`state` should be one of \"running\", \"starting\"",
    );
    fault(&FILES.replace("{state: running}", "[1 2]"), "own.nu");
    fault("export def start [", "own.nu` failed");
    std::fs::remove_file(project.path("own.nu")).unwrap();
    let error = project.error("service start lamp");
    assert!(error["msg"].as_str().unwrap().contains("cannot read its manager"), "{error:#}");
    write(&project, FILES);
    assert_eq!(project.value("service start lamp").row("lamp")["ok"], true);
}

#[test]
fn an_error_of_a_module_is_told_in_its_words() {
    let failing = FILES.replace(
        "export def start []: record -> record {",
        "export def start []: record -> record { if true { error make {msg: \"cannot start `lamp`: no bulb\" help: \"buy one\"} };",
    );
    let Some(project) = project(LAMP, &failing) else { return };
    let error = project.error("service start lamp");
    assert_eq!(error["msg"].as_str().unwrap().matches("cannot start `lamp`").count(), 1, "{error:#}");
    assert!(error["msg"].as_str().unwrap().contains("no bulb (buy one)"), "{error:#}");
    let status = project.status("lamp");
    assert!(status["reason"].as_str().unwrap().contains("no bulb"), "{status:#}");
}

#[test]
fn a_status_that_fails_ends_nothing_and_is_told() {
    let looks_often = format!("{LAMP}health = {{ interval = \"100ms\" }}");
    let Some(project) = project(&looks_often, FILES) else { return };
    project.value("service start lamp");
    write(
        &project,
        &FILES.replace("note $\"status", "if true { error make {msg: \"no idea\"} }; note $\"status"),
    );
    project.trust();
    let status = eventually("the error is seen", || {
        let status = project.status("lamp");
        status["reason"].as_str().is_some_and(|reason| reason.contains("no idea")).then_some(status)
    });
    assert_eq!(status["state"], "ready");
    write(&project, FILES);
    project.trust();
    eventually("it is well again", || project.status("lamp")["reason"].is_null().then_some(()));
}

#[test]
fn a_restart_is_one_call_unless_something_else_has_to_happen_in_between() {
    let restarting = format!(
        "{FILES}\nexport def restart []: record -> record {{ let it = $in; note $\"restart ($it.name)\"; {{state: running}} }}"
    );
    let services = format!("{LAMP}[services.room]\nmanager = \"own.nu\"\ndependencies = [\"lamp\"]\n");
    let Some(project) = project(&services, &restarting) else { return };
    project.value("service start room");
    assert_eq!(project.value("service restart lamp").column("ok"), ["true", "true"]);
    // A dependent must be stopped while its dependency is, so a restart in one call is not possible.
    let said: Vec<String> =
        project.read("calls").lines().filter(|call| !call.starts_with("status")).map(str::to_owned).collect();
    assert_eq!(said, ["start lamp", "start room", "stop room", "restart lamp", "start room"]);
    let again = project.value("service events lamp | where event == state | get to");
    assert_eq!(again.as_array().unwrap().last().unwrap(), "ready", "{again}");

    project.define(&services.replacen("restart = \"no\"", "restart = \"no\"\nenv = { A = \"b\" }", 1));
    project.value("service restart lamp");
    assert_eq!(calls(&project, "stop lamp"), 1, "with another definition it is stopped and started");
    project.value("service stop lamp");
}

#[test]
fn a_restart_that_fails_is_a_stop_and_a_start() {
    let failing = format!(
        "{FILES}\nexport def restart []: record -> record {{ let it = $in; note again; if true {{ error make {{msg: no}} }}; $it }}"
    );
    let Some(project) = project(LAMP, &failing) else { return };
    project.value("service start lamp");
    assert_eq!(project.value("service restart lamp").row("lamp")["ok"], true);
    assert_eq!(
        (calls(&project, "again"), calls(&project, "stop lamp"), calls(&project, "start lamp")),
        (1, 1, 2)
    );
}

#[test]
fn services_of_a_module_are_asked_about_together() {
    let together = format!(
        "{FILES}\nexport def \"status all\" []: table -> table {{
            let all = $in
            note $\"all ($all | length)\"
            $all | each {{|service| {{name: $service.name state: (if (file $service.name | path exists) {{ \"running\" }} else {{ \"stopped\" }})}} }}
        }}"
    );
    let mut services = "[orchestrator.service_defaults.health]\ninterval = \"1s\"\n".to_owned();
    for n in 0..12 {
        writeln!(services, "[services.s{n}]\nmanager = \"own.nu\"\nrestart = \"always\"").unwrap();
    }
    let Some(project) = project(&services, &together) else { return };
    project.value("service start --all");
    eventually("all are asked about in one call", || (calls(&project, "all 12") >= 2).then_some(()));
    std::fs::remove_file(project.path("s7.up")).unwrap();
    eventually("what has gone is seen and comes back", || project.path("s7.up").exists().then_some(()));
    assert_eq!(calls(&project, "start s7"), 2);
    assert_eq!(project.read("calls").lines().filter(|call| call.starts_with("status ")).count(), 0);
}

#[test]
fn calls_that_hang_keep_nobody_waiting() {
    let hanging = FILES.replace("note $\"status", "if $it.name =~ hung { sleep 1hr }; note $\"status");
    let hanging = hanging.replace("note $\"start", "if $it.name =~ stuck { sleep 1hr }; note $\"start");
    let mut services = "[orchestrator.managers]\nparallel = 2\ntimeout = \"10m\"\n".to_owned();
    for name in ["hung", "stuck"] {
        for n in 0..6 {
            writeln!(services, "[services.{name}{n}]\nmanager = \"own.nu\"").unwrap();
        }
    }
    let Some(project) = project(&format!("{services}{LAMP}"), &hanging) else { return };
    let asking = project.spawn(
        "service start ...(0..5 | each { $'hung($in)' }) ...(0..5 | each { $'stuck($in)' }) --timeout 1sec",
    );
    eventually("all those that hang only when asked have been started", || {
        (project.read("calls").lines().filter(|call| call.starts_with("start hung")).count() == 6)
            .then_some(())
    });
    let begun = Instant::now();
    assert_eq!(project.value("service start lamp").row("lamp")["ok"], true);
    assert_eq!(project.value("service stop lamp").row("lamp")["ok"], true);
    assert!(begun.elapsed() < WAIT_TIMEOUT, "took {:?}", begun.elapsed());
    service_tests::Answer::wait_for(asking);
    project.value("service stop --all --timeout 20sec");
}

#[test]
fn a_daemon_that_comes_back_asks_and_does_not_start_again() {
    let services = format!("{LAMP}[services.other]\nmanager = \"own.nu\"\nrestart = \"no\"");
    let Some(project) = project(&services, FILES) else { return };
    project.value("service start lamp other");
    project.value("service daemon stop");
    std::fs::remove_file(project.path("other.up")).unwrap();
    assert_eq!(project.status("lamp")["state"], "ready");
    eventually("what has ended meanwhile is seen", || {
        (project.status("other")["state"] == "failed").then_some(())
    });
    assert_eq!((calls(&project, "start lamp"), calls(&project, "start other")), (1, 1));
    project.value("service stop lamp");
    assert!(!project.path("lamp.up").exists());
}

#[test]
fn a_oneshot_of_a_manager_is_ready_when_it_has_ended() {
    let services = "[services.job]\nmanager = \"own.nu\"\noneshot = true\nhealth = { interval = \"100ms\" }";
    let ends = FILES
        .replace("{state: (if", "if ('DIR/done' | path exists) { return {state: completed} }; {state: (if");
    let Some(project) = project(services, &ends) else { return };
    let starting = project.spawn("service start job | to json");
    eventually("it runs", || (calls(&project, "status job") >= 3).then_some(()));
    assert_eq!(project.status("job")["state"], "starting");
    project.write("done", "");
    assert_eq!(service_tests::Answer::wait_for(starting).value().row("job")["ok"], true);
    assert_eq!(project.status("job")["state"], "completed");
}

#[test]
fn lines_of_a_log_may_be_strings_or_rows() {
    let logs = r#"
        export def logs []: record -> any {
            if $in.since? != null { return [$"since ($in.since | format date '%s')"] }
            [
                {time: 2026-01-02T03:04:05Z stream: stderr line: second}
                {time: 2026-01-01T00:00:00Z line: first}
                {line: $"of ($in.tail)"}
                "plain"
            ]
        }"#;
    let Some(project) = project(LAMP, &format!("{FILES}{logs}")) else { return };
    project.trust();
    let rows = project.value("service logs lamp --tail 9");
    assert_eq!(rows.column("line"), ["second", "first", "of 9", "plain"], "in the manager's order");
    assert_eq!(rows.column("stream"), ["stderr", "stdout", "stdout", "stdout"]);
    assert_eq!(rows[2]["time"], json!(null));
    assert_eq!(
        project.value("service logs lamp --since 2026-01-01T00:00:00Z").column("line"),
        ["since 1767225600"]
    );
}

#[test]
fn a_managed_service_with_an_endpoint_is_missed_when_it_is_gone() {
    let services = "[services.lamp]\nmanager = \"own.nu\"\nrestart = \"always\"\nhealth_check_endpoint = \"exec:true\"\n\
                    health = { interval = \"200ms\" }";
    let Some(project) = project(services, FILES) else { return };
    project.value("service start lamp");
    std::fs::remove_file(project.path("lamp.up")).unwrap();
    eventually("it is started again", || (calls(&project, "start lamp") == 2).then_some(()));
}
