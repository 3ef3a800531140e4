//! A launch begins at most once, and a withdrawn launch never begins.

use crate::harness::{Connection, PROGRAM, Zygote, eventually, script};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use service_shim::shared_buffer::claim::{self, MayHaveBegun};
use service_shim::{Files, Launch, OrphanedOutput, Phase, Process};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Command;

/// The shim that waits for its launch.
fn waiting(orphaned_output: &OrphanedOutput) -> Process {
    eventually("a shim waits", || claim::holder(&orphaned_output.shared_buffer).is_some());
    claim::holder(&orphaned_output.shared_buffer).unwrap()
}

fn send(shim: Process, signal: Signal) {
    kill(Pid::from_raw(shim.pid.cast_signed()), signal).unwrap();
}

fn send_line(stream: &mut UnixStream, launch: &Launch) {
    stream.write_all(&[serde_json::to_vec(launch).unwrap(), b"\n".to_vec()].concat()).unwrap();
}

/// Reads until the other end hangs up.
fn end(stream: &mut UnixStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("{error}"),
        _ => bytes,
    }
}

#[test]
fn a_shim_that_waits_holds_no_end_of_the_socket_of_its_zygote() {
    let mut zygote = Zygote::start(Command::new(PROGRAM));
    let waits: Vec<_> = (0..3).map(|_| zygote.prepare_shim()).collect();
    for (_, orphaned_output) in &waits {
        waiting(orphaned_output);
    }
    zygote.kill();
    let socket = zygote.socket();
    fcntl(socket, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    let mut socket = socket;
    assert_eq!(socket.read(&mut [0]).map_err(|error| error.kind()), Ok(0), "the other end is closed");
}

#[test]
fn a_launch_that_was_withdrawn_does_not_begin_and_leaves_no_word() {
    let prepared = script("echo begun");
    let zygote = Zygote::start(Command::new(PROGRAM));
    let (mut stream, orphaned_output) = zygote.prepare_shim();
    let shim = waiting(&orphaned_output);
    send(shim, Signal::SIGSTOP);
    send_line(&mut stream, &prepared.launch);
    assert_eq!(claim::withdraw(&orphaned_output.shared_buffer), Ok(Some(shim)));
    send(shim, Signal::SIGCONT);
    assert_eq!(end(&mut stream), b"");
    eventually("the shim has ended", || !shim.is_alive());
    let files = Files::new(&prepared.launch.directory);
    assert_eq!(files.read_record().unwrap(), None);
    assert!(files.try_lock().unwrap().is_some() && !files.socket().exists());
}

#[test]
fn a_launch_that_has_begun_cannot_be_withdrawn() {
    let mut shim = script("exec sleep 600").start();
    assert!(matches!(shim.connection.record().unwrap().phase, Phase::Running { .. }));
    assert_eq!(claim::withdraw(&shim.orphaned_output.shared_buffer), Err(MayHaveBegun));
    shim.connection.request_signal(Signal::SIGKILL);
    shim.exit();
}

/// The next daemon searches for running services only once, directly after this one has exited.
#[test]
fn a_launch_of_a_daemon_that_has_gone_does_not_begin() {
    let prepared = script("echo begun");
    let zygote = Zygote::start(Command::new(PROGRAM));
    let (mut stream, orphaned_output) = zygote.prepare_shim();
    let shim = waiting(&orphaned_output);
    send(shim, Signal::SIGSTOP);
    send_line(&mut stream, &prepared.launch);
    drop(stream);
    send(shim, Signal::SIGCONT);
    eventually("the shim has ended", || !shim.is_alive());
    assert_eq!(Files::new(&prepared.launch.directory).read_record().unwrap(), None);
    assert_eq!(claim::withdraw(&orphaned_output.shared_buffer), Ok(Some(shim)));
}

#[test]
fn a_frozen_shim_that_waits_does_not_outlive_the_daemon() {
    let mut zygote = Zygote::start(Command::new(PROGRAM));
    let (stream, orphaned_output) = zygote.prepare_shim();
    let shim = waiting(&orphaned_output);
    send(shim, Signal::SIGSTOP);
    drop(stream);
    zygote.hang_up();
    eventually("it has ended", || !shim.is_alive());
}

/// A later daemon that finds no shim learns from this record that the run may have begun.
#[test]
fn that_a_run_may_have_begun_is_on_disk_before_its_process_exists() {
    let prepared = script("cat run.json > seen");
    let zygote = Zygote::start(Command::new(PROGRAM));
    let (mut connection, _heritage): (Connection, _) = zygote.shim(&prepared.launch);
    while connection.record().is_some() {}
    let seen = std::fs::read_to_string(prepared.launch.directory.join("seen")).unwrap();
    assert!(seen.starts_with('{') && seen.contains("launching"), "{seen}");
}
