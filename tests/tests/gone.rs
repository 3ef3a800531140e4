//! Projects whose file or directory was deleted or renamed: their services are listed and can be stopped, by path and
//! by row, with and without a daemon. Their state is removed when no service runs.

use serde_json::json;
use service_tests::{Project, ServiceTable, eventually};
use std::fs;

const ONE: &str = "[services.a]\nstart_command = \"sh -c 'echo up; exec sleep 600'\"\n";

/// Damages to a project, as commands in its own directory.
const DAMAGES: [&str; 5] = [
    "^mv services.toml ../away.toml",
    "^rm services.toml; ^mkdir services.toml",
    "'[services.a' | save --force services.toml",
    "^rm -r (pwd)",
    "^mv (pwd) $'(pwd)-moved'",
];

/// Commands that must work after the damage; `WHERE` is replaced by the project.
const ALL: &str = "{
    status: (service status WHERE --quiet | get 0.state)
    why: (service why a WHERE | get state)
    logs: (service logs a WHERE | get line)
    events: (service events WHERE | is-not-empty)
    history: (service history WHERE | is-not-empty)
    daemon: (service daemon status WHERE | get running)
    stopped: (service stop --all WHERE | select name ok status)
    ended: (service daemon stop WHERE | get running)
} | to json --raw";

const KILL: &str = "let daemon = service daemon status | get pid; ^kill -9 $daemon; \
                    while ($'/proc/($daemon)/exe' | path exists) { sleep 10ms }; ";

fn is_all_right(answer: &serde_json::Value, how: &str) {
    assert_eq!((&answer["status"], &answer["why"]), (&json!("ready"), &json!("ready")), "{how}: {answer}");
    assert_eq!(answer["logs"], json!(["up"]), "{how}");
    assert_eq!((&answer["events"], &answer["history"]), (&json!(true), &json!(true)), "{how}: {answer}");
    assert_eq!(answer["stopped"], json!([{"name": "a", "ok": true, "status": "stopped"}]), "{how}");
    assert_eq!((&answer["daemon"], &answer["ended"]), (&json!(true), &json!(true)), "{how}: {answer}");
}

fn begun(project: &Project, name: &str) -> String {
    let file =
        project.write(&format!("{name}/services.toml"), ONE).canonicalize().expect("it was just written");
    let answer = project
        .nu(&format!("cd {name}; service start a; while (service logs a | is-empty) {{ sleep 10ms }}"));
    assert!(answer.success, "{answer:?}");
    file.to_str().expect("it is text").to_owned()
}

#[test]
fn what_runs_is_seen_and_stopped_from_inside_of_what_is_gone() {
    let Some(project) = Project::new("") else { return };
    for (number, damage) in DAMAGES.iter().enumerate() {
        for (kill, word) in [("", "living"), (KILL, "killed")] {
            let name = format!("{word}{number}");
            begun(&project, &name);
            // Nushell itself fails if its current directory is deleted at its end.
            let line = format!("do {{ cd {name}; {kill}{damage}; {} }}", ALL.replace("WHERE", ""));
            is_all_right(&project.nu(&line).value(), &format!("{damage}, the daemon {word}"));
        }
    }
}

#[test]
fn what_runs_is_seen_and_stopped_by_its_path() {
    let Some(project) = Project::new("") else { return };
    for (number, damage) in DAMAGES.iter().enumerate() {
        for (kill, word) in [("", "living"), (KILL, "killed")] {
            let name = format!("{word}{number}");
            let file = begun(&project, &name);
            let line = format!("do {{ cd {name}; {kill}{damage} }}; ");
            let line = match number % 2 {
                0 => format!("{line}{}", ALL.replace("WHERE", &format!("--config {file}"))),
                _ => format!("{line}$env.SERVICES_CONFIG = '{file}'; {}", ALL.replace("WHERE", "")),
            };
            is_all_right(&project.nu(&line).value(), &format!("{damage}, the daemon {word}"));
        }
    }
}

#[test]
fn rows_of_projects_say_where_and_names_say_what() {
    let Some(project) = Project::new("") else { return };
    let (one, two) = (begun(&project, "one"), begun(&project, "two"));
    fs::remove_dir_all(project.path("one")).unwrap();
    project.nu(&format!("cd two; {KILL}"));
    let rows = project.value("service projects | select path file up");
    let row = |path: &str, file: &str| json!({"path": path, "file": file, "up": 1});
    assert_eq!(rows, json!([row(&one, "gone"), row(&two, "present")]));
    assert_eq!(project.value("service projects | service status | get project"), json!([one, two]));
    assert_eq!(project.value("service projects | service logs a | get line"), json!(["up", "up"]));
    assert_eq!(project.value("service projects | first | service why a | get name"), "a");
    assert_eq!(project.error("service projects | service stop")["code"], "service::no_names");
    let stopped = project.value("service projects | where file == gone | service stop --all");
    assert_eq!(stopped.column("project"), [one.as_str()]);
    assert_eq!(stopped.column("status"), ["stopped"]);
    let ended = project.value("service projects | service daemon stop --services");
    assert_eq!(ended.column("project"), [one, two]);
    eventually("both daemons have ended", || project.processes().is_empty().then_some(()));
    assert_eq!(project.value("[] | service stop --all"), json!([]));
}

#[test]
fn in_a_renamed_directory_nothing_is_started_twice() {
    let Some(project) = Project::new("") else { return };
    let file = begun(&project, "old");
    fs::rename(project.path("old"), project.path("new")).unwrap();
    let looked = project.nu("cd new; service status | to json --raw");
    assert_eq!(looked.value().column("state"), ["stopped"]);
    let said = looked.stderr.matches(&file).count();
    assert_eq!((said, looked.stderr.contains("`a` still runs as a service of")), (2, true), "{looked:?}");
    for line in ["service start a", "service restart a", "service start --all", "service apply"] {
        let refused = project.error(&format!("cd new; {line}"));
        assert_eq!(refused["code"], "service::moved", "{refused}");
        assert!(refused["help"].as_str().unwrap().contains(&format!("--config {file}")), "{refused}");
    }
    // After the directory was renamed back, there is no note.
    fs::rename(project.path("new"), project.path("old")).unwrap();
    assert_eq!(project.value("cd old; service start a").column("action"), ["unchanged"]);
    fs::rename(project.path("old"), project.path("new")).unwrap();
    project.nu(&format!("service stop --all --config {file}; service daemon stop --config {file}"));
    let started = project.nu("cd new; service start a | ignore; service status | to json --raw");
    assert_eq!((started.value().column("state"), started.stderr.as_str()), (vec!["ready".to_owned()], ""));
    assert!(project.nu("cd new; service daemon stop --services").success);
}

#[test]
fn what_is_left_of_a_project_goes_when_it_is_gone_and_nothing_of_it_runs() {
    let Some(project) = Project::new("") else { return };
    let files = ["runs", "served", "gone", "there"].map(|name| begun(&project, name));
    let [runs, served, gone, _] = &files;
    project.nu(&format!("cd runs; {KILL}"));
    for name in ["gone", "there"] {
        project.nu(&format!("cd {name}; service daemon stop --services"));
    }
    project.nu("cd served; service stop --all");
    for name in ["runs", "served", "gone"] {
        fs::remove_dir_all(project.path(name)).unwrap();
    }
    let states = || fs::read_dir(project.path("state/service-orchestrator")).unwrap().count();
    let listed = project.value("service projects | where file == gone | get path");
    assert_eq!(listed, json!([gone, runs, served]), "what is left is listed");
    assert_eq!(states(), 4);
    let pruned = project.value("service projects --prune | select path removed");
    assert_eq!(pruned, json!([{"path": gone, "removed": true}]));
    assert_eq!(states(), 3);
    assert_eq!(project.error(&format!("service status --config {gone}"))["code"], "service::no_project");
    project.nu(&format!(
        "service daemon stop --services --config {runs}; service daemon stop --config {served}"
    ));
    let nothing = project.error(&format!("service status --config {runs}"));
    assert_eq!(nothing["code"], "service::no_project", "{nothing}");
    assert!(nothing["msg"].as_str().unwrap().contains("no service of it runs"), "{nothing}");
    assert_eq!(project.value("service projects --prune | get path"), json!([runs, served]));
    assert_eq!((project.value("service projects --prune"), states()), (json!([]), 1));
}

#[test]
fn a_directory_that_is_gone_is_told_and_a_whole_path_works_from_there() {
    let Some(project) = Project::new(ONE) else { return };
    let file = project.path("services.toml");
    let config = format!("--config {}", file.display());
    for line in ["status", "list", "managers", "init", "check", "stop --all", "daemon status", "run 'true'"] {
        let gone = project.error(&format!("do {{ mkdir gone; cd gone; ^rmdir ../gone; service {line} }}"));
        assert_eq!(gone["code"], "service::no_project", "{line}: {gone}");
        assert!(gone["msg"].as_str().unwrap().contains("the current directory is gone"), "{line}: {gone}");
    }
    for line in
        ["status", "list", "managers", "check", "start a", "logs a", "graph", "stop --all", "daemon stop"]
    {
        let answer = project
            .nu(&format!("do {{ mkdir gone; cd gone; ^rmdir ../gone; service {line} {config} }} | to json"));
        assert!(answer.success, "{line}: {answer:?}");
    }
    let line = "do { mkdir gone; cd gone; ^rmdir ../gone; service list | get name } | to json --raw";
    let answer = project.nu(&format!("$env.SERVICES_CONFIG = '{}'; {line}", file.display()));
    assert_eq!(answer.value(), json!(["a"]));
}

#[test]
fn a_linked_file_belongs_to_the_directory_of_the_link() {
    let Some(project) = Project::new("") else { return };
    let shared = project.write(
        "shared/s.toml",
        "[services.where]\nshell = \"sh\"\nstart_command = \"pwd; exec sleep 600\"\n",
    );
    for name in ["p1", "p2"] {
        fs::create_dir(project.path(name)).unwrap();
        std::os::unix::fs::symlink(&shared, project.path(name).join("services.toml")).unwrap();
    }
    std::os::unix::fs::symlink(project.path("p1"), project.path("p3")).unwrap();
    let start = |name: &str| project.value(&format!("cd {name}; service start where")).column("action");
    assert_eq!((start("p1"), start("p2")), (vec!["started".to_owned()], vec!["started".to_owned()]));
    assert_eq!(start("p3"), ["unchanged"], "a linked directory is that directory");
    for name in ["p1", "p2"] {
        let here = project.path(name).canonicalize().unwrap();
        let log = project.value(&format!(
            "cd {name}; while (service logs where | is-empty) {{ sleep 10ms }}; service logs where | get line"
        ));
        assert_eq!(log, json!([here]));
        assert!(project.nu(&format!("cd {name}; service daemon stop --services")).success);
    }
}

#[test]
fn a_daemon_that_cannot_run_says_so_by_its_exit_status() {
    let Some(project) = Project::new("[services.a]\nstart_comand = 'true'\n") else { return };
    let mut daemon = project.command(&service_tests::program("orchestratord"));
    let output = daemon.args(["run", "--config", "services.toml"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let greeting: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(greeting["failed"]["code"], "bad_definition");
}

#[test]
fn what_a_manager_runs_is_seen_and_stopped_by_a_new_daemon_without_the_file() {
    let lamp = r#"
        [services.lamp]
        manager = "command"
        start_command = "'on' | save --force ../lamp"
        stop_command = "rm ../lamp; $env.COLOUR? | default none | save ../colour"
        status_command = "open ../lamp"
        env = { COLOUR = "green" }

        [services.old]
        manager = "command"
        start_command = "'on' | save --force ../old"
        stop_command = "rm ../old"
        status_command = "open ../old"
        "#;
    let Some(project) = Project::new("") else { return };
    let file = project.write("home/shop/services.toml", lamp).canonicalize().expect("it was just written");
    let at = file.display();
    project.value(&format!("service start --all --config {at}"));
    // A stopped service is inactive.
    project.value(&format!("service stop old --config {at}"));
    assert!(project.path("home/lamp").exists() && !project.path("home/old").exists());
    project.value(&format!("service daemon stop --config {at}"));
    fs::remove_file(&file).expect("it is there");
    let rows = project.value(&format!("service status --quiet --config {at}"));
    assert_eq!(
        (rows.column("name"), rows.column("status")),
        (vec!["lamp".to_owned()], vec!["running".to_owned()]),
        "{rows}"
    );
    let stopped = project.value(&format!("service stop lamp --config {at} | select name ok action"));
    assert_eq!(stopped, json!([{"name": "lamp", "ok": true, "action": "stopped"}]));
    assert!(!project.path("home/lamp").exists());
    assert_eq!(project.read("home/colour"), "none", "the value is written down nowhere");
    assert_eq!(project.value(&format!("service status --quiet --config {at}")), json!([]));
    project.value(&format!("service daemon stop --config {at}"));
}

#[test]
fn down_ends_the_projects_of_rows_and_of_a_path_with_their_daemons_and_no_other() {
    let Some(project) = Project::new("") else { return };
    let names = ["one", "two", "three", "four"];
    let files = names.map(|name| {
        let file =
            project.write(&format!("{name}/services.toml"), ONE).canonicalize().expect("it is written");
        file.to_str().expect("it is text").to_owned()
    });
    let begun = project.nu("for name in [one two three four] { cd $name; service start a --no-wait; cd .. }");
    assert!(begun.success, "{begun:?}");
    let down = format!("use '{}/../nu/service'; ", env!("CARGO_MANIFEST_DIR"));
    let left = || project.value("service projects").column("path");
    let stopped = |line: &str| {
        let rows = project.value(&format!("{down}{line}"));
        assert_eq!(
            (rows.column("name"), rows.column("ok")),
            (vec!["a".into()], vec!["true".into()]),
            "{line}"
        );
    };
    assert_eq!(left().len(), 4);
    // The command runs in the directory of another project, whose own services keep running.
    stopped(&format!("cd two; service down --config {}", files[0]));
    assert_eq!((left().len(), left().contains(&files[0])), (3, false));
    stopped(&format!("cd three; service projects | where path == '{}' | service down", files[1]));
    assert_eq!((left().len(), left().contains(&files[1])), (2, false));
    // The directories were deleted, and the daemons have ended.
    for name in ["three", "four"] {
        let killed = project.nu(&format!("cd {name}; {KILL}"));
        assert!(killed.success, "{killed:?}");
        fs::remove_dir_all(project.path(name)).expect("the directory is ours");
    }
    stopped(&format!("service projects | where path == '{}' | first | service down", files[2]));
    stopped(&format!("service down --config {}", files[3]));
    eventually("nothing runs any more, no daemon either", || project.processes().is_empty().then_some(()));
    assert_eq!(project.value(&format!("{down}[] | service down")), json!([]));
}

/// Every command that accepts rows of projects.
const OF_PROJECTS: [&str; 12] = [
    "list",
    "status",
    "why",
    "health",
    "logs",
    "events",
    "history",
    "stop --all",
    "restart --all",
    "daemon status",
    "daemon restart",
    "daemon stop --services",
];

#[test]
fn no_rows_of_projects_mean_no_project_and_not_the_one_of_the_directory() {
    let Some(project) = Project::new(ONE) else { return };
    project.value("service start a --no-wait");
    let (daemon, service) = (project.daemon(), project.pid("a"));
    for front in ["", "use 'SERVICE_HTTP'; "] {
        let front =
            front.replace("SERVICE_HTTP", &format!("{}/../nu/service-http", env!("CARGO_MANIFEST_DIR")));
        let each =
            OF_PROJECTS.map(|words| format!("(service projects | where path == '' | service {words})"));
        let answers = project.value(&format!("{front}[{}]", each.join(" ")));
        assert_eq!(answers, json!(vec![json!([]); OF_PROJECTS.len()]), "{front}");
        assert_eq!((project.daemon(), project.pid("a")), (daemon, service), "{front}");
    }
}
