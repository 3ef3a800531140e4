//! Tests of cgroups on a tree of plain files, which accept every write: decisions and written values.
//! docs/reliability.md has the results on real kernels.

use super::{Cgroup, Hierarchy, LEAF, RunsParent};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A machine with cgroups mounted at `cgroups`.
struct Machine {
    directory: TempDir,
    systemd: bool,
}

impl Machine {
    /// The root of the mount is `root`; this process is in `own`.
    fn new(root: &str, own: &str) -> Self {
        let machine = Self { directory: tempfile::tempdir().unwrap(), systemd: false };
        machine.file("proc/cgroup", &format!("4:memory:/elsewhere\n0::{own}\n"));
        let mount =
            format!("41 31 0:38 {root} {} rw - cgroup2 cgroup2 rw\n", machine.path("cgroups").display());
        machine.file("proc/mountinfo", &format!("31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n{mount}"));
        machine
    }

    fn with_systemd(mut self) -> Self {
        self.systemd = true;
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn file(&self, name: &str, text: &str) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// A cgroup with the kernel's files, these controllers and these processes.
    fn cgroup(&self, name: &str, controllers: &str, processes: &str) {
        for (file, text) in [
            ("cgroup.controllers", controllers),
            ("cgroup.procs", processes),
            ("cgroup.subtree_control", ""),
            ("cgroup.events", "populated 1\n"),
        ] {
            self.file(&format!("cgroups/{name}/{file}"), text);
        }
    }

    fn site(&self) -> Result<RunsParent, String> {
        let delegated = |path: &Path| path.ends_with("mine.scope");
        RunsParent::find(&Hierarchy { process: self.path("proc"), systemd: self.systemd, delegated })
            .map_err(|error| error.to_string())
    }
}

#[test]
fn without_a_second_version_the_reason_says_so() {
    let machine = Machine::new("/", "/");
    machine.file("proc/mountinfo", "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n");
    assert!(machine.site().unwrap_err().starts_with("cgroup v2 is not mounted here"));
    machine.file("proc/cgroup", "4:memory:/elsewhere\n");
    assert_eq!(machine.site().unwrap_err(), "there is no cgroup v2 here");
}

#[test]
fn a_controller_that_the_first_version_has_is_not_to_be_had() {
    let machine = Machine::new("/", "/");
    machine.file("cgroups/cgroup.controllers", "hugetlb\n");
    let expected =
        format!("cgroup v2 at `{}` does not have the `memory` controller", machine.path("cgroups").display());
    assert_eq!(machine.site().unwrap().enable("memory").unwrap_err().to_string(), expected);
}

#[test]
fn without_systemd_runs_live_below_the_root_and_nobody_is_moved() {
    let machine = Machine::new("/", "/openrc.sshd");
    machine.file("cgroups/cgroup.controllers", "cpu memory\n");
    machine.file("cgroups/cgroup.subtree_control", "cpu\n");
    machine.cgroup("openrc.sshd", "cpu", "12\n");
    machine.cgroup("service-orchestrator", "cpu memory", "");
    let site = machine.site().unwrap();
    site.enable("memory").unwrap();
    assert!(machine.read("cgroups/cgroup.subtree_control").starts_with("+memory"));
    assert_eq!(machine.read("cgroups/service-orchestrator/cgroup.subtree_control"), "+memory");
    assert_eq!(site.run_directory("run.1"), machine.path("cgroups/service-orchestrator/run.1"));
    assert!(!machine.path("cgroups/service-orchestrator").join(LEAF).exists());
}

#[test]
fn a_cgroup_that_systemd_has_not_delegated_is_left_alone() {
    let machine = Machine::new("/", "/user.slice/session-2.scope").with_systemd();
    machine.cgroup("user.slice/session-2.scope", "memory", "12\n");
    let expected = "cgroup `/user.slice/session-2.scope`, in which the daemon runs, is not delegated to it";
    assert_eq!(machine.site(), Err(expected.to_owned()));
}

#[test]
fn a_delegated_scope_is_cleared_before_it_hands_on_a_controller() {
    let machine = Machine::new("/", "/user.slice/mine.scope").with_systemd();
    machine.cgroup("user.slice/mine.scope", "cpu memory pids", "12\n");
    machine.cgroup(&format!("user.slice/mine.scope/{LEAF}"), "", "");
    machine.site().unwrap().enable("cpu").unwrap();
    assert_eq!(machine.read(&format!("cgroups/user.slice/mine.scope/{LEAF}/cgroup.procs")), "12");
    assert_eq!(machine.read("cgroups/user.slice/mine.scope/cgroup.subtree_control"), "+cpu");
}

#[test]
fn a_daemon_that_was_moved_into_the_leaf_finds_the_same_site() {
    let scope = Machine::new("/", &format!("/user.slice/mine.scope/{LEAF}")).with_systemd();
    assert_eq!(scope.site().unwrap().directory, scope.path("cgroups/user.slice/mine.scope"));

    let container = Machine::new("/", &format!("/{LEAF}"));
    container.cgroup("", "memory", "");
    assert_eq!(container.site().unwrap().directory, container.path("cgroups"));
}

#[test]
fn a_cgroup_is_looked_for_below_what_is_mounted() {
    let machine = Machine::new("/machine/one", "/machine/one/inner");
    machine.cgroup("", "memory", "");
    machine.cgroup("inner", "memory", "12\n");
    assert_eq!(machine.site().unwrap().directory, machine.path("cgroups/inner"));
    for own in ["/machine/two", "/machine/one/../two"] {
        machine.file("proc/cgroup", &format!("0::{own}\n"));
        assert!(machine.site().unwrap_err().contains("its mount does not show the daemon's own cgroup"));
    }
}

#[test]
fn limits_are_written_as_the_kernel_reads_them() {
    let machine = Machine::new("/", "/");
    let files = ["memory.swap.max", "memory.oom.group", "memory.max", "cpu.max"];
    for file in files {
        machine.file(&format!("run/{file}"), "");
    }
    let cgroup = Cgroup(machine.path("run"));
    cgroup.limit_memory(512_000_000).unwrap();
    cgroup.limit_cpu(0.5).unwrap();
    assert_eq!(
        files.map(|file| machine.read(&format!("run/{file}"))),
        ["0", "1", "512000000", "50000 100000"]
    );
    // A kernel without swap.
    fs::remove_file(machine.path("run/memory.swap.max")).unwrap();
    cgroup.limit_memory(1_000_000).unwrap();
}

#[test]
fn only_a_kill_for_want_of_memory_counts_as_one() {
    let machine = Machine::new("/", "/");
    let cgroup = Cgroup(machine.path("run"));
    assert!(!cgroup.was_out_of_memory());
    for (kills, was) in [(0, false), (2, true)] {
        let events = format!("low 0\nhigh 0\nmax 99\noom 1\noom_kill {kills}\noom_group_kill 1\n");
        machine.file("run/memory.events", &events);
        assert_eq!(cgroup.was_out_of_memory(), was);
    }
}

#[test]
fn what_the_service_made_in_its_cgroup_goes_with_it() {
    let machine = Machine::new("/", "/");
    let cgroup = Cgroup(machine.path("run"));
    cgroup.remove().unwrap();
    cgroup.make().unwrap();
    fs::create_dir_all(machine.path("run/inner/most")).unwrap();
    cgroup.make().unwrap();
    assert!(!machine.path("run/inner").exists());
    cgroup.remove().unwrap();
    assert!(!machine.path("run").exists());
}
