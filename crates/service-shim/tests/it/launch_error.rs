//! Launches that fail, and their errors.

use crate::harness::{PROGRAM, Prepared, Zygote, eventually, program, script};
use service_shim::protocol::{Identity, RunLimits};
use service_shim::{Exit, Files, Phase, Stage};
use std::fs::{Permissions, set_permissions, write};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

fn launch_error(service: Prepared) -> (Stage, String) {
    let mut records = service.start().records();
    assert_eq!(records.len(), 1);
    match records.remove(0).phase {
        Phase::LaunchFailed { stage, message, .. } => (stage, message),
        phase => panic!("not refused: {phase:?}"),
    }
}

/// A service that runs this file of its working directory.
fn file(name: &str, text: &str, mode: u32) -> Prepared {
    let service = program(&[name]);
    let path = service.directory.path().join(name);
    write(&path, text).unwrap();
    set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    service
}

#[test]
fn the_working_directory() {
    let message = |path: &str| launch_error(script("exit").with(|launch| launch.working_dir = path.into()));
    assert_eq!(message("/x"), (Stage::WorkingDirectory, "working directory `/x` does not exist".into()));
    assert_eq!(
        message("/etc/passwd"),
        (Stage::WorkingDirectory, "working directory `/etc/passwd` is not a directory".into())
    );
}

#[test]
fn the_program() {
    let refused = |message: &str| (Stage::Program, message.to_owned());
    assert_eq!(launch_error(program(&["no-such-thing"])), refused("program `no-such-thing` is not in PATH"));
    assert_eq!(launch_error(program(&["./x"])), refused("program `./x` does not exist"));
    assert_eq!(launch_error(file("./x", "#!/bin/sh\n", 0o644)), refused("program `./x` is not executable"));
    assert_eq!(launch_error(program(&["/usr"])), refused("program `/usr` is a directory"));
    assert_eq!(launch_error(program(&[])), refused("the command is empty"));
}

#[test]
fn a_program_is_looked_for_in_the_path_of_the_service() {
    let only_there = |launch: &mut service_shim::Launch| launch.env.push(("PATH".into(), "/nowhere".into()));
    assert_eq!(launch_error(script("exit").with(only_there)).1, "program `sh` is not in PATH");

    let mut service = file("mine", "#!/bin/sh\necho found\n", 0o755);
    let path = service.directory.path().to_str().unwrap().to_owned();
    service.launch.env.push(("PATH".into(), path));
    assert_eq!(service.start().output(), ["stdout: found"]);
}

#[test]
fn the_kernel() {
    let refused = |message: &str| (Stage::Exec, message.to_owned());
    assert_eq!(
        launch_error(file("./x", "echo hi\n", 0o755)),
        refused("program `./x` is neither a binary for this machine nor a script: it has no `#!` line")
    );
    assert_eq!(
        launch_error(file("./x", "\u{feff}#!/bin/sh\n", 0o755)),
        refused("program `./x` begins with a byte order mark, so the kernel ignores its `#!` line")
    );
    assert_eq!(launch_error(file("./x", "", 0o755)), refused("program `./x` is empty"));
    assert_eq!(
        launch_error(file("./x", "#!\n", 0o755)),
        refused("the first line of program `./x` names no interpreter")
    );
    let binary = |change: fn(&mut Vec<u8>)| {
        let service = file("./x", "", 0o755);
        let mut program = std::fs::read("/proc/self/exe").unwrap();
        change(&mut program);
        std::fs::write(service.directory.path().join("x"), program).unwrap();
        launch_error(service)
    };
    let cut = refused("program `./x` is truncated");
    assert_eq!(binary(|program| program.truncate(2)), cut);
    assert_eq!(binary(|program| program.truncate(4)), cut);
    assert_eq!(binary(|program| program.truncate(63)), cut);
    assert_eq!(binary(|program| program.truncate(200)), cut);
    assert_eq!(binary(|program| program[16] = 1), refused("program `./x` is an object file"));
    assert_eq!(
        binary(|program| program[18..20].copy_from_slice(&[243, 0])),
        refused("program `./x` is a binary for another machine")
    );
    assert_eq!(
        launch_error(file("./x", "#!/no/such/shell\n", 0o755)),
        refused("the interpreter `/no/such/shell` of program `./x` does not exist")
    );
    let huge = "x".repeat(200_000);
    assert_eq!(
        launch_error(program(&["true", &huge])),
        refused("program `true` cannot be executed: argument list too long")
    );
}

#[test]
fn the_user() {
    // The number of groups exceeds the kernel's maximum, and without root no process can change its user.
    let groups = vec![0; 65_537];
    let identity = Identity { name: "nobody".into(), home: "/".into(), uid: 0, gid: 0, groups };
    let identity = Identity { uid: u32::from(nix::unistd::Uid::effective().is_root()) * 65_534, ..identity };
    let (stage, message) = launch_error(script("exit").with(|launch| launch.identity = Some(identity)));
    assert_eq!(stage, Stage::User);
    assert!(message.starts_with("cannot become user `nobody`: "), "{message}");
}

#[test]
fn the_limits() {
    let cgroup = Some("/no/such/cgroup".into());
    let limits = RunLimits { cgroup, address_space: None };
    assert_eq!(
        launch_error(script("exit").with(|launch| launch.limits = limits)),
        (Stage::Prepare, "its limits cannot be applied: no such file or directory".into())
    );
    // This `cgroup.procs` can be opened but accepts no process.
    let full = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/dev/full", full.path().join("cgroup.procs")).unwrap();
    let limits = RunLimits { cgroup: Some(full.path().into()), address_space: None };
    assert_eq!(
        launch_error(script("exit").with(|launch| launch.limits = limits)),
        (Stage::Prepare, "its limits cannot be applied: no space left on device".into())
    );
}

#[test]
fn the_files_of_the_shim_itself() {
    let service = script("exit");
    let socket = service.directory.path().join("shim.sock");
    std::fs::create_dir(&socket).unwrap();
    let expected = format!("control socket `{}` cannot be opened: is a directory", socket.display());
    match service.start().connection.record().map(|record| record.phase) {
        Some(Phase::LaunchFailed { stage: Stage::Prepare, message, .. }) => assert_eq!(message, expected),
        phase => panic!("not refused: {phase:?}"),
    }
}

#[test]
fn what_is_no_launch_ends_the_shim_with_a_reason_and_the_zygote_goes_on() {
    for (said, reason) in [
        ("", ""),
        ("{", "service-shim: cannot read the launch: the connection ended within its first line\n"),
        ("hello\n", "service-shim: cannot read the launch: expected value at line 1 column 1\n"),
        ("{}\n", "service-shim: cannot read the launch: missing field `version` at line 1 column 2\n"),
    ] {
        let errors = tempfile::NamedTempFile::new().unwrap();
        let mut program = Command::new(PROGRAM);
        program.stderr(errors.reopen().unwrap());
        let zygote = Zygote::start(program);
        let (mut ours, _) = zygote.prepare_shim();
        ours.write_all(said.as_bytes()).unwrap();
        ours.shutdown(Shutdown::Write).unwrap();
        assert_eq!(ours.read(&mut [0]).unwrap(), 0, "no peer receives anything");
        eventually("the error is printed", || std::fs::read_to_string(&errors).unwrap() == reason);
        let service = script("exit 3");
        let (mut connection, _heritage) = zygote.shim(&service.launch);
        while connection.record().is_some() {}
        let record = Files::new(service.directory.path()).read_record().unwrap().unwrap();
        assert!(matches!(record.phase, Phase::Finished { exit: Exit::Code(3), .. }), "{record:?}");
    }
}

#[test]
fn a_shim_started_by_hand_says_that_it_cannot_be() {
    let output = Command::new(PROGRAM).stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.starts_with("service-shim: cannot use standard input as a socket"), "{message}");
}

#[test]
fn a_second_shim_of_one_service_is_refused_and_leaves_the_first_alone() {
    let first = script("echo up; exec sleep 100").start();
    first.wait_for_line("stdout: up");
    let record = first.files.read_record().unwrap();
    let directory = first.files.directory().to_path_buf();
    let mut second = script("echo down").with(|launch| launch.run_directory = directory).start();
    let told = second.connection.record().unwrap();
    assert_eq!(second.connection.record(), None);
    let refused = |phase: &Phase| {
        matches!(phase, Phase::LaunchFailed { message, .. } if message.ends_with("another \
                                                                                                            process \
                                                                                                            holds \
                                                                                                            it"))
    };
    assert!(refused(&told.phase), "{told:?}");
    assert_eq!(first.files.read_record().unwrap(), record);
    assert_eq!(first.lines().len(), 1);
}
