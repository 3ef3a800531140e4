//! Files that are deleted while processes use them: the lock of a daemon; the lock, record and socket of a run; whole
//! directories.

use crate::leaves_nothing;
use nix::sys::signal::Signal;
use service_tests::{Project, ServiceTable, alive, eventually, name, program, signal};
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::process::Stdio;

const SERVICES: &str = "[services.web]\nstart_command = \"TEST_SERVICE alone web.lock\"\n\
    [services.work]\nstart_command = \"TEST_SERVICE alone work.lock\"\n";

/// A deleted part of a state directory: its description, and the deletion.
type Case<'a> = (&'a str, &'a dyn Fn(&Path));

/// Starts a second daemon of the project, and returns its output.
fn second_daemon(project: &Project) -> String {
    let mut command = project.command(&program("orchestratord"));
    command.args(["run", "--config", "services.toml"]).stderr(Stdio::null());
    let mut second = command.spawn().unwrap();
    let mut greeting = String::new();
    BufReader::new(second.stdout.take().unwrap()).read_line(&mut greeting).unwrap();
    if !greeting.contains("taken") {
        second.kill().unwrap();
    }
    second.wait().unwrap();
    greeting
}

fn empty(directory: &Path) {
    fs::remove_dir_all(directory).unwrap();
    fs::DirBuilder::new().mode(0o700).create(directory).unwrap();
}

#[test]
fn a_daemon_stays_the_only_one_whatever_is_deleted_of_its_lock() {
    let Some(project) = Project::new(SERVICES) else { return };
    project.value("service start web");
    let (daemon, web, socket) = (project.daemon(), project.pid("web"), project.socket());
    let lock = project.state_dir().join("orchestratord.lock");
    let cases: [(&str, &dyn Fn()); 4] = [
        ("it cannot be reached", &|| {
            fs::remove_file(&lock).unwrap();
            fs::remove_file(&socket).unwrap();
        }),
        ("it is frozen", &|| {
            fs::remove_file(&lock).unwrap();
            signal(daemon, Signal::SIGSTOP);
        }),
        ("its state directory is gone", &|| empty(&project.path("state"))),
        ("both directories are gone", &|| {
            empty(&project.path("state"));
            empty(&project.path("run"));
        }),
    ];
    for (case, happens) in cases {
        happens();
        let greeting = second_daemon(&project);
        signal(daemon, Signal::SIGCONT);
        assert!(greeting.contains("taken"), "{case}: {greeting}");
        let answers = || project.value("service daemon status")["pid"].as_u64();
        assert_eq!(eventually("it answers", answers), u64::from(daemon), "{case}");
        eventually("it has its lock again", || lock.exists().then_some(()));
    }
    assert_eq!(project.pid("web"), web);
    let daemons = project.processes().into_iter().filter(|pid| name(*pid) == "orchestratord");
    assert_eq!(daemons.collect::<Vec<_>>(), [daemon]);
    leaves_nothing(&project);
}

#[test]
fn what_runs_is_found_and_stopped_by_a_new_daemon_whatever_is_deleted_of_its_files() {
    let Some(project) = Project::new(SERVICES) else { return };
    let cases: [Case<'_>; 13] = [
        ("its lock", &|state| fs::remove_file(state.join("run/web/run.lock")).unwrap()),
        ("lock, record and socket", &|state| {
            for file in ["run.lock", "run.json", "shim.sock"] {
                fs::remove_file(state.join("run/web").join(file)).unwrap();
            }
        }),
        ("its run directory", &|state| fs::remove_dir_all(state.join("run/web")).unwrap()),
        ("its directories", &|state| {
            fs::remove_dir_all(state.join("run/web")).unwrap();
            let _ = fs::remove_dir_all(state.join("services/web"));
        }),
        ("its record and its socket", &|state| {
            for file in ["run.json", "shim.sock"] {
                fs::remove_file(state.join("run/web").join(file)).unwrap();
            }
        }),
        ("its run directory, which has another name", &|state| {
            fs::rename(state.join("run/web"), state.join("run/web.old")).unwrap();
        }),
        ("its lock, which has another name", &|state| {
            fs::rename(state.join("run/web/run.lock"), state.join("run/web/run.lock.old")).unwrap();
        }),
        ("the link to the run directory", &|state| fs::remove_file(state.join("run")).unwrap()),
        ("the runtime directory", &|_| empty(&project.path("run"))),
        ("the run directory, which cannot be created again", &|state| {
            let directory = fs::read_link(state.join("run")).unwrap();
            fs::remove_dir_all(&directory).unwrap();
            fs::write(directory, "").unwrap();
        }),
        ("the state directory", &|state| fs::remove_dir_all(state).unwrap()),
        ("state and runtime directory", &|_| {
            empty(&project.path("state"));
            empty(&project.path("run"));
        }),
        ("it was moved away", &|state| {
            fs::rename(state, project.path("moved")).unwrap();
        }),
    ];
    for (case, delete) in cases {
        project.value("service start web work");
        let before = [project.pid("web"), project.pid("work")];
        project.kill_daemon();
        delete(&project.state_dir());
        let rows = project.value("service start web work");
        assert!(rows.column("ok").iter().all(|ok| ok == "true"), "{case}: {rows}");
        assert_eq!([project.pid("web"), project.pid("work")], before, "{case}");
        let rows = project.value("service stop web work");
        assert!(rows.column("ok").iter().all(|ok| ok == "true"), "{case}: {rows}");
        assert!(before.iter().all(|pid| !alive(*pid)), "{case}");
        let directory = fs::read_link(project.state_dir().join("run")).unwrap();
        if !directory.starts_with(project.path("run")) {
            // No test may leave a directory in the memory of the machine.
            fs::remove_dir_all(directory).unwrap();
        }
    }
    fs::remove_dir_all(project.path("moved")).unwrap();
    leaves_nothing(&project);
}

#[test]
fn an_exit_after_the_run_directory_is_gone_is_known_to_the_next_daemon() {
    let Some(project) = Project::new(
        "[services.web]\nstart_command = \"TEST_SERVICE gate go exit 7\"\nrestart = \"no\"\nready = { delay = \"1ms\" }\n",
    ) else {
        return;
    };
    project.value("service start web");
    let (shim, web) = project.run_of("web");
    project.kill_daemon();
    empty(&project.path("run"));
    project.write("go", "");
    eventually("the run is over", || (!alive(web) && !alive(shim)).then_some(()));
    let web = project.status("web");
    assert_eq!((&web["state"], &web["exit_code"]), (&"failed".into(), &7.into()), "{web}");
    leaves_nothing(&project);
}

#[test]
fn a_living_daemon_starts_services_without_its_run_directory_and_the_next_one_finds_all() {
    let Some(project) = Project::new(SERVICES) else { return };
    project.value("service start web");
    let (daemon, web) = (project.daemon(), project.pid("web"));
    empty(&project.path("run"));
    project.value("service start work");
    assert_eq!(project.daemon(), daemon);
    let work = project.pid("work");
    project.kill_daemon();
    project.value("service start web work");
    assert_eq!([project.pid("web"), project.pid("work")], [web, work]);
    leaves_nothing(&project);
}

#[test]
fn a_run_with_its_files_where_a_former_version_keeps_them_is_adopted_and_stopped() {
    let Some(project) = Project::new(SERVICES) else { return };
    project.value("service start web");
    let web = project.pid("web");
    project.kill_daemon();
    let (run, former) = (project.state_dir().join("run"), project.state_dir().join("services/web"));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&former).unwrap();
    for file in ["run.lock", "run.json", "shim.sock"] {
        fs::rename(run.join("web").join(file), former.join(file)).unwrap();
    }
    fs::remove_dir_all(fs::read_link(&run).unwrap()).unwrap();
    assert_eq!(project.value("service start web").row("web")["action"], "unchanged");
    assert_eq!(project.pid("web"), web);
    assert_eq!(project.value("service restart web").row("web")["ok"], true);
    assert!(!alive(web));
    project.kill_daemon();
    assert_eq!(project.value("service stop web").row("web")["action"], "stopped");
    leaves_nothing(&project);
}

#[test]
fn a_frozen_shim_whose_files_are_deleted_keeps_its_service_and_nothing_runs_twice() {
    let Some(project) = Project::new(SERVICES) else { return };
    project.value("service start web");
    let (shim, web) = project.run_of("web");
    project.kill_daemon();
    fs::remove_dir_all(project.state_dir()).unwrap();
    signal(shim, Signal::SIGSTOP);
    assert_eq!(project.pid("web"), web);
    signal(shim, Signal::SIGCONT);
    assert_eq!(project.value("service stop web").row("web")["ok"], true);
    assert!(!alive(web));
    leaves_nothing(&project);
}
