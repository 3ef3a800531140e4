//! Exhausted resources: disk space, write permission, descriptors, processes.

use crate::{Footprint, leaves_nothing};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;
use service_tests::{Project, ServiceTable, alive, eventually, http, name, program, request, signal, skip};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::Command;

/// Gives this thread and its children a new mount namespace. Prints a message if this is impossible.
pub(crate) fn own_mounts() -> bool {
    let private = unshare(CloneFlags::CLONE_NEWNS).and_then(|()| {
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
    });
    private.inspect_err(|error| skip(&format!("mounting needs root: {error}"))).is_ok()
}

fn mount_tmpfs(on: &Path, options: &str, flags: MsFlags) {
    mount(Some("tmpfs"), on, Some("tmpfs"), flags, Some(options)).expect("root can mount");
}

/// Writes until the disk is full.
fn fill(disk: &Path) {
    let mut file = File::create(disk.join("filler")).unwrap();
    for size in [4096, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
}

#[test]
fn a_full_disk_stops_neither_services_nor_commands_and_what_is_lost_is_counted() {
    if !own_mounts() {
        return;
    }
    let Some(project) = Project::new(
        "[services.web]\nstart_command = \"i=0; while :; do i=$((i+1)); echo line $i; sleep 0.01; done\"\nshell = \"sh\"",
    ) else {
        return;
    };
    let disk = project.path("state");
    mount_tmpfs(&disk, "size=512k", MsFlags::empty());
    project.value("service start web");
    let (web, daemon) = (project.pid("web"), project.daemon());
    fill(&disk);
    eventually("what is lost shows", || {
        project.status("web")["reason"]
            .as_str()
            .is_some_and(|reason| reason.contains("log lines could not be written"))
            .then_some(())
    });
    assert_eq!((project.pid("web"), project.status("web")["state"].as_str()), (web, Some("ready")));
    let stopped = project.value("service stop web");
    assert_eq!(stopped.row("web")["ok"], true, "{stopped}");
    assert!(!alive(web));
    fs::remove_file(disk.join("filler")).unwrap();
    assert_eq!(project.value("service start web").row("web")["ok"], true);
    assert_eq!(project.daemon(), daemon);
    leaves_nothing(&project);
}

#[test]
fn on_a_full_disk_a_killed_daemon_comes_back_and_knows_its_services() {
    if !own_mounts() {
        return;
    }
    let Some(project) = Project::new("[services.web]\nstart_command = \"TEST_SERVICE alone lock\"") else {
        return;
    };
    let disk = project.path("state");
    mount_tmpfs(&disk, "size=512k", MsFlags::empty());
    project.value("service start web");
    let web = project.pid("web");
    fill(&disk);
    project.kill_daemon();
    assert_eq!(project.pid("web"), web);
    assert_eq!(project.value("service restart web").row("web")["ok"], true);
    assert!(!alive(web));
    fs::remove_file(disk.join("filler")).unwrap();
    leaves_nothing(&project);
}

/// Writes blank lines until the last block of a file is full, so that no byte can be appended on a full disk.
fn fill_block(path: &Path) {
    let mut file = File::options().append(true).open(path).unwrap();
    let length = usize::try_from(file.metadata().unwrap().len()).unwrap();
    file.write_all(&vec![b'\n'; length.next_multiple_of(4096) - length]).unwrap();
}

#[test]
fn work_that_is_done_on_a_full_disk_is_not_done_again_by_the_daemon_after_one_that_was_killed() {
    if !own_mounts() {
        return;
    }
    let Some(project) = Project::new(
        "[services.work]\nstart_command = \"TEST_SERVICE note starts exit 0\"\noneshot = true\nrestart = \"on-failure\"",
    ) else {
        return;
    };
    let disk = project.path("state");
    mount_tmpfs(&disk, "size=512k", MsFlags::empty());
    project.value("service start work");
    fill(&disk);
    fill_block(&project.run_json("work"));
    fill_block(&project.state_dir().join("state.json"));
    fill_block(&project.state_dir().join("journal.jsonl"));
    let again = project.value("service restart work");
    assert_eq!(again.row("work")["ok"], true, "{again}");
    project.kill_daemon();
    let work = project.status("work");
    assert_eq!((&work["state"], &work["exit_code"]), (&"completed".into(), &0.into()), "{work}");
    assert_eq!(project.read("starts").lines().count(), 2);
    fs::remove_file(disk.join("filler")).unwrap();
    assert_eq!(project.value("service restart work").row("work")["ok"], true);
    assert_eq!(project.status("work")["restarts"], 0);
    assert_eq!(project.read("starts").lines().count(), 3);
    leaves_nothing(&project);
}

#[test]
fn a_state_directory_that_cannot_be_written_is_named_and_nothing_is_started() {
    if !own_mounts() {
        return;
    }
    let Some(project) = Project::new("[services.web]\nstart_command = \"TEST_SERVICE\"") else { return };
    let disk = project.path("state");
    mount_tmpfs(&disk, "size=512k", MsFlags::MS_RDONLY);
    let error = project.error("service start web");
    let message = error["msg"].as_str().unwrap();
    assert!(message.contains(disk.to_str().unwrap()) && message.contains("ead-only"), "{error}");
    assert_eq!(project.processes(), Vec::<u32>::new());
    mount_tmpfs(&disk, "size=512k", MsFlags::empty());
    assert_eq!(project.value("service start web").row("web")["ok"], true);
    leaves_nothing(&project);
}

/// Mounts a read-only view over a directory. Open files are not affected.
pub(crate) fn make_read_only(directory: &Path) {
    let bind =
        |flags| mount(Some(directory), directory, None::<&str>, MsFlags::MS_BIND | flags, None::<&str>);
    bind(MsFlags::empty())
        .and_then(|()| bind(MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY))
        .expect("root can mount");
}

#[test]
fn a_state_directory_that_becomes_read_only_disturbs_nobody_and_no_wish_is_forgotten() {
    if !own_mounts() {
        return;
    }
    let Some(project) = Project::new(
        r#"
        [services.web]
        start_command = "TEST_SERVICE alone web.lock note starts"
        restart = "always"

        [services.stays]
        start_command = "TEST_SERVICE alone stays.lock note starts"
        restart = "always"

        [services.brief]
        start_command = "TEST_SERVICE wait 300 exit 5"
        restart = "no"

        [services.other]
        start_command = "TEST_SERVICE"
        restart = "no"
        "#,
    ) else {
        return;
    };
    let disk = project.path("state");
    project.value("service start web stays brief --no-wait");
    project.value("service start web stays");
    let (daemon, web, stays) = (project.daemon(), project.pid("web"), project.pid("stays"));
    let held = Footprint::measure(&project);
    make_read_only(&disk);
    eventually("the end of one is known", || (project.status("brief")["exit_code"] == 5).then_some(()));
    assert_eq!((project.daemon(), project.pid("web"), project.pid("stays")), (daemon, web, stays));
    let error = project.error("service start other");
    assert!(error["msg"].as_str().unwrap().contains("ead-only"), "{error}");
    assert_eq!(project.value("service stop web").row("web")["ok"], true);
    assert!(!alive(web));
    held.has_not_grown();
    signal(daemon, Signal::SIGKILL);
    eventually("the daemon is gone", || (!alive(daemon)).then_some(()));
    let error = project.error("service start web");
    assert!(error["msg"].as_str().unwrap().contains("ead-only"), "{error}");
    umount2(&disk, MntFlags::MNT_DETACH).unwrap();
    assert_eq!(project.pid("stays"), stays, "it was not disturbed");
    assert_eq!(project.status("web")["state"], "stopped", "it was stopped, and so it stays");
    assert_eq!(project.status("brief")["exit_code"], 5);
    assert_eq!(project.read("starts").lines().count(), 2);
    assert_eq!(project.value("service start web").row("web")["ok"], true);
    project.kill_daemon();
    assert!(project.status("web")["pid"].is_u64(), "and now this is what was written last");
    leaves_nothing(&project);
}

/// Sets a soft limit of a process: `nofile` (open descriptors) or `nproc` (processes of its user).
fn limit(pid: u32, what: &str, number: u64) {
    let limit = format!("--{what}={number}:");
    let done = Command::new("prlimit").args(["--pid", &pid.to_string(), &limit]).status();
    assert!(done.is_ok_and(|status| status.success()), "prlimit, of util-linux, can be run");
}

#[test]
fn without_descriptors_a_start_fails_with_the_reason_and_the_daemon_recovers() {
    let Some(project) = Project::new(
        "[services.web]\nstart_command = \"TEST_SERVICE alone lock\"\n[services.other]\nstart_command = \"TEST_SERVICE\"\nrestart = \"no\"",
    ) else {
        return;
    };
    project.value("service start web");
    let (daemon, web) = (project.daemon(), project.pid("web"));
    let held = Footprint::measure(&project);
    // One descriptor was for the request.
    let open = held.descriptors - 1;
    // There are descriptors for the request, but not for the files of its response.
    limit(daemon, "nofile", open + 2);
    let error = project.error("service start other");
    assert!(error["msg"].as_str().unwrap().contains("open files"), "{error}");
    assert_eq!((project.daemon(), project.pid("web")), (daemon, web));
    // There is no descriptor for a connection, so the client waits.
    limit(daemon, "nofile", open);
    let asks = project.spawn("service status | to json --raw");
    assert!(alive(web));
    limit(daemon, "nofile", 1024);
    assert_eq!(service_tests::Answer::wait_for(asks).value().row("web")["state"], "ready");
    assert_eq!(project.value("service start other").row("other")["ok"], true);
    project.value("service stop other");
    held.has_not_grown();
    leaves_nothing(&project);
}

#[test]
fn a_daemon_that_cannot_read_a_file_for_want_of_descriptors_takes_it_neither_for_damaged_nor_for_gone() {
    let Some(project) = Project::new("[services.web]\nstart_command = \"TEST_SERVICE\"") else { return };
    let Some(prlimit) = service_tests::installed("prlimit") else { return skip("prlimit, of util-linux") };
    project.value("{name: x start_command: 'sleep 1000'} | service add");
    project.value("service start web x");
    let pids = (project.pid("web"), project.pid("x"));
    project.kill_daemon();
    for limit in 4..40 {
        let mut command = project.command(&prlimit);
        command.arg(format!("--nofile={limit}:{limit}")).arg(program("orchestratord"));
        command.args(["run", "--config", "services.toml"]).stderr(std::process::Stdio::null());
        let mut daemon = command.spawn().unwrap();
        // A daemon that cannot start exits with an error.
        let line = BufReader::new(daemon.stdout.take().unwrap()).lines().next();
        if line.and_then(Result::ok).is_some_and(|line| line.contains("\"ready\"")) {
            signal(daemon.id(), Signal::SIGKILL);
        }
        daemon.wait().unwrap();
        assert!(alive(pids.0) && alive(pids.1), "with {limit}");
        let left = fs::read_dir(project.state_dir()).unwrap().flatten();
        let aside =
            left.map(|entry| entry.file_name()).find(|name| name.to_string_lossy().contains("unreadable"));
        assert_eq!(aside, None, "with {limit}");
    }
    assert_eq!((project.pid("web"), project.pid("x")), pids);
    leaves_nothing(&project);
}

#[test]
fn without_processes_a_start_fails_and_says_which_limits_there_are() {
    if !nix::unistd::geteuid().is_root() {
        return skip(
            "a limit on processes does not bind root, and only root can start a service as somebody else",
        );
    }
    let Some(project) = Project::new(
        "[services.web]\nstart_command = \"sleep 1000\"\nuser = \"nobody\"\n\
         [services.other]\nstart_command = \"sleep 1000\"\nuser = \"nobody\"",
    ) else {
        return;
    };
    project.value("service start other");
    let (daemon, other) = (project.daemon(), project.pid("other"));
    let zygote = zygote(&project).expect("a daemon that has started something has one");
    limit(zygote, "nproc", 0);
    let error = project.error("service start web");
    let message = error["msg"].as_str().unwrap();
    assert!(message.contains("the limit on processes is reached; see `ulimit -u` (0 here)"), "{error}");
    assert_eq!((project.daemon(), project.pid("other")), (daemon, other));
    limit(zygote, "nproc", 65536);
    assert_eq!(project.value("service start web").row("web")["ok"], true);
    leaves_nothing(&project);
}

#[test]
fn a_daemon_that_cannot_write_says_that_it_is_unfit_and_counts_what_is_lost() {
    if !own_mounts() {
        return;
    }
    let Some(project) = Project::new(
        "[services.web]\nstart_command = \"i=0; while :; do i=$((i+1)); echo line $i; sleep 0.01; done\"\nshell = \"sh\"",
    ) else {
        return;
    };
    let disk = project.path("state");
    mount_tmpfs(&disk, "size=512k", MsFlags::empty());
    project.value("service start web");
    let socket = project.socket();
    assert_eq!(http(&socket, "GET", "/api/v1/health").0, 200);
    fill(&disk);
    let (status, answer) = http(&socket, "GET", "/api/v1/health");
    assert_eq!((status, &answer["error"]["code"]), (503, &"unfit".into()), "{answer}");
    assert!(answer["error"]["message"].as_str().is_some_and(|message| message.contains("full")), "{answer}");
    let dropped = || {
        let page = request(&socket, "GET", "/metrics").expect("the daemon answers");
        let line = page
            .lines()
            .find_map(|line| line.strip_prefix("service_log_dropped_lines_total{service=\"web\"} "));
        line.and_then(|count| count.parse::<u64>().ok()).expect("it is counted")
    };
    eventually("lost lines are counted", || (dropped() > 0).then_some(()));
    fs::remove_file(disk.join("filler")).unwrap();
    eventually("it is fit again", || (http(&socket, "GET", "/api/v1/health").0 == 200).then_some(()));
    assert!(dropped() > 0);
    leaves_nothing(&project);
}

/// The process that shims are forked from.
fn zygote(project: &Project) -> Option<u32> {
    project.processes().into_iter().find(|pid| name(*pid) == "shim-template")
}

#[test]
fn a_zygote_that_was_killed_is_replaced_before_anybody_asks_for_it() {
    let Some(project) = Project::new("[services.web]\nstart_command = \"TEST_SERVICE\"") else { return };
    project.value("service start web");
    let first = zygote(&project).expect("a daemon that has started something has one");
    signal(first, Signal::SIGKILL);
    eventually("there is another one", || zygote(&project).filter(|second| *second != first));
    assert_eq!(http(&project.socket(), "GET", "/api/v1/health").0, 200);
    leaves_nothing(&project);
}

#[test]
fn an_env_file_on_a_file_system_that_does_not_answer_keeps_nobody_else_waiting() {
    if !own_mounts() {
        return;
    }
    let Ok(device) = File::options().read(true).write(true).open("/dev/fuse") else {
        return skip("there is no /dev/fuse");
    };
    let Some(project) = Project::new(
        "[services.web]\nstart_command = \"TEST_SERVICE\"\n[services.hangs]\nstart_command = \"TEST_SERVICE\"\nenv_file = \"silent/env\"",
    ) else {
        return;
    };
    let directory = project.path("silent");
    fs::create_dir(&directory).unwrap();
    let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", device.as_raw_fd());
    mount(Some("fuse"), &directory, Some("fuse"), MsFlags::empty(), Some(options.as_str())).unwrap();
    project.value("service start hangs --no-wait");
    assert_eq!(project.value("service start web").row("web")["ok"], true);
    assert_eq!(project.value("service stop hangs").row("hangs")["ok"], true);
    drop(device);
    leaves_nothing(&project);
}

/// The beginning of a line for each front.
fn fronts() -> [String; 2] {
    [String::new(), format!("use '{}/../nu/service-http' *; ", env!("CARGO_MANIFEST_DIR"))]
}

/// Asserts that the error names the disk that could not be written.
#[track_caller]
fn is_about(error: &serde_json::Value, disk: &Path, why: &str) {
    assert_eq!(error["code"], "service::storage", "{error}");
    let message = error["msg"].as_str().unwrap();
    assert!(message.contains(disk.to_str().unwrap()) && message.contains(why), "{error}");
    assert!(error["help"].is_string(), "{error}");
}

const ADD: &str = "{name: NAME start_command: 'sleep 1000'} | service add";

#[test]
fn on_a_full_disk_nothing_is_added_or_removed_and_that_is_said_until_there_is_room() {
    if !own_mounts() {
        return;
    }
    let Some(project) = Project::new("[services.web]\nstart_command = \"TEST_SERVICE\"\n") else { return };
    let project = project.env("ORCHESTRATORD", program("orchestratord").display().to_string());
    let disk = project.path("state");
    mount_tmpfs(&disk, "size=512k", MsFlags::empty());
    project.value("service start web");
    for (front, name) in fronts().iter().zip(["one", "two"]) {
        project.value(&format!("{front}{}", ADD.replace("NAME", name)));
        fill(&disk);
        is_about(&project.error(&format!("{front}{}", ADD.replace("NAME", "other"))), &disk, "space left");
        is_about(&project.error(&format!("{front}service remove {name}")), &disk, "space left");
        assert_eq!(project.value("service list | get name"), serde_json::json!(["web", name]));
        fs::remove_file(disk.join("filler")).unwrap();
        project.value(&format!("{front}{}", ADD.replace("NAME", "other")));
        project.value(&format!("{front}service remove {name} other"));
    }
    leaves_nothing(&project);
}

#[test]
fn on_a_read_only_disk_nothing_is_added_removed_or_started_and_that_is_said_until_it_can_be_written() {
    if !own_mounts() {
        return;
    }
    let Some(project) = Project::new("[services.web]\nstart_command = \"TEST_SERVICE\"\n") else { return };
    let project = project.env("ORCHESTRATORD", program("orchestratord").display().to_string());
    let disk = project.path("state");
    for front in fronts() {
        let refused = |line: &str| is_about(&project.error(&format!("{front}{line}")), &disk, "ead-only");
        // First without a daemon, then with one.
        make_read_only(&disk);
        refused("service start web");
        umount2(&disk, MntFlags::MNT_DETACH).unwrap();
        project.value(&format!("{front}{}", ADD.replace("NAME", "added")));
        make_read_only(&disk);
        refused(&ADD.replace("NAME", "other"));
        refused("service remove added");
        refused("service start web");
        umount2(&disk, MntFlags::MNT_DETACH).unwrap();
        assert_eq!(project.value(&format!("{front}service start web | get ok.0")), true);
        project.value(&format!("{front}service remove added"));
        leaves_nothing(&project);
        fs::remove_dir_all(disk.join("service-orchestrator")).unwrap();
    }
}

#[test]
fn a_memory_limit_by_address_space_is_named_in_the_error_and_in_why() {
    if !own_mounts() {
        return;
    }
    let cgroups = Path::new("/sys/fs/cgroup");
    if cgroups.exists() {
        mount_tmpfs(cgroups, "size=4k", MsFlags::empty());
    }
    let Some(project) = Project::new(
        "[services.says]\nstart_command = \"TEST_SERVICE eat 400\"\nmemory_limit = '200MB'\nrestart = 'no'\nready = { log = 'up' }\n\
         [services.dies]\nstart_command = \"sh -c 'kill -ABRT $$'\"\nmemory_limit = '200MB'\nrestart = 'no'\nready = { log = 'up' }\n\
         [services.well]\nstart_command = \"sh -c 'echo a plain fault; exit 3'\"\nmemory_limit = '200MB'\nrestart = 'no'\nready = { log = 'up' }\n",
    ) else {
        return;
    };
    let hint = "`memory_limit` (200MB) limits the address space of each process here (RLIMIT_AS)";
    for front in fronts() {
        for name in ["says", "dies", "well"] {
            let error = project.error(&format!("{front}service start {name}"));
            assert_eq!(error["help"].to_string().contains(hint), name != "well", "{name}: {error}");
            let why = project.value(&format!("{front}service why {name}"));
            assert_eq!(why["help"].to_string().contains(hint), name != "well", "{name}: {why}");
        }
    }
    leaves_nothing(&project);
}
