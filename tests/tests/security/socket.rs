//! The Unix socket is accessible to its user and to root only, from its creation on.

use service_tests::{Project, eventually, installed, program, skip};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const ONE: &str = "[services.web]\nstart_command = \"TEST_SERVICE\"";
/// The user id of `nobody`.
const STRANGER: u32 = 65534;

fn let_everybody_in(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("it is ours");
}

#[test]
fn another_user_is_refused_even_where_every_directory_is_open() {
    if !nix::unistd::geteuid().is_root() {
        return skip("only root can be another user");
    }
    let Some(curl) = installed("curl") else { return skip("there is no curl") };
    let Some(project) = Project::new(ONE) else { return };
    project.value("service start web");
    let (socket, pid) = (project.socket(), project.pid("web"));
    let ask = |user: u32| {
        let mut curl = Command::new(&curl);
        curl.args(["--silent", "--max-time", "10", "--unix-socket"]).arg(&socket);
        curl.args(["--request", "POST", "http://localhost/api/v1/services/web/stop"]);
        curl.uid(user).gid(user).stdin(Stdio::null()).output().expect("curl can be run")
    };
    assert!(!ask(STRANGER).status.success(), "the directory is closed");
    for directory in socket.ancestors().skip(1).take_while(|directory| *directory != Path::new("/tmp")) {
        if directory.starts_with(project.path("")) || directory == project.path("") {
            let_everybody_in(directory, 0o755);
        }
    }
    let_everybody_in(&project.path("."), 0o755);
    let_everybody_in(&socket, 0o666);
    let refused = ask(STRANGER);
    assert!(!refused.status.success() && refused.stdout.is_empty(), "{refused:?}");
    assert_eq!(project.pid("web"), pid, "it was not stopped");
    let log = fs::read_to_string(project.state_dir().join("orchestratord.log")).expect("it has a log");
    assert!(log.contains("refused a connection of another user"), "{log}");
    assert!(ask(0).status.success(), "root may");
}

#[test]
fn there_is_no_moment_in_which_the_socket_is_open_to_others() {
    let Some(project) = Project::new(ONE) else { return };
    project.value("service status");
    let socket = project.socket();
    project.value("service daemon stop");
    let over = Arc::new(AtomicBool::new(false));
    let watcher = {
        let (socket, over) = (socket.clone(), Arc::clone(&over));
        std::thread::spawn(move || {
            let mut looks = 0;
            while !over.load(Ordering::Relaxed) {
                let mode =
                    |path: &Path| fs::metadata(path).ok().map(|found| found.permissions().mode() & 0o777);
                assert!(matches!(mode(&socket), None | Some(0o600)), "the socket is open");
                assert_eq!(mode(socket.parent().expect("it lies somewhere")), Some(0o700));
                looks += 1;
            }
            looks
        })
    };
    for _ in 0..5 {
        let mut daemon = project.command(&program("orchestratord"));
        daemon.arg("run").arg("--config").arg(project.path("services.toml"));
        // The umask would give all users access.
        let mut daemon = Command::new("sh")
            .args(["-c", "umask 000; exec \"$@\"", "sh"])
            .arg(daemon.get_program())
            .args(daemon.get_args())
            .envs(daemon.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it can be run");
        eventually("it listens", || socket.exists().then_some(()));
        project.value("service daemon stop");
        daemon.wait().expect("it is our child");
    }
    over.store(true, Ordering::Relaxed);
    assert!(watcher.join().expect("it was never open") > 0);
}
