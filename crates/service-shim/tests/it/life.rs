//! The beginning and the end of a run.

use crate::harness::{PROGRAM, Shim, eventually, program, script};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use service_shim::protocol::{Identity, RunLimits};
use service_shim::{Exit, Files, Phase, Process, process};
use std::process::Command;

/// Waits for the record that the service's process has exited while a descendant still runs.
fn expect_exited(shim: &mut Shim) -> Exit {
    match shim.connection.record().unwrap().phase {
        Phase::Exited { exit, .. } => exit,
        phase => panic!("expected an end of the leader, got {phase:?}"),
    }
}

fn expect_running(shim: &mut Shim) -> Process {
    match shim.connection.record().unwrap().phase {
        Phase::Running { leader, .. } => leader,
        phase => panic!("expected a running service, got {phase:?}"),
    }
}

/// The process whose id the service has printed.
fn printed_process(shim: &Shim) -> Process {
    eventually("a process id is printed", || !shim.lines().is_empty());
    Process::find(shim.lines()[0].strip_prefix("stdout: ").unwrap().parse().unwrap()).unwrap()
}

#[test]
fn a_run_is_told_from_its_start_to_its_end_and_no_further() {
    let before = process::boot_time();
    let mut shim = script("exit 3").start();
    let records = shim.records();
    let [running, gone] = &records[..] else { panic!("expected two records: {records:?}") };
    assert_eq!((running.service.as_str(), running.run, running.shim), ("web", 7, shim.process()));
    assert_eq!(running.boot_id, process::boot_id().unwrap());
    let (Phase::Running { at: start, .. }, Phase::Finished { exit, at: end }) = (&running.phase, &gone.phase)
    else {
        panic!("{records:?}")
    };
    assert_eq!(*exit, Exit::Code(3));
    assert!(before <= *start && start <= end && *end <= process::boot_time());
}

#[test]
fn the_signal_that_ended_a_service_is_recorded() {
    assert_eq!(script("kill -SEGV $$").start().exit(), Exit::Signal(Signal::SIGSEGV as i32));
}

#[test]
fn so_is_a_real_time_signal() {
    assert_eq!(script("kill -40 $$").start().exit(), Exit::Signal(40));
}

#[test]
fn a_grandchild_that_holds_the_pipe_does_not_delay_the_news() {
    let mut shim = script("sleep 600 & exit 3").start();
    expect_running(&mut shim);
    assert_eq!(expect_exited(&mut shim), Exit::Code(3));
    shim.connection.request_signal(Signal::SIGTERM);
    assert_eq!(shim.exit(), Exit::Code(3));
}

#[test]
fn a_process_in_a_session_of_its_own_keeps_the_run_alive_until_it_is_killed() {
    let mut shim = script("(setsid sh -c 'echo $$; exec sleep 600' &); exit 0").start();
    expect_running(&mut shim);
    assert_eq!(expect_exited(&mut shim), Exit::Code(0));
    let escaped = printed_process(&shim);
    shim.connection.request_signal(Signal::SIGKILL);
    assert_eq!(shim.exit(), Exit::Code(0));
    assert!(!escaped.is_alive());
}

#[test]
fn a_service_that_ignores_term_dies_on_kill() {
    let mut shim = script("trap 'echo no' TERM; echo ready; while :; do sleep 0.05; done").start();
    shim.wait_for_line("stdout: ready");
    shim.connection.request_signal(Signal::SIGTERM);
    shim.wait_for_line("stdout: no");
    shim.connection.request_signal(Signal::SIGKILL);
    assert_eq!(shim.exit(), Exit::Signal(9));
}

#[test]
fn a_kill_reaches_a_tree_that_keeps_forking() {
    let mut shim =
        script("fork() { while :; do sh -c 'sleep 0.01 & sleep 600' & sleep 0.005; done; }; fork & fork")
            .start();
    shim.connection.request_signal(Signal::SIGKILL);
    assert_eq!(shim.exit(), Exit::Signal(9));
}

#[test]
fn a_stopped_service_acts_on_term() {
    let mut shim = script("kill -STOP $$").start();
    let leader = expect_running(&mut shim);
    eventually("the service has stopped itself", || {
        std::fs::read_to_string(format!("/proc/{}/stat", leader.pid)).is_ok_and(|stat| stat.contains(") T "))
    });
    shim.connection.request_signal(Signal::SIGTERM);
    assert_eq!(shim.exit(), Exit::Signal(15));
}

#[test]
fn ending_the_shim_politely_ends_the_service() {
    let mut shim = program(&["sleep", "600"]).start();
    expect_running(&mut shim);
    kill(Pid::from_raw(shim.process().pid.cast_signed()), Signal::SIGTERM).unwrap();
    assert_eq!(shim.exit(), Exit::Signal(15));
}

#[test]
fn a_service_does_not_outlive_a_shim_that_was_killed() {
    let mut shim = program(&["sleep", "600"]).start();
    let leader = expect_running(&mut shim);
    shim.kill();
    eventually("the service is gone", || !leader.is_alive());
}

#[test]
fn a_shim_outlives_the_zygote() {
    let mut shim = script("echo up; while [ ! -e go ]; do sleep 0.01; done; exit 3").start();
    shim.wait_for_line("stdout: up");
    shim.zygote.kill();
    std::fs::write(shim.files.directory().join("go"), "").unwrap();
    assert_eq!(shim.exit(), Exit::Code(3));
}

#[test]
fn a_service_inherits_no_blocked_and_no_ignored_signal() {
    let mut nohup = Command::new("sh");
    nohup.args(["-c", "trap '' HUP INT QUIT CHLD; exec \"$0\"", PROGRAM]);
    let mut shim = program(&["grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"]).start_as(nohup);
    for line in shim.output() {
        let (_, mask) = line.rsplit_once('\t').unwrap();
        // The C library reserves two of the real-time signals; their state comes from the test runner.
        let classic = u64::from_str_radix(mask, 16).unwrap() & 0x7fff_ffff;
        assert_eq!(classic, 0, "{line}");
    }
}

#[test]
fn a_service_has_its_directory_its_variables_and_nothing_to_read() {
    let mut shim = script("pwd; echo $GREETING $0; readlink /proc/self/fd/0")
        .with(|launch| {
            launch.working_dir = "/usr".into();
            launch.env.push(("GREETING".into(), "hello".into()));
        })
        .start();
    assert_eq!(shim.output(), ["stdout: /usr", "stdout: hello sh", "stdout: /dev/null"]);
}

#[test]
fn a_service_runs_as_its_user() {
    let us = nix::unistd::Uid::effective();
    // Only root can become another user; any user can name itself.
    let uid = if us.is_root() { 65534 } else { us.as_raw() };
    let identity =
        Identity { name: "someone".into(), home: "/somewhere".into(), uid, gid: uid, groups: vec![uid] };
    let mut shim = script("id -u; echo $USER $HOME")
        .with(|launch| {
            launch.identity = Some(identity);
            launch.working_dir = "/".into();
        })
        .start();
    assert_eq!(shim.output(), [format!("stdout: {uid}"), "stdout: someone /somewhere".into()]);
}

#[test]
fn a_run_of_which_nothing_can_be_written_in_its_run_directory_is_recorded_in_the_state_directory() {
    let service = script("while ! [ -e go ]; do sleep .01; done; exit 3");
    let directory = service.directory.path().to_owned();
    let run = directory.join("run");
    // A directory in place of the record cannot be written, by root either.
    std::fs::create_dir_all(run.join("run.json")).unwrap();
    let mut shim = service.with(|launch| launch.run_directory.clone_from(&run)).start();
    expect_running(&mut shim);
    let files = Files::new(&directory).with_run_directory(&run);
    let phase = || files.read_record().unwrap().unwrap().phase;
    assert!(matches!(phase(), Phase::Running { .. }));
    let shim_process = files.read_record().unwrap().unwrap().shim;
    shim.connection.hang_up();
    std::fs::write(directory.join("go"), "").unwrap();
    eventually("the shim has ended", || !shim_process.is_alive());
    assert!(matches!(phase(), Phase::Finished { exit: Exit::Code(3), .. }), "{:?}", phase());
}

#[test]
fn what_limits_the_service_does_not_limit_its_shim() {
    let limits = RunLimits { cgroup: None, address_space: Some(256 << 20) };
    let mut shim = script("ulimit -v; exec sleep 100").with(|launch| launch.limits = limits).start();
    shim.wait_for_line("stdout: 262144");
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", shim.process().pid)).unwrap();
    assert!(!limits.contains("268435456"), "{limits}");
}
