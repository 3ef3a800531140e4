//! Peers of the shim, and failures of their connections.

use crate::harness::{Connection, eventually, program, script};
use nix::sys::signal::Signal;
use service_shim::{Exit, Phase};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

#[test]
fn who_connects_is_told_the_record_at_once_and_may_give_orders() {
    let mut shim = program(&["sleep", "600"]).start();
    let running = shim.connection.record().unwrap();
    let mut second = Connection::open(&shim.files);
    assert_eq!(second.record().unwrap(), running);
    second.request_signal(Signal::SIGINT);
    assert_eq!(shim.exit(), Exit::Signal(2));
    assert!(matches!(second.record().unwrap().phase, Phase::Finished { .. }));
    assert_eq!(second.record(), None);
}

#[test]
fn a_service_goes_on_without_the_daemon_and_nothing_is_lost() {
    let mut shim = script("echo before; while [ ! -e go ]; do sleep 0.01; done; echo after; exit 5").start();
    shim.connection.record().unwrap();
    let files = shim.files.clone();
    let other = Connection::open(&files);
    // The daemon and all other peers have disconnected.
    drop(std::mem::replace(&mut shim.connection, other));
    shim.wait_for_line("stdout: before");
    std::fs::write(files.directory().join("go"), "").unwrap();
    shim.wait_for_line("stdout: after");
    assert_eq!(shim.exit(), Exit::Code(5));
}

#[test]
fn the_end_of_a_run_is_on_disk_when_nobody_is_connected() {
    let service = script("while [ ! -e go ]; do sleep 0.01; done; exit 5");
    let go = service.directory.path().join("go");
    let mut shim = service.start();
    shim.connection.record().unwrap();
    shim.connection.hang_up();
    std::fs::write(go, "").unwrap();
    shim.wait();
    let record = shim.files.read_record().unwrap().unwrap();
    assert!(matches!(record.phase, Phase::Finished { exit: Exit::Code(5), .. }));
}

#[test]
fn an_end_that_cannot_be_written_is_kept_until_someone_comes_to_hear_it() {
    let service = script("while [ ! -e go ]; do sleep 0.01; done; exit 5");
    let directory = service.directory.path().to_owned();
    // A directory in place of the record.
    std::fs::create_dir(directory.join("run.json")).unwrap();
    let mut shim = service.start();
    let Phase::Running { leader, .. } = shim.connection.record().unwrap().phase else {
        panic!("not running")
    };
    shim.connection.hang_up();
    std::fs::write(directory.join("go"), "").unwrap();
    eventually("the service has ended", || !leader.is_alive());
    let mut late = Connection::open(&shim.files);
    let last = std::iter::from_fn(|| late.record()).last().unwrap();
    assert!(matches!(last.phase, Phase::Finished { exit: Exit::Code(5), .. }));
    eventually("the shim has ended", || !last.shim.is_alive());
}

#[test]
fn who_talks_nonsense_is_cut_off_and_the_service_runs_on() {
    let mut shim = program(&["sleep", "600"]).start();
    shim.connection.record().unwrap();
    for nonsense in ["hello\n", "{\"signal\": \"TERM\"}\n", "\n", &"x".repeat(5000)] {
        let mut peer = Connection::open(&shim.files);
        peer.record().unwrap();
        peer.send_line(nonsense);
        assert_eq!(peer.record(), None, "{nonsense:?}");
    }
    // A number that is not a signal has no effect.
    shim.connection.send_line("{\"signal\":0}\n{\"signal\":4711}\n");
    shim.connection.request_signal(Signal::SIGTERM);
    assert_eq!(shim.exit(), Exit::Signal(15));
}

#[test]
fn orders_may_come_in_pieces() {
    let mut shim = program(&["sleep", "600"]).start();
    shim.connection.record().unwrap();
    for piece in ["{\"sig", "nal\":15", "}", "\n"] {
        shim.connection.send_line(piece);
    }
    assert_eq!(shim.exit(), Exit::Signal(15));
}

#[test]
fn who_never_reads_holds_nobody_up() {
    let mut shim = script("while [ ! -e go ]; do sleep 0.01; done; seq 1000").start();
    shim.connection.record().unwrap();
    let silent: Vec<_> = (0..40).map(|_| Connection::open(&shim.files)).collect();
    std::fs::write(shim.files.directory().join("go"), "").unwrap();
    assert_eq!(shim.output().len(), 1000);
    drop(silent);
}

#[test]
fn a_service_says_that_it_is_ready() {
    let mut shim = script("echo $NOTIFY_SOCKET; exec sleep 600").with(|launch| launch.notify = true).start();
    assert!(!shim.connection.record().unwrap().notified);
    eventually("the socket's name is printed", || !shim.lines().is_empty());
    let name = shim.lines()[0].strip_prefix("stdout: @").unwrap().to_owned();
    let address = SocketAddr::from_abstract_name(name).unwrap();
    let service = UnixDatagram::unbound().unwrap();
    for message in ["STATUS=READY=1", "READY=10", "STATUS=up\nREADY=1\n", "READY=1"] {
        service.send_to_addr(message.as_bytes(), &address).unwrap();
    }
    // The status is sent without another change.
    while !shim.connection.record().unwrap().notified {}
    shim.connection.request_signal(Signal::SIGTERM);
    let last = shim.records().pop().unwrap();
    assert_eq!(last.notify_status.status.as_deref(), Some("up"));
    assert!(last.notified && matches!(last.phase, Phase::Finished { .. }));
}

#[test]
fn without_notify_a_service_gets_no_socket() {
    let mut shim = script("echo \"<$NOTIFY_SOCKET>\"").start();
    assert_eq!(shim.output(), ["stdout: <>"]);
}

#[test]
fn a_directory_may_have_a_longer_path_than_a_socket() {
    let mut service = program(&["sleep", "600"]);
    let deep = service.directory.path().join("d".repeat(200));
    std::fs::create_dir(&deep).unwrap();
    service.launch.directory = deep;
    let mut shim = service.start();
    shim.connection.record().unwrap();
    let mut second = Connection::open(&shim.files);
    second.request_signal(Signal::SIGTERM);
    assert_eq!(shim.exit(), Exit::Signal(15));
}
