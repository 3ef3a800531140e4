//! Files with wrong contents: of another process, of another boot, truncated, garbled, or of a later version.

use crate::{UnrelatedProcess, leaves_nothing, named};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use service_tests::{Project, ServiceTable, alive, eventually, signal};
use std::fs;
use std::path::Path;

const WEB: &str = "[services.web]\nstart_command = \"TEST_SERVICE alone lock note starts\"\nrestart = \"always\"\nbackoff = { initial = \"1ms\", limit = 0 }";

/// The last line of a file: a file of records may have several.
fn last(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes.rsplit(|byte| *byte == b'\n').next().unwrap()).unwrap()
}

fn change(file: &Path, change: impl FnOnce(&mut Value)) {
    let mut contents = last(&fs::read(file).unwrap());
    change(&mut contents);
    fs::write(file, contents.to_string()).unwrap();
}

/// Kills all processes of the project, as a shutdown of the machine does.
fn kill_all(project: &Project) {
    let daemons = named(project, "orchestratord");
    for pid in daemons.into_iter().chain(named(project, "service-shim")) {
        signal(pid, Signal::SIGKILL);
    }
    eventually("nothing runs any more", || project.processes().is_empty().then_some(()));
}

/// Field 22 of `/proc/<pid>/stat`.
fn start_time(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let mut fields = stat.rsplit_once(')').unwrap().1.split_ascii_whitespace();
    fields.nth(19).and_then(|field| field.parse().ok()).unwrap()
}

/// Asserts that the service runs once, as a new process.
#[track_caller]
fn runs_anew(project: &Project) {
    project.value("service status");
    eventually("it runs again", || (project.status("web")["state"] == "ready").then_some(()));
    assert_eq!(named(project, "test_service"), [project.pid("web")]);
    assert_eq!(project.read("lock.twice"), "");
}

#[test]
fn a_pid_that_another_process_has_now_is_never_signalled() {
    // Even with the recorded start time the process does not count, because the lock of the service is free.
    for off_by in [1, 0] {
        let Some(project) = Project::new(WEB) else { return };
        let stranger = UnrelatedProcess::new();
        project.value("service start web");
        kill_all(&project);
        change(&project.run_json("web"), |record| {
            let pid = stranger.pid();
            let process = json!({ "pid": pid, "start_time": start_time(pid) - off_by });
            record["shim"] = process.clone();
            record["phase"]["running"]["leader"] = process;
        });
        runs_anew(&project);
        project.value("service stop web");
        leaves_nothing(&project);
    }
}

#[test]
fn a_record_of_another_boot_says_nothing_even_if_pid_and_time_are_right() {
    let Some(project) = Project::new(WEB) else { return };
    let stranger = UnrelatedProcess::new();
    project.value("service start web");
    kill_all(&project);
    change(&project.run_json("web"), |record| {
        let process = json!({ "pid": stranger.pid(), "start_time": start_time(stranger.pid()) });
        record["shim"] = process.clone();
        record["phase"]["running"]["leader"] = process;
        record["boot_id"] = json!("another boot");
    });
    let state = project.state_dir().join("state.json");
    let text = fs::read_to_string(&state).unwrap();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    assert!(text.contains(boot.trim()));
    // A line without a checksum is from an older version.
    let lines = text.lines().map(|line| line.split(",\"crc\"").next().unwrap().to_owned() + "}\n");
    fs::write(state, lines.collect::<String>().replace(boot.trim(), "another boot")).unwrap();
    runs_anew(&project);
    project.value("service stop web");
    leaves_nothing(&project);
}

/// Damages the bytes of a file.
type Spoil = fn(Vec<u8>) -> Vec<u8>;

/// Kinds of damage.
fn damages() -> [(&'static str, Spoil); 4] {
    [
        ("empty", |_| Vec::new()),
        ("truncated", |mut bytes| {
            bytes.truncate(bytes.len() / 2);
            bytes
        }),
        ("garbled", |bytes| bytes.into_iter().map(|byte| byte ^ 0x80).collect()),
        ("of the future", |bytes| {
            let mut contents = last(&bytes);
            contents["version"] = json!(1_000_000);
            contents.to_string().into_bytes()
        }),
    ]
}

fn damage(file: &Path, spoil: Spoil) {
    fs::write(file, spoil(fs::read(file).unwrap())).unwrap();
}

#[test]
fn a_damaged_state_file_is_set_aside_and_what_runs_is_taken_back() {
    let Some(project) = Project::new(WEB) else { return };
    project.value("service start web");
    let web = project.pid("web");
    for (how, spoil) in damages() {
        project.kill_daemon();
        let state = project.state_dir().join("state.json");
        let bytes = fs::read(&state).unwrap();
        fs::write(&state, spoil(bytes.split(|&byte| byte == b'\n').next().unwrap().to_vec())).unwrap();
        assert_eq!(project.pid("web"), web, "{how}");
        assert!(project.state_dir().join("state.json.unreadable").exists(), "{how}");
        eventually("the state is written anew", || {
            project.state_dir().join("state.json").exists().then_some(())
        });
        assert_eq!(project.value("service start web").row("web")["action"], "unchanged", "{how}");
    }
    assert_eq!(project.read("starts").lines().count(), 1);
    leaves_nothing(&project);
}

#[test]
fn a_state_file_that_breaks_off_is_believed_up_to_there() {
    let Some(project) = Project::new(WEB) else { return };
    project.value("service start web");
    let web = project.pid("web");
    let state = project.state_dir().join("state.json");
    project.value("service stop web");
    project.kill_daemon();
    assert!(!project.processes().contains(&web));
    let text = fs::read_to_string(&state).unwrap();
    assert!(text.lines().count() > 1, "what changed was appended: {text}");
    fs::write(&state, format!("{text}{{\"written\":9,\"services\":{{\"web\":{{\"goal\":\"up")).unwrap();
    assert_eq!(project.status("web")["state"], "stopped");
    assert!(!project.state_dir().join("state.json.unreadable").exists());
    assert_eq!(project.value("service start web").row("web")["ok"], true);
    leaves_nothing(&project);
}

#[test]
fn a_damaged_record_of_a_run_does_not_make_it_run_twice() {
    let Some(project) = Project::new(WEB) else { return };
    for (how, spoil) in damages() {
        project.value("service start web");
        let web = project.pid("web");
        project.kill_daemon();
        damage(&project.run_json("web"), spoil);
        assert_eq!(project.pid("web"), web, "{how}: it is known although its record is not");
        assert_eq!(project.value("service stop web").row("web")["ok"], true, "{how}");
        assert!(!alive(web), "{how}");
    }
    assert_eq!(project.read("lock.twice"), "");
    leaves_nothing(&project);
}

#[test]
fn a_damaged_record_of_a_run_that_is_over_is_no_obstacle() {
    let Some(project) = Project::new(WEB) else { return };
    for (how, spoil) in damages() {
        project.value("service start web");
        project.value("service stop web");
        project.kill_daemon();
        damage(&project.run_json("web"), spoil);
        assert_eq!(project.status("web")["status"], "stopped", "{how}");
        assert_eq!(project.value("service start web").row("web")["ok"], true, "{how}");
    }
    leaves_nothing(&project);
}

/// Files of the first version: goals, states and exits of three services, and the record of a run that ended later.
const OLD: [&str; 2] =
    [include_str!("../../fixtures/state-1.json"), include_str!("../../fixtures/run-1.json")];

#[test]
fn files_of_the_first_version_are_read_as_they_were_meant() {
    let this = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    for boot in [this.trim(), "another boot"] {
        let Some(project) = Project::new(
            "[services.web]\nstart_command = \"TEST_SERVICE note starts\"\nrestart = \"always\"\n[services.once]\nstart_command = \"TEST_SERVICE note starts\"\n\
             restart = \"no\"\n[services.down]\nstart_command = \"TEST_SERVICE note starts\"",
        ) else {
            return;
        };
        project.value("service status");
        project.value("service daemon stop");
        let [state, run] = OLD.map(|text| text.replace("BOOT", boot));
        let directory = project.state_dir().join("services/web");
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("run.json"), run).unwrap();
        fs::write(project.state_dir().join("state.json"), state).unwrap();
        let (once, down) = (project.status("once"), project.status("down"));
        assert_eq!((&once["state"], &once["exit_code"]), (&"failed".into(), &7.into()), "{once}");
        assert_eq!((&down["state"], &down["exit_signal"]), (&"stopped".into(), &"SIGTERM".into()), "{down}");
        eventually("what was wanted runs", || (project.status("web")["state"] == "ready").then_some(()));
        let web = project.status("web");
        // In the same boot the last exit is known. After another boot it is unknown, and the exit of the previous run
        // does not count.
        let (exit, restarts) = if boot == this.trim() { (Some(9), 4) } else { (None, 3) };
        assert_eq!((web["exit_code"].as_i64(), &web["restarts"]), (exit, &restarts.into()), "{web}");
        assert_eq!(project.read("starts").lines().count(), 1);
        assert!(!project.state_dir().join("state.json.unreadable").exists());
        leaves_nothing(&project);
    }
}
