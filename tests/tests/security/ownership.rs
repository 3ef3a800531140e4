//! File ownership: a `services.toml` that was found by a search is used only if no other user can have written it. One
//! table has the cases for the program, the plugin and the plain front.

use nix::unistd::{Gid, Uid, chown, geteuid};
use serde_json::{Value, json};
use service_tests::{Project, program, skip};
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::Path;

/// The ids of `nobody`, and of a group that is not root's.
const STRANGER: u32 = 65534;
const FOREIGN_GROUP: u32 = 1;
const EMPTY: &str = "[services]\n";

/// A case: the files, and whether the file may be used from the directory `inside`.
struct Case {
    name: &'static str,
    make: fn(&Path),
    allowed: bool,
}

/// The cases. Each creates `file`, a directory `inside`, and further files in its own directory.
const CASES: &[Case] = &[
    Case { name: "own", make: |_| {}, allowed: true },
    Case { name: "readable", make: |at| mode(at, "services.toml", 0o644), allowed: true },
    Case { name: "strangers-file", make: |at| give(at, "services.toml"), allowed: false },
    Case { name: "strangers-directory", make: |at| give(at, "."), allowed: false },
    Case { name: "writable-by-all", make: |at| mode(at, "services.toml", 0o666), allowed: false },
    Case { name: "writable-by-others-alone", make: |at| mode(at, "services.toml", 0o602), allowed: false },
    Case { name: "own-group", make: |at| mode(at, "services.toml", 0o664), allowed: true },
    Case { name: "own-group-directory", make: |at| mode(at, ".", 0o775), allowed: true },
    Case { name: "foreign-group", make: |at| group(at, "services.toml", 0o664), allowed: false },
    Case { name: "foreign-group-that-reads", make: |at| group(at, "services.toml", 0o640), allowed: true },
    Case { name: "foreign-group-directory", make: |at| group(at, ".", 0o775), allowed: false },
    Case { name: "open-directory", make: |at| mode(at, ".", 0o777), allowed: false },
    Case { name: "sticky-directory", make: |at| mode(at, ".", 0o1777), allowed: true },
    Case { name: "strangers-file-in-a-sticky-directory", make: sticky, allowed: false },
    Case { name: "strangers-sticky-directory", make: strangers_sticky, allowed: false },
    Case { name: "link", make: |at| link(at, 0, |_| {}), allowed: true },
    Case { name: "link-of-a-stranger", make: |at| link(at, STRANGER, |_| {}), allowed: false },
    Case { name: "link-to-a-strangers-file", make: |at| link(at, 0, |to| give(to, "file")), allowed: false },
    Case {
        name: "link-into-an-open-directory",
        make: |at| link(at, 0, |to| mode(to, ".", 0o777)),
        allowed: false,
    },
    Case {
        name: "link-into-a-strangers-directory",
        make: |at| link(at, 0, |to| give(to, ".")),
        allowed: false,
    },
];

fn mode(at: &Path, name: &str, mode: u32) {
    fs::set_permissions(at.join(name), Permissions::from_mode(mode)).expect("it is ours");
}

fn give(at: &Path, name: &str) {
    chown(&at.join(name), Some(Uid::from_raw(STRANGER)), None).expect("we are root");
}

fn group(at: &Path, name: &str, bits: u32) {
    chown(&at.join(name), None, Some(Gid::from_raw(FOREIGN_GROUP))).expect("we are root");
    mode(at, name, bits);
}

fn sticky(at: &Path) {
    give(at, "services.toml");
    mode(at, ".", 0o1777);
}

fn strangers_sticky(at: &Path) {
    give(at, ".");
    mode(at, ".", 0o1777);
}

/// Creates a directory that another user can control.
type Make = fn(&Project);

/// Creates the file as this user's link to a file in another directory, which `then` modifies.
fn link(at: &Path, user: u32, then: fn(&Path)) {
    let to = at.join("elsewhere");
    fs::create_dir(&to).expect("it is ours");
    fs::write(to.join("file"), EMPTY).expect("it is ours");
    fs::remove_file(at.join("services.toml")).expect("it is ours");
    symlink("elsewhere/file", at.join("services.toml")).expect("it is ours");
    lchown(at.join("services.toml"), Some(user), None).expect("we are root");
    then(&to);
}

/// The lines that load each front.
fn fronts() -> [(&'static str, String); 2] {
    let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("../nu/service-http");
    [("plugin", String::new()), ("plain", format!("use {} *; ", module.display()))]
}

/// Sets the variable by which the plain front finds the program.
fn with_the_program(project: Project) -> Project {
    project.env("ORCHESTRATORD", program("orchestratord").display().to_string())
}

const CODE_OF: &str =
    "def code [work: closure] { try { do $work | ignore; 'ok' } catch {|e| $e.details.code } }; ";

#[test]
fn a_file_that_was_found_is_used_only_where_nobody_else_can_have_written_it() {
    if !geteuid().is_root() {
        return skip("only root can give files away");
    }
    let Some(project) = Project::new("").map(with_the_program) else { return };
    fs::remove_file(project.path("services.toml")).expect("it is ours");
    let expected: Value = CASES
        .iter()
        .map(|case| {
            let at = project.path("cases").join(case.name);
            fs::create_dir_all(at.join("inside")).expect("it is ours");
            fs::write(at.join("services.toml"), EMPTY).expect("it is ours");
            (case.make)(&at);
            (case.name.to_owned(), json!(if case.allowed { "ok" } else { "service::untrusted_file" }))
        })
        .collect::<serde_json::Map<_, _>>()
        .into();
    let names: Vec<&str> = CASES.iter().map(|case| case.name).collect();
    for (front, load) in fronts() {
        let found = project.value(&format!(
            "{load}{CODE_OF}'{}' | from json | reduce --fold {{}} {{|name, all| cd $'cases/($name)/inside'; \
             $all | insert $name (code {{ service list }}) }}",
            json!(names)
        ));
        assert_eq!(found, expected, "{front}");
    }
    for case in CASES {
        let mut command = project.command(&program("orchestratord"));
        let inside = project.path("cases").join(case.name).join("inside");
        let output = command.arg("list").current_dir(inside).output().expect("it can be run");
        assert_eq!(output.status.success(), case.allowed, "{}: {output:?}", case.name);
    }
}

#[test]
fn every_command_refuses_a_strangers_file_until_it_is_trusted_or_named() {
    if !geteuid().is_root() {
        return skip("only root can give files away");
    }
    let ran = "echo ran >> ran";
    let Some(project) = Project::new(&format!(
        "[orchestrator.managers]\nnu = \"evil\"\n[services.web]\nmanager = \"command\"\nstart_command = \"true\"\nstop_command = \"true\"\n\
         status_command = \"{ran}\"\n[services.mod]\nmanager = \"m.nu\"\n"
    ))
    .map(with_the_program) else {
        return;
    };
    project.write("m.nu", "export-env { 'ran' | save --append ran }\nexport def start [] {}\n");
    project.write("evil", "#!/bin/sh\necho ran >> ran\n");
    mode(&project.path("."), "evil", 0o755);
    give(&project.path("."), "services.toml");
    fs::create_dir(project.path("inside")).expect("it is ours");
    let commands = [
        "service status",
        "service status --no-start",
        "service logs",
        "service why web",
        "service plan",
        "service managers",
        "service list",
        "service check",
        "service order",
        "service graph",
        "service events",
        "service history",
        "service health web",
        "service wait web --timeout 1sec",
        "service start web",
        "service stop web",
        "service restart web",
        "service apply",
        "service run -- true",
        "[{name: x start_command: 'true'}] | service add",
        "service remove web",
        "service daemon status",
        "service daemon stop",
        "service daemon restart",
        "service enable",
        "service disable",
    ];
    for (front, load) in fronts() {
        let asked: Vec<String> = commands.iter().map(|line| format!("(code {{ {line} }})")).collect();
        let found = project.value(&format!("cd inside; {load}{CODE_OF}[{}]", asked.join(" ")));
        for (line, code) in commands.iter().zip(found.as_array().expect("it is a list")) {
            assert_eq!(code, "service::untrusted_file", "{front}: {line}");
        }
        let error = project.error(&format!("{load}service list"));
        let told = format!("{} {}", error["msg"], error["help"]);
        for way_out in ["nobody", "service trust", "--config", "SERVICES_CONFIG"] {
            assert!(told.contains(way_out), "{front}: {told}");
        }
    }
    assert!(!project.path("ran").exists(), "nothing of it ran");
    let composed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../nu/service");
    for (front, load) in fronts() {
        let allowed = |what: &str| {
            let line = format!("{load}use {}; {CODE_OF}{what}", composed.display());
            project.value(&line)
        };
        let answer = allowed(
            "[(service prompt) (code { service list --config services.toml }) (with-env {SERVICES_CONFIG: services.toml} { code { service list } })]",
        );
        assert_eq!(answer, json!(["", "ok", "ok"]), "{front}");
        let answer = allowed(
            "let trusted = service trust; let before = code { service list }; '# changed' | save --append services.toml; \
             [$trusted.trusted $before (code { service list })]",
        );
        assert_eq!(answer, json!([true, "ok", "service::untrusted_file"]), "{front}");
    }
    assert!(!project.path("ran").exists(), "nothing of it ran");
}

#[test]
fn a_directory_of_somebody_else_keeps_no_state_and_no_socket() {
    if !geteuid().is_root() {
        return skip("only root can give files away");
    }
    let cases: [(&str, Make); 8] = [
        ("state", |project| give(&project.path("state"), ".")),
        ("state", |project| mode(&project.path("state"), ".", 0o777)),
        ("run", |project| give(&project.path("run"), ".")),
        ("run", |project| mode(&project.path("run"), ".", 0o777)),
        ("state/service-orchestrator", |project| {
            fs::create_dir(project.path("state/service-orchestrator")).expect("it is ours");
            give(&project.path("state/service-orchestrator"), ".");
        }),
        ("run/service-orchestrator", |project| {
            fs::create_dir(project.path("run/service-orchestrator")).expect("it is ours");
            mode(&project.path("run"), "service-orchestrator", 0o777);
            give(&project.path("run/service-orchestrator"), ".");
        }),
        ("state", |project| {
            fs::rename(project.path("state"), project.path("other")).expect("it is ours");
            symlink(project.path("other"), project.path("state")).expect("it is ours");
            lchown(project.path("state"), Some(STRANGER), None).expect("we are root");
        }),
        ("orchestratord.log", |project| {
            project.value("service start web");
            project.value("service daemon stop --services");
            let (log, aim) = (project.state_dir().join("orchestratord.log"), project.path("made"));
            fs::remove_file(&log).expect("it is ours");
            symlink(&aim, &log).expect("it is ours");
            lchown(&log, Some(STRANGER), None).expect("we are root");
        }),
    ];
    for (place, make) in cases {
        for (front, load) in fronts() {
            let services = "[services.web]\nstart_command = \"TEST_SERVICE\"\n";
            let Some(project) = Project::new(services).map(with_the_program) else { return };
            make(&project);
            let error = project.error(&format!("{load}service start web"));
            assert!(
                error["msg"].as_str().is_some_and(|told| told.contains(place)),
                "{front} {place}: {error}"
            );
            let (code, help) = (error["code"].to_string(), error["help"].as_str().unwrap_or_default());
            assert!(code.contains("service::storage"), "{front} {place}: {error}");
            assert!(
                ["chmod go-w", "unset $", "chown", "remove the log"].iter().any(|step| help.contains(step)),
                "{front} {place}: {error}"
            );
            let log = place == "orchestratord.log";
            assert!(log || !error.to_string().contains("remove"), "{front} {place}: {error}");
            assert!(!project.path("made").exists(), "{front}: nothing was written through a link");
            assert!(project.processes().is_empty(), "{front} {place}");
        }
    }
}
