//! The preflight check: a restart or an apply whose start would fail is refused, and running services continue.

use serde_json::Value;
use service_tests::{Project, ServiceTable};
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// Writes a program of the project.
fn script(project: &Project, name: &str, text: &str) {
    mode(project, name, text, 0o755);
}

fn mode(project: &Project, name: &str, text: &str, mode: u32) {
    let path = project.write(name, text);
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("the file is ours");
}

/// The processes of all services, by name.
fn pids(project: &Project) -> Vec<(String, Value)> {
    let rows = project.value("service status");
    let rows = rows.as_array().expect("a table").iter();
    rows.map(|row| (row["name"].as_str().expect("a name").to_owned(), row["pid"].clone())).collect()
}

/// The number of stops that have begun.
fn stops(project: &Project) -> usize {
    let events = project.value("service events --since 1hr | where to? == stopping");
    events.as_array().expect("a table").len()
}

/// The error of a line that must not stop any service.
#[track_caller]
fn refused(project: &Project, line: &str) -> (String, String) {
    let before = (pids(project), stops(project));
    let error = project.error(line);
    assert_eq!((pids(project), stops(project)), before, "`{line}` stops nothing: {error:#}");
    assert_eq!(error["code"], "service::start_failed", "{error:#}");
    let message = error["msg"].as_str().expect("an error says what is wrong").to_owned();
    assert!(message.contains("; nothing was stopped"), "{message}");
    let help = error["help"].as_str().unwrap_or_default().to_owned();
    assert!(help.contains("run `service stop ") && help.contains("`, then `service start "), "{help}");
    (message, help)
}

const GOOD: &str = "#!/bin/sh\nexec sleep 1000\n";

#[test]
fn a_restart_that_cannot_succeed_stops_nothing_and_says_what_is_missing() {
    let Some(project) = Project::new(
        "[services.program]\nstart_command = './program'\n\
         [services.absolute]\nstart_command = '/bin/sleep 1000'\nworking_dir = 'place'\n\
         [services.variables]\nstart_command = TEST_SERVICE\nenv_file = ['other.env', 'its.env']\n\
         [services.on-path]\nstart_command = 'tool'\nenv_file = 'path.env'\n\
         [services.shell]\nshell = './shell'\nstart_command = 'exec sleep 1000'\n",
    ) else {
        return;
    };
    script(&project, "program", GOOD);
    script(&project, "bin/tool", GOOD);
    script(&project, "shell", "#!/bin/sh\nexec /bin/sh \"$@\"\n");
    project.write("path.env", &format!("PATH={}:/usr/bin:/bin\n", project.path("bin").display()));
    project.write("its.env", "A=1\n");
    project.write("other.env", "B=1\n");
    project.write("place/.keep", "");
    project.value("service start --all");

    fs::remove_file(project.path("program")).unwrap();
    let (message, help) = refused(&project, "service restart program");
    assert!(message.starts_with("cannot restart `program`: program `./program` does not exist"), "{message}");
    assert!(message.contains("services.toml:2:17"), "{message}");
    assert!(help.contains("correct the path"), "{help}");
    mode(&project, "program", GOOD, 0o644);
    let (message, help) = refused(&project, "service restart program");
    assert!(message.contains("program `./program` is not executable"), "{message}");
    assert!(help.contains("chmod +x"), "{help}");
    for (text, told) in [
        (
            "#!/no/such/interpreter\n",
            "the interpreter `/no/such/interpreter` of program `./program` does not exist",
        ),
        ("#!/bin/sh\r\nsleep 1000\r\n", "its first line ends with a carriage return"),
        ("sleep 1000\n", "it has no `#!` line"),
        ("\x7fELF", "program `./program` is truncated"),
        ("", "program `./program` is empty"),
    ] {
        script(&project, "program", text);
        let (message, _) = refused(&project, "service restart program");
        assert!(message.contains(told), "{message}");
    }
    script(&project, "program", GOOD);
    assert_eq!(project.value("service restart program").row("program")["action"], "restarted");

    fs::remove_dir_all(project.path("place")).unwrap();
    let (message, _) = refused(&project, "service restart absolute");
    assert!(
        message.contains("working directory `") && message.contains("/place` does not exist"),
        "{message}"
    );
    assert!(message.contains("services.toml:5:15"), "{message}");

    fs::remove_file(project.path("its.env")).unwrap();
    let (message, _) = refused(&project, "service restart variables");
    assert!(message.contains("its.env` cannot be read"), "{message}");

    fs::remove_file(project.path("bin/tool")).unwrap();
    let (message, _) = refused(&project, "service restart on-path");
    assert!(message.contains("program `tool` is not in PATH"), "{message}");

    fs::remove_file(project.path("shell")).unwrap();
    let (message, _) = refused(&project, "service restart shell");
    assert!(
        message.contains("program `./shell` does not exist") && message.contains("shell = "),
        "{message}"
    );

    // One error lists all failures; services without failures continue as well.
    let (message, _) = refused(&project, "service restart program variables on-path");
    assert!(
        message.contains("cannot restart `variables`") && message.contains("cannot start `on-path`"),
        "{message}"
    );
    let (message, _) = refused(&project, "service restart --all");
    let missing = ["absolute", "variables", "on-path", "shell"];
    assert!(missing.iter().all(|name| message.contains(&format!("`{name}`"))), "{message}");
    assert!(!message.contains("`program`"), "{message}");

    // The suggested remedy works.
    assert_eq!(project.value("service stop variables").row("variables")["action"], "stopped");
    project.error("service start variables");
    project.write("its.env", "A=2\n");
    assert_eq!(project.value("service start variables").row("variables")["action"], "started");
}

#[test]
fn a_restart_is_refused_for_all_that_it_would_start_and_only_where_something_runs() {
    let Some(project) = Project::new(
        "[services.needed]\nstart_command = TEST_SERVICE\n\
         [services.dependent]\nstart_command = './dependent'\ndependencies = ['needed']\n\
         [services.idle]\nstart_command = './idle'\nrestart = 'no'\n",
    ) else {
        return;
    };
    script(&project, "dependent", GOOD);
    project.value("service start dependent");
    fs::remove_file(project.path("dependent")).unwrap();
    let (message, _) = refused(&project, "service restart needed");
    let told = "cannot restart `needed`: `dependent`, which would restart too, could not start again: program `./dependent` does not exist";
    assert!(message.starts_with(told), "{message}");
    let (message, _) = refused(&project, "service restart needed --no-wait");
    assert!(message.starts_with(told), "{message}");
    let rows = project.value("service restart needed --no-dependents");
    assert_eq!(rows.row("needed")["action"], "restarted", "it lacks nothing itself");
    script(&project, "dependent", GOOD);
    let (message, _) = refused(&project, "service restart --all");
    assert!(message.starts_with("cannot restart `idle`: program `./idle` does not exist"), "{message}");
    assert_eq!(project.value("service restart needed").row("dependent")["action"], "restarted");
    // A start has no preflight check, because it stops no service.
    let error = project.error("service restart idle");
    let message = error["msg"].as_str().unwrap();
    assert!(message.contains("does not exist") && !message.contains("nothing was stopped"), "{message}");
    assert_eq!(project.status("idle")["state"], "failed");
}

#[test]
fn what_a_one_shot_makes_on_the_way_is_not_asked_for_before() {
    let Some(project) = Project::new(
        "[services.build]\nstart_command = ['cp', 'source', 'built']\noneshot = true\n\
         [services.web]\nstart_command = './built'\ndependencies = ['build']\n",
    ) else {
        return;
    };
    script(&project, "source", GOOD);
    project.value("service start web");
    let pid = project.pid("web");
    fs::remove_file(project.path("built")).unwrap();
    refused(&project, "service restart web");
    refused(&project, "service restart --all");
    assert_eq!(project.pid("web"), pid);
    project.value("service restart --all --oneshots");
    assert_ne!(project.pid("web"), pid, "it was built on the way");
}

#[test]
fn a_user_or_a_module_of_a_manager_that_is_not_there_stops_nothing_either() {
    let who = service_tests_user();
    let file = |user: &str| {
        format!(
            "[services.somebody]\nstart_command = 'sleep 1000'\nuser = '{user}'\n\
             [services.desk]\nmanager = 'lamps.nu'\n[services.other]\nstart_command = TEST_SERVICE\n"
        )
    };
    let Some(project) = Project::new(&file(&who)) else { return };
    let module = include_str!("../../nu/managers/template.nu");
    project.write("lamps.nu", module);
    project.value("service start --all");
    project.define(&file("nobody-of-this-name"));
    let (message, _) = refused(&project, "service restart somebody");
    assert!(message.contains("user `nobody-of-this-name` does not exist"), "{message}");
    assert!(message.contains("services.toml:3:8"), "{message}");
    project.define(&file(&who));
    for broken in ["export def start [ {", "export def start [] { {state: running} }\n"] {
        project.write("lamps.nu", broken);
        let (message, _) = refused(&project, "service restart desk other");
        assert!(message.contains("cannot restart `desk`: its manager `"), "{message}");
    }
    fs::remove_file(project.path("lamps.nu")).unwrap();
    let (message, _) = refused(&project, "service restart --all");
    assert!(message.contains("cannot read its manager `"), "{message}");
    assert!(message.contains("services.toml:5:11"), "{message}");
    project.write("lamps.nu", module);
    assert_eq!(project.value("service restart desk").row("desk")["action"], "restarted");
    project.value("service stop --all");
}

/// The user that runs the tests.
fn service_tests_user() -> String {
    nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten().expect("we are somebody").name
}

#[test]
fn an_apply_with_one_bad_among_good_ones_stops_nothing_and_the_plan_has_said_so() {
    let before = "[services.old]\nstart_command = TEST_SERVICE\n[services.db]\nstart_command = TEST_SERVICE\n\
                  [services.api]\nstart_command = TEST_SERVICE\ndependencies = ['db']\n";
    let Some(project) = Project::new(before) else { return };
    project.value("service start --all");
    project.define(
        "[services.db]\nstart_command = TEST_SERVICE\nenv = { A = '1' }\n\
         [services.api]\nstart_command = './api'\ndependencies = ['db', 'fresh']\n\
         [services.fresh]\nstart_command = TEST_SERVICE\nenv_file = 'fresh.env'\n",
    );
    let rows = project.value("service plan");
    let row = |name: &str| {
        let mut rows = rows.as_array().unwrap().iter();
        rows.find(|row| row["service"] == name).unwrap_or_else(|| panic!("{name} in {rows:#?}")).clone()
    };
    let told = "program `./api` does not exist";
    assert_eq!(row("api")["warning"], format!("could not start: {told}"));
    assert_eq!(row("db")["warning"], format!("`api`, which would restart too, could not start: {told}"));
    assert!(row("fresh")["warning"].as_str().unwrap().contains("fresh.env` cannot be read"));
    assert!(row("old")["warning"].is_null());
    for line in ["service apply", "service apply --no-rollback", "service apply --start"] {
        let (message, _) = refused(&project, line);
        assert!(message.starts_with("cannot apply services.toml: `"), "{message}");
        assert!(message.contains(told) && message.contains("fresh.env` cannot be read"), "{message}");
    }
    script(&project, "api", GOOD);
    project.write("fresh.env", "A=1\n");
    let rows = project.value("service plan");
    assert!(rows.as_array().unwrap().iter().all(|row| row.get("warning").is_none()), "{rows:#}");
    let rows = project.value("service apply");
    assert_eq!(
        (&rows.row("api")["action"], &rows.row("old")["action"]),
        (&"restarted".into(), &"stopped".into())
    );
}
