//! What a machine can run out of: space, permission to write, descriptors.

use crate::{has_no_more_than, leaves_nothing};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use service_tests::{Project, ServiceTable, alive, descriptors, eventually, skip};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;

/// Gives this thread, and what it starts, a view of the file system that ends with it. Says so where that cannot be.
fn own_mounts() -> bool {
    let private = unshare(CloneFlags::CLONE_NEWNS).and_then(|()| {
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
    });
    private.inspect_err(|error| skip(&format!("mounting needs root: {error}"))).is_ok()
}

fn mount_tmpfs(on: &Path, options: &str, flags: MsFlags) {
    mount(Some("tmpfs"), on, Some("tmpfs"), flags, Some(options)).expect("root can mount");
}

/// Writes until nothing more fits.
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
    let Some(project) = Project::new("[services.web]\nstart_command = \"ACTOR alone lock\"") else { return };
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

#[test]
fn a_state_directory_that_cannot_be_written_is_named_and_nothing_is_started() {
    if !own_mounts() {
        return;
    }
    let Some(project) = Project::new("[services.web]\nstart_command = \"ACTOR\"") else { return };
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

/// Lets a process open files below this number only.
fn limit(pid: u32, descriptors: usize) {
    let done = Command::new("prlimit")
        .args(["--pid", &pid.to_string(), &format!("--nofile={descriptors}:")])
        .status();
    assert!(done.is_ok_and(|status| status.success()), "prlimit, of util-linux, can be run");
}

#[test]
fn without_descriptors_a_start_fails_with_the_reason_and_the_daemon_recovers() {
    let Some(project) = Project::new(
        "[services.web]\nstart_command = \"ACTOR alone lock\"\n[services.other]\nstart_command = \"ACTOR\"\nrestart = \"no\"",
    ) else {
        return;
    };
    project.value("service start web");
    let (daemon, web) = (project.daemon(), project.pid("web"));
    let open = descriptors(daemon);
    // Room for the question, not for what the answer takes.
    limit(daemon, open + 2);
    let error = project.error("service start other");
    assert!(error["msg"].as_str().unwrap().contains("open files"), "{error}");
    assert_eq!((project.daemon(), project.pid("web")), (daemon, web));
    // No room for a question: whoever asks waits.
    limit(daemon, open);
    let asks = project.spawn("service status | to json --raw");
    assert!(alive(web));
    limit(daemon, 1024);
    assert_eq!(service_tests::Answer::of(asks).value().row("web")["state"], "ready");
    assert_eq!(project.value("service start other").row("other")["ok"], true);
    project.value("service stop other");
    has_no_more_than(open, daemon);
    leaves_nothing(&project);
}
