//! The messages of the daemon to its supervisor, on a real datagram socket: `sd_notify(3)`.

use nix::sys::signal::Signal;
use service_tests::{Project, WAIT_TIMEOUT, program, signal};
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::Child;

/// Reads datagrams until one contains this line; returns all lines so far.
#[track_caller]
fn until(socket: &UnixDatagram, wanted: &str) -> Vec<String> {
    let mut heard = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let length =
            socket.recv(&mut buffer).unwrap_or_else(|error| panic!("no `{wanted}` in {heard:?}: {error}"));
        heard.extend(String::from_utf8_lossy(&buffer[..length]).lines().map(str::to_owned));
        if heard.iter().any(|line| line == wanted) {
            return heard;
        }
    }
}

fn daemon(project: &Project, address: &str) -> Child {
    let mut command = project.command(&program("orchestratord"));
    command.args(["run", "--config"]).arg(project.path("services.toml"));
    command.env("NOTIFY_SOCKET", address).env("WATCHDOG_USEC", "200000").stderr(std::process::Stdio::null());
    command.spawn().expect("orchestratord can be run")
}

fn tells_its_life(project: &Project, socket: &UnixDatagram, address: &str) {
    socket.set_read_timeout(Some(WAIT_TIMEOUT)).expect("a timeout can be set");
    let mut daemon = daemon(project, address);
    let heard = until(socket, "READY=1");
    assert_eq!(heard.iter().filter(|line| *line == "READY=1").count(), 1);
    // The daemon listens by then.
    let greeting = BufReader::new(daemon.stdout.take().expect("it is a pipe")).lines().next();
    assert!(greeting.is_some_and(|line| line.is_ok_and(|line| line.contains("ready"))));
    assert_eq!(project.value("service daemon status")["pid"], daemon.id());
    until(socket, "STATUS=0 of 2 services up");
    project.value("service start web");
    until(socket, "STATUS=1 of 2 services up");
    project.value("try { service start bad | ignore }");
    until(socket, "STATUS=1 of 2 services up, 1 failed");
    until(socket, "WATCHDOG=1");
    until(socket, "WATCHDOG=1");

    let environment = fs::read(format!("/proc/{}/environ", project.pid("web"))).expect("the service runs");
    let environment = String::from_utf8_lossy(&environment);
    for name in ["NOTIFY_SOCKET", "WATCHDOG_USEC"] {
        assert!(!environment.contains(name), "{name} is for the daemon alone");
    }

    signal(daemon.id(), Signal::SIGHUP);
    until(socket, "RELOADING=1");
    until(socket, "READY=1");
    project.value("service stop web");
    signal(daemon.id(), Signal::SIGTERM);
    until(socket, "STOPPING=1");
    assert!(daemon.wait().expect("it is our child").success());
}

const SERVICES: &str = r#"
[services.web]
start_command = "TEST_SERVICE"
[services.bad]
start_command = "TEST_SERVICE exit 3"
restart = "no"
"#;

#[test]
fn a_supervisor_hears_of_the_daemons_life_on_a_socket_with_a_path() {
    let Some(project) = Project::new(SERVICES) else { return };
    let path = project.path("run/notify");
    let socket = UnixDatagram::bind(&path).expect("the directory is ours");
    tells_its_life(&project, &socket, path.to_str().expect("it is text"));
}

#[test]
fn a_supervisor_hears_of_it_on_an_abstract_socket() {
    let Some(project) = Project::new(SERVICES) else { return };
    let name = format!("service-tests-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).expect("a short name");
    let socket = UnixDatagram::bind_addr(&address).expect("nobody else has this name");
    tells_its_life(&project, &socket, &format!("@{name}"));
}

#[test]
fn a_daemon_without_a_project_that_can_be_read_says_why_and_is_never_ready() {
    let Some(project) = Project::new("[services.web]\nstart_command = 3") else { return };
    let path = project.path("run/notify");
    let socket = UnixDatagram::bind(&path).expect("the directory is ours");
    socket.set_read_timeout(Some(WAIT_TIMEOUT)).expect("a timeout can be set");
    let mut daemon = daemon(&project, path.to_str().expect("it is text"));
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer).expect("it says something");
    let said = String::from_utf8_lossy(&buffer[..length]);
    assert!(said.starts_with("STATUS=") && said.contains("start_command"), "{said}");
    daemon.wait().expect("it is our child");
}
