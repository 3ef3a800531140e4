//! A shell without `HOME` and `XDG_*`, or with empty ones: the state is in the home directory of the user database, or the
//! error names what is missing.

use crate::resources::own_mounts;
use nix::mount::{MsFlags, mount};
use service_tests::{Project, eventually, program};
use std::path::Path;

/// The variables that determine a user's directories.
const SAYS_WHERE: [&str; 6] =
    ["HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME", "XDG_DATA_HOME"];

fn fronts() -> [String; 2] {
    [String::new(), format!("use '{}/../nu/service-http' *; ", env!("CARGO_MANIFEST_DIR"))]
}

/// The output of a program without any of these variables.
fn output<'w>(project: &Project, program: &Path, words: impl IntoIterator<Item = &'w str>) -> String {
    let mut command = project.command(program);
    for name in SAYS_WHERE {
        command.env_remove(name);
    }
    let output = command.args(words).output().expect("it can be run");
    let (said, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if said.is_empty() { error.into_owned() } else { said.into_owned() }
}

/// The value of a line of a Nushell without these variables.
#[track_caller]
fn value(project: &Project, line: &str) -> serde_json::Value {
    let [nu, options @ ..] = project.shell();
    let options = options.iter().filter_map(|option| option.to_str());
    let line = format!("{line} | to json --raw");
    let said = output(project, &nu, options.chain(["--no-std-lib", "--commands", line.as_str()]));
    serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"))
}

/// Replaces the user database by one with these users.
fn know(project: &Project, users: &str) {
    for (file, text) in [("passwd", users), ("nsswitch.conf", "passwd: files\ngroup: files\n")] {
        let ours = project.write(&format!("etc/{file}"), text);
        let theirs = Path::new("/etc").join(file);
        if theirs.exists() {
            mount(Some(&ours), &theirs, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
        }
    }
}

#[test]
fn without_home_or_with_an_empty_one_state_lies_where_the_system_says_that_this_user_lives() {
    if !own_mounts() {
        return;
    }
    let Some(project) = Project::new("[services.web]\nstart_command = \"TEST_SERVICE\"\n") else { return };
    let project = project.env("ORCHESTRATORD", program("orchestratord").display().to_string());
    let program_path = program("orchestratord").display().to_string();
    let home = project.path("home");
    know(&project, &format!("root:x:0:0:root:{}:/bin/sh\n", home.display()));
    let states = home.join(".local/state/service-orchestrator");
    let empty = SAYS_WHERE.map(|name| format!("$env.{name} = ''; ")).concat() + "$env.SERVICES_CONFIG = ''; ";
    let shells = fronts().into_iter().flat_map(|front| [front.clone(), format!("{front}{empty}")]);
    for front in shells {
        let all = "{
            before: (service status | get state.0)
            started: (service start web | get ok.0)
            ready: (service status | get state.0)
            state: (service daemon status | get state_dir? | default '')
            stopped: (service stop web | get ok.0)
            ended: (service daemon stop | get running)
        }";
        let answer = value(&project, &format!("{front}{all}"));
        let words = ["before", "ready"].map(|word| answer[word].as_str().unwrap_or_default());
        assert_eq!(words, ["stopped", "ready"], "{answer}");
        assert_eq!((&answer["started"], &answer["stopped"]), (&true.into(), &true.into()), "{answer}");
        eventually("the daemon has ended", || project.processes().is_empty().then_some(()));
        let kept = std::fs::read_dir(&states).expect("state is kept there").count();
        assert!(kept > 0 && !project.path("state/service-orchestrator").exists());
    }
    // The program without Nushell finds the same project.
    let found = output(&project, &program("orchestratord"), ["order"]);
    assert!(found.contains("\"web\""), "{found}");
    let found =
        output(&project, Path::new("/usr/bin/env"), ["HOME=", "SERVICES_CONFIG=", &program_path, "order"]);
    assert!(found.contains("\"web\""), "{found}");
    assert_eq!(
        std::fs::read_dir(&states).unwrap().flatten().filter(|entry| entry.path().is_dir()).count(),
        1
    );
}

#[test]
fn of_a_user_whom_nobody_knows_it_is_said_what_to_set() {
    if !own_mounts() {
        return;
    }
    let Some(project) = Project::new("[services.web]\nstart_command = \"TEST_SERVICE\"\n") else { return };
    let project = project.env("ORCHESTRATORD", program("orchestratord").display().to_string());
    know(&project, "nobody:x:65534:65534:nobody:/nonexistent:/bin/false\n");
    for front in fronts() {
        for line in ["service status", "service start web", "service stop web"] {
            let caught = "{msg: $e.msg help: $e.details.help}";
            let error = value(&project, &format!("{front}try {{ {line} | ignore }} catch {{|e| {caught} }}"));
            let (said, help) = (error["msg"].to_string(), error["help"].to_string());
            assert!(said.contains("neither HOME nor XDG_STATE_HOME is set"), "{front}{line}: {error}");
            assert!(help.contains("set XDG_STATE_HOME to a directory of your own"), "{front}{line}: {error}");
        }
        // The suggested remedy works.
        let state = project.path("state");
        let set = format!("{front}$env.XDG_STATE_HOME = '{}'; ", state.display());
        assert_eq!(value(&project, &format!("{set}service start web | get ok.0")), true);
        assert_eq!(value(&project, &format!("{set}service stop web | get ok.0")), true);
        value(&project, &format!("{set}service daemon stop | get running"));
        eventually("the daemon has ended", || project.processes().is_empty().then_some(()));
    }
    for word in ["run", "order"] {
        let told = output(&project, &program("orchestratord"), [word]);
        assert!(told.contains("neither HOME nor XDG_STATE_HOME is set"), "{word}: {told}");
    }
}

#[test]
fn a_file_in_place_of_the_directory_of_the_socket_is_named() {
    let Some(project) = Project::new("[services.web]\nstart_command = \"sleep 1000\"") else { return };
    let project = project.env("ORCHESTRATORD", program("orchestratord").display().to_string());
    let file = project.write("run/service-orchestrator", "");
    for front in fronts() {
        let error = project.error(&format!("{front}service start web"));
        let (message, help) = (error["msg"].as_str().unwrap(), error["help"].as_str().unwrap());
        assert_eq!(error["code"], "service::storage", "{error}");
        assert!(message.contains(&format!("cannot use `{}`", file.display())), "{error}");
        assert!(help.contains("XDG_RUNTIME_DIR") && !help.contains("remove"), "{error}");
    }
}

#[test]
fn a_limit_of_file_sizes_that_kills_the_daemon_is_named() {
    let Some(project) = Project::new("[services.web]\nstart_command = \"sleep 1000\"") else { return };
    let project = project.env("ORCHESTRATORD", program("orchestratord").display().to_string());
    let [nu, ..] = project.shell();
    let [_, plain] = fronts();
    let mut command = project.command(Path::new("sh"));
    command.args(["-c", "ulimit -f 0; exec \"$@\"", "sh"]).arg(&nu);
    let options = ["--no-config-file", "--no-std-lib", "--commands", &format!("{plain}service start web")];
    let output = command.args(options).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("cannot start the daemon") && said.contains("`ulimit -f unlimited`"), "{said}");
}
