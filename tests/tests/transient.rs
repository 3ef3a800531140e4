//! Services that no file defines: `service run`, `service add`, `service remove`.

use nix::sys::signal::Signal;
use service_tests::{Project, ServiceTable, alive, eventually, program, signal};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const FILE: &str = "[services.db]\nstart_command = \"TEST_SERVICE\"\n";

/// The path of the test program.
fn test_service() -> String {
    format!("'{}'", program("test_service").display())
}

fn origin(project: &Project, name: &str) -> String {
    let list = project.value("service list");
    list.row(name)["origin"].as_str().expect("it is a word").to_owned()
}

fn names(project: &Project) -> Vec<String> {
    project.value("service list").column("name")
}

#[test]
fn a_command_line_runs_as_a_service_in_the_directory_of_the_shell_and_is_named_after_its_program() {
    let Some(project) = Project::new(FILE) else { return };
    project.write("below/file", "");
    let rows = project.value(&format!("cd below; service run ({:?})", test_service()));
    assert_eq!(rows.row("test_service")["action"], "started", "{rows}");
    let again = project
        .value(&format!("service run --env {{COLOUR: blue}} -- {:?} ", program("test_service").display()));
    assert_eq!(again.column("name"), ["test_service-2"]);
    let status = project.status("test_service");
    assert_eq!(status["state"], "ready");
    assert!(status["cwd"].as_str().is_some_and(|cwd| cwd.ends_with("/below")), "{status}");
    let environment = fs::read(format!("/proc/{}/environ", project.pid("test_service-2"))).unwrap();
    assert!(String::from_utf8_lossy(&environment).contains("COLOUR=blue"));
    assert_eq!([origin(&project, "db"), origin(&project, "test_service")], ["file", "transient"]);
}

#[test]
fn words_after_a_double_dash_are_taken_as_they_are() {
    let Some(project) = Project::new(FILE) else { return };
    let rows =
        project.value("service run --oneshot --name words -- printf '<%s>' 'a b' --name '$HOME' true 5");
    assert_eq!(rows.row("words")["ok"], true, "{rows}");
    let home = project.path("home").display().to_string();
    let said = project.nu("service logs words --raw").stdout;
    assert!(!said.contains(&home) && said.starts_with("<a b><--name><$HOME><true><5>"), "{said}");
}

#[test]
fn a_run_survives_its_shell_and_a_killed_daemon_and_can_be_asked_until_it_is_forgotten() {
    let Some(project) = Project::new(FILE) else { return };
    project.value(&format!("service run --name tunnel {:?}", test_service()));
    let pid = project.pid("tunnel");
    project.kill_daemon();
    assert_eq!(project.pid("tunnel"), pid);
    assert_eq!(origin(&project, "tunnel"), "transient");
    let mode = fs::metadata(project.state_dir().join("additions.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "environments are in it");
    project.value("service stop tunnel");
    assert_eq!(project.status("tunnel")["state"], "stopped", "its result can still be asked");
    assert_eq!(
        project.value("service start --all").column("name"),
        ["db"],
        "what was run once is not run again"
    );
    project.define(&format!("[orchestrator.services]\nforget_transient = \"0s\"\n{FILE}"));
    eventually("it is forgotten", || (names(&project) == ["db"]).then_some(()));
    assert!(!project.run_json("tunnel").exists(), "and its log with it");
    let events = project.value("service events tunnel | where event in [defined removed]");
    assert_eq!(events.column("event"), ["defined", "removed"]);
}

#[test]
fn a_program_that_the_daemon_does_not_find_is_found_after_the_way_out_was_gone() {
    let Some(project) = Project::new(FILE) else { return };
    let error = project.error("service run --name late mine");
    assert!(error["help"].as_str().unwrap().contains("service daemon restart"), "{error:#}");
    let help = project.value("service why late | get help");
    assert!(help.as_str().unwrap().contains("service daemon restart"), "{help}");
    let script = project.write("bin/mine", "#!/bin/sh\nexec sleep 1000\n");
    fs::set_permissions(script, fs::Permissions::from_mode(0o755)).unwrap();
    let again =
        "$env.PATH = ($env.PATH | prepend ('bin' | path expand)); service daemon restart; service start late";
    assert_eq!(project.value(again).row("late")["ok"], true);
}

#[test]
fn an_exit_code_can_be_asked_after_the_end_and_keep_keeps_the_definition() {
    let Some(project) = Project::new(&format!("[orchestrator.services]\nforget_transient = \"0s\"\n{FILE}"))
    else {
        return;
    };
    let error = project.error("service run --keep --name work --oneshot --restart no --shell sh 'exit 3'");
    assert_eq!(error["code"], "service::start_failed", "{error:#}");
    assert_eq!(project.status("work")["exit_code"], 3);
    project.kill_daemon();
    assert_eq!(origin(&project, "work"), "added");
    assert_eq!(project.status("work")["exit_code"], 3);
    assert_eq!(project.error("service run --name work true")["code"], "service::name_taken");
    let error = project.error("service start --all");
    assert!(error["msg"].as_str().is_some_and(|msg| msg.contains("`work`")), "{error:#}");
    assert_eq!(project.value("service remove work").column("action"), ["removed"]);
    assert_eq!(names(&project), ["db"]);
}

#[test]
fn what_is_added_takes_part_in_dependencies_and_a_changed_file_leaves_it_alone() {
    let Some(project) = Project::new(FILE) else { return };
    let row = |name: &str, need: &str| {
        format!(
            "{{name: {name} start_command: [{:?}] dependencies: [{need}] stop_timeout: 3sec}}",
            program("test_service").display()
        )
    };
    let add = format!("[{} {}] | service add", row("b", "a"), row("a", "db"));
    assert_eq!(project.value(&add).column("action"), ["added", "added"]);
    assert_eq!(project.value(&add).column("action"), ["unchanged", "unchanged"]);
    assert_eq!(project.value("service start b").column("name"), ["db", "a", "b"]);
    assert_eq!(project.value("service plan --all").column("service"), ["db"]);
    let pid = project.pid("b");
    project.define(&format!("{FILE}description = \"new\"\n"));
    project.value("service apply --start");
    assert_eq!(project.pid("b"), pid);
    let error = project.error("service remove a");
    assert!(error["msg"].as_str().unwrap().contains("`b` depends on it"), "{error:#}");
    assert_eq!(project.error("service remove db")["code"], "service::bad_request");
    project.value("service daemon stop");
    assert_eq!(names(&project), ["db", "b", "a"], "without a daemon too");
    project.value("service remove a b");
    eventually("both have stopped", || (!alive(pid)).then_some(()));
    assert_eq!(names(&project), ["db"]);
}

#[test]
fn a_name_is_the_files_as_soon_as_the_file_defines_it() {
    let Some(project) = Project::new(FILE) else { return };
    let add = |name: &str| format!("{{name: {name} start_command: 'sleep 100'}} | service add");
    assert_eq!(project.error(&add("db"))["code"], "service::name_taken");
    project.value(&add("web"));
    project.define(&format!("{FILE}[services.web]\nstart_command = \"TEST_SERVICE\"\n"));
    assert_eq!(origin(&project, "web"), "file");
    project.define(FILE);
    assert_eq!(names(&project), ["db"], "it is not there twice");
}

#[test]
fn what_needs_a_service_that_left_the_file_waits_until_that_is_back() {
    let Some(project) = Project::new(FILE) else { return };
    project.value("{name: web start_command: 'sleep 100' dependencies: [db]} | service add");
    project.define("");
    assert_eq!(names(&project), [""; 0]);
    project.value("service status");
    project.kill_daemon();
    project.define(FILE);
    assert_eq!(names(&project), ["db", "web"]);
    project.define("");
    assert_eq!(project.value("service remove web").column("action"), ["removed"]);
}

#[test]
fn what_is_wrong_with_a_row_is_marked_in_the_users_own_source() {
    let Some(project) = Project::new(FILE) else { return };
    let error = project
        .error("[{name: a start_command: x} {name: b start_command: x restart: sometimes}] | service add");
    assert_eq!(error["code"], "service::bad_definition");
    assert!(
        error["msg"].as_str().unwrap().starts_with("cannot add `b`: `restart` should be one of"),
        "{error:#}"
    );
    let rendered = error["rendered"].as_str().unwrap();
    let mut lines = rendered.lines().skip_while(|line| !line.contains("restart: sometimes"));
    let source = lines.next().expect("the source is shown");
    let mark = lines.next().expect("and a mark below it");
    assert_eq!(mark.find('^'), source.find("sometimes"), "{rendered}");
    assert_eq!(names(&project), ["db"], "all or none");
    let error = project.error("service run --memory-limit 1b true");
    assert!(
        error["msg"].as_str().unwrap().starts_with("cannot run `true`: `memory_limit` should be"),
        "{error:#}"
    );
}

#[test]
fn without_a_services_toml_a_command_runs_in_a_project_of_the_users_own() {
    let Some(project) = Project::new(FILE) else { return };
    let elsewhere = tempfile::tempdir().unwrap();
    let elsewhere = elsewhere.path().display();
    let rows = project.value(&format!("cd '{elsewhere}'; service run --name lonely {:?}", test_service()));
    assert_eq!(rows.row("lonely")["ok"], true);
    let own = "home/.config/service-orchestrator/services.toml";
    assert!(project.read(own).starts_with("# "), "it says what it is");
    let listed = project.value(&format!("cd '{elsewhere}'; service status"));
    assert_eq!(listed.column("name"), ["lonely"]);
    project.value(&format!("cd '{elsewhere}'; service daemon stop --services"));
}

#[test]
fn what_cannot_be_written_down_as_removed_stays_with_its_past() {
    let Some(project) = Project::new("[services.a]\nstart_command = \"TEST_SERVICE\"") else { return };
    project.value(&format!(
        "{{name: x start_command: [{} exit '0'] oneshot: true}} | service add",
        test_service()
    ));
    assert_eq!(project.value("service start x").row("x")["ok"], true);
    // An obstacle to replacing the file of added services.
    let obstacle = project.state_dir().join("additions.new");
    fs::create_dir(&obstacle).expect("the directory is ours");
    let error = project.error("service remove x");
    assert!(
        error["msg"].as_str().is_some_and(|text| text.contains("cannot save the added services in `")),
        "{error}"
    );
    assert_eq!(project.status("x")["exit_code"], 0, "nothing was changed");
    project.kill_daemon();
    assert_eq!(project.status("x")["exit_code"], 0);
    fs::remove_dir(&obstacle).expect("the directory is ours");
    assert_eq!(project.value("service remove x").column("action"), ["removed"]);
    assert_eq!(project.value("service status").column("name"), ["a"]);
}

#[test]
fn nobody_keeps_a_descriptor_of_whoever_started_the_daemon() {
    let Some(project) = Project::new(FILE) else { return };
    let stray = project.write("stray", "");
    let mut command = project.command(Path::new("sh"));
    command.args(["-c", "exec 7< stray; exec \"$@\"", "sh"]).arg(program("orchestratord"));
    let mut daemon = command.args(["run", "--config", "services.toml"]).spawn().expect("sh can be run");
    eventually("the daemon listens", || {
        project.value("service daemon status")["running"].as_bool()?.then_some(())
    });
    assert_eq!(project.daemon(), daemon.id());
    project.value("service start db");
    let (shim, service) = project.run_of("db");
    let holds = |pid: u32| {
        let open = fs::read_dir(format!("/proc/{pid}/fd")).expect("it is ours").flatten();
        open.filter_map(|entry| fs::read_link(entry.path()).ok()).any(|file| file == stray)
    };
    assert_eq!([daemon.id(), shim, service].map(holds), [false; 3]);
    project.value("service stop db");
    signal(daemon.id(), Signal::SIGTERM);
    daemon.wait().expect("it is our child");
}
