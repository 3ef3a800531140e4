//! Connects to the project's daemon, and starts it if it does not run.
//!
//! A daemon starts with the environment of the shell and not of the plugin, reports the result in its first line of
//! output ([`StartupMessage`]), and detaches itself. If two daemons start at the same time, one exits.

use crate::Caller;
use crate::client::{Client, Clients};
use crate::daemon_address::DaemonAddress;
use crate::orchestratord::{not_started, program};
use nix::fcntl::OFlag;
use nix::unistd::geteuid;
use service_api::ownership::private_dir;
use service_api::{API_VERSION, Code, Problem, Project, StartupMessage, routes, view};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// The time limit for a daemon's first line, and for its version.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// The time limit for a daemon that another shell is starting.
const OTHER_START_TIMEOUT: Duration = Duration::from_secs(5);
/// The time limit for a daemon to exit after its last response.
const EXIT_TIMEOUT: Duration = Duration::from_secs(10);
/// The size above which the daemon's log is rotated at the next start.
const MAX_LOG_BYTES: u64 = 4 * 1024 * 1024;
/// The number of log lines that explain a failed start.
const LOG_EXCERPT_LINES: usize = 5;

/// The running daemon, whatever its version.
///
/// # Errors
/// [`Code::Storage`] if the socket belongs to another user; [`Code::Internal`] if the state directory cannot be read.
pub fn running(project: &Project, clients: &Clients) -> Result<Client, Problem> {
    client_at(&socket(project)?, clients)
}

/// A client for this socket, if only this user or root can have created it.
///
/// # Errors
/// [`Code::Storage`] if the directory of the socket belongs to another user.
pub fn client_at(socket: &Path, clients: &Clients) -> Result<Client, Problem> {
    check_socket_owner(socket)?;
    clients.for_socket(socket)
}

/// Refuses a socket in a directory of another user, because a process of that user may have created the socket.
fn check_socket_owner(socket: &Path) -> Result<(), Problem> {
    let Some(directory) = socket.parent() else { return Ok(()) };
    let owner = std::fs::symlink_metadata(directory).map_or(0, |directory| directory.uid());
    if owner == 0 || owner == geteuid().as_raw() {
        return Ok(());
    }
    let message = format!("cannot trust the socket in `{}`: it belongs to user {owner}", directory.display());
    Err(Problem::new(Code::Storage, message)
        .help("unset $env.XDG_RUNTIME_DIR, or set it to a directory of your own"))
}

/// The running daemon, if its version matches.
///
/// # Errors
/// [`Code::DaemonUnreachable`] if no daemon runs; [`Code::VersionMismatch`] if its API has another version.
pub fn connect(project: &Project, clients: &Clients) -> Result<Client, Problem> {
    check_version(running(project, clients)?)
}

/// The daemon at this address, if its version matches. The daemon is never started, because it runs on another machine.
///
/// # Errors
/// The errors of [`connect`].
pub fn reach(address: &DaemonAddress, clients: &Clients) -> Result<Client, Problem> {
    check_version(clients.for_address(address)?)
}

fn check_version(client: Client) -> Result<Client, Problem> {
    let daemon: view::Version = client.with_timeout(START_TIMEOUT).get(routes::VERSION, &[])?;
    if daemon.api == API_VERSION {
        return Ok(client);
    }
    let message = format!(
        "cannot talk to the daemon: it is version {} (API {}), this plugin needs API {API_VERSION}",
        daemon.version, daemon.api
    );
    Err(Problem::new(Code::VersionMismatch, message)
        .help("run `service daemon stop` (services keep running), then the command again"))
}

/// The daemon, which is started if it does not run.
///
/// # Errors
/// The errors of [`connect`], and the problem with which the daemon ended at its start.
pub fn connect_or_start(
    project: &Project,
    clients: &Clients,
    caller: impl FnOnce() -> Result<Caller, Problem>,
) -> Result<Client, Problem> {
    match connect(project, clients) {
        Err(problem) if problem.code == Code::DaemonUnreachable => {}
        reached => return reached,
    }
    let log = project.log();
    let already_there = std::fs::metadata(&log).map_or(0, |log| log.len());
    match message(start(project, caller()?)?, &log, already_there)? {
        StartupMessage::Ready { .. } => connect(project, clients),
        StartupMessage::AlreadyRunning => wait_for_other_daemon(project, clients),
        StartupMessage::Failed(problem) => Err(problem),
    }
}

/// Stops the running daemon and returns its last status. Waits until its process has ended, so that the next command
/// finds neither its socket nor its lock. Another shell may have started the next daemon by then.
///
/// # Errors
/// The problem in the response; [`Code::Timeout`] if the process has not ended after 10 seconds.
pub fn end(client: &Client, options: &[(&str, &str)]) -> Result<view::Daemon, Problem> {
    let daemon: view::Daemon = client.post(routes::DAEMON_STOP, options)?;
    // The pid of a remote daemon belongs to another machine.
    let started = if client.is_local() { start_time(daemon.pid) } else { None };
    let deadline = Instant::now() + EXIT_TIMEOUT;
    let client = client.with_timeout(Duration::from_secs(1));
    let answers = || match client.get::<view::Daemon>(routes::DAEMON, &[]) {
        Ok(answering) => answering.pid == daemon.pid,
        Err(problem) => problem.code != Code::DaemonUnreachable,
    };
    let runs = || started.is_some() && start_time(daemon.pid) == started;
    while answers() || runs() {
        if Instant::now() > deadline {
            return Err(Problem::new(Code::Timeout, "the daemon has not ended yet"));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(daemon)
}

/// When a process started, in ticks since the boot; `None` if the process has ended. A zombie counts as ended, because
/// the kernel has released its locks.
fn start_time(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ');
    let state = fields.next()?;
    let started = fields.nth(18)?.parse().ok()?;
    (!matches!(state, "Z" | "X")).then_some(started)
}

/// The socket that the daemon has recorded, because the daemon may have been started in another environment.
fn socket(project: &Project) -> Result<PathBuf, Problem> {
    let record = match std::fs::read(project.record()) {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            let message = format!("cannot read `{}`: {error}", project.state_dir.display());
            return Err(Problem::new(Code::Internal, message).help(
                "it belongs to another user; set \
                                                            $env.XDG_STATE_HOME",
            ));
        }
        read => read.ok(),
    };
    Ok(match record.and_then(|json| serde_json::from_slice(&json).ok()) {
        Some(StartupMessage::Ready { socket, .. }) => socket,
        _ => project.socket.clone(),
    })
}

fn start(project: &Project, caller: Caller) -> Result<Child, Problem> {
    let log = open_log(project).map_err(|error| {
        let dir = project.state_dir.display();
        Problem::from_io(&error, format!("cannot store state in `{dir}`: {error}"))
            .or_help("make the directory writable, or set $env.XDG_STATE_HOME to a writable one")
    })?;
    let mut command = program(caller.environment)?;
    command.arg("run").arg("--config").arg(&project.config);
    if let Some(nu) = caller.nu {
        command.arg("--nu").arg(nu);
    }
    command.arg("--idle-exit");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
    command.spawn().map_err(|error| not_started(&error))
}

fn open_log(project: &Project) -> std::io::Result<File> {
    private_dir(&project.state_dir)?;
    let log = project.log();
    if std::fs::metadata(&log).is_ok_and(|log| log.len() > MAX_LOG_BYTES) {
        std::fs::rename(&log, log.with_extension("log.1"))?;
    }
    let flags = OFlag::O_NOFOLLOW.bits();
    OpenOptions::new().create(true).append(true).mode(0o600).custom_flags(flags).open(log)
}

/// Parses the daemon's first line. Without one, the error contains the new lines of the daemon's log.
fn message(child: Child, log: &Path, already_there: u64) -> Result<StartupMessage, Problem> {
    let silent = |how: String| {
        let problem = Problem::new(Code::DaemonUnreachable, format!("cannot start the daemon: {how}"));
        match log_excerpt(log, already_there) {
            Some(words) => problem.help(format!("it wrote to `{}`:\n{words}", log.display())),
            None => problem,
        }
    };
    match first_line(child).recv_timeout(START_TIMEOUT) {
        Ok(Greeting::Nothing(status)) => {
            let problem = silent(describe_exit(status));
            Err(match status.and_then(|status| status.signal()) {
                Some(nix::libc::SIGXFSZ) => {
                    problem.or_help("raise the limit of file sizes: `ulimit -f unlimited`")
                }
                _ => problem,
            })
        }
        Ok(Greeting::Line(line)) => {
            serde_json::from_str(&line).map_err(|_| silent(format!("its output was `{}`", line.trim())))
        }
        Err(_) => Err(silent(format!("it did not report within {} s", START_TIMEOUT.as_secs()))),
    }
}

/// The first output of a daemon.
enum Greeting {
    Line(String),
    /// The daemon has exited without a line.
    Nothing(Option<ExitStatus>),
}

fn describe_exit(status: Option<ExitStatus>) -> String {
    match status.and_then(|status| status.signal()) {
        Some(nix::libc::SIGXFSZ) => {
            "it was killed by SIGXFSZ, because a file of it has the maximum size that this shell allows"
                .to_owned()
        }
        Some(signal) => match signal_name(signal) {
            Some(name) => format!("it was killed by {name}"),
            None => format!("it was killed by signal {signal}"),
        },
        None => "it exited at once".to_owned(),
    }
}

fn signal_name(signal: i32) -> Option<&'static str> {
    nix::sys::signal::Signal::try_from(signal).ok().map(nix::sys::signal::Signal::as_str)
}

/// Reads the daemon's first line on a thread. The thread then waits for the process, so that it does not become a
/// zombie.
fn first_line(mut child: Child) -> Receiver<Greeting> {
    let (say, line) = channel();
    std::thread::spawn(move || {
        let mut text = String::new();
        if let Some(stdout) = child.stdout.take() {
            let _ = BufReader::new(stdout).read_line(&mut text); // an unreadable line counts as none
        }
        let greeting =
            if text.is_empty() { Greeting::Nothing(child.wait().ok()) } else { Greeting::Line(text) };
        let _ = say.send(greeting); // the call may have returned after a ctrl-c
        let _ = child.wait();
    });
    line
}

/// Connects to a daemon that another shell is starting, once the daemon listens.
fn wait_for_other_daemon(project: &Project, clients: &Clients) -> Result<Client, Problem> {
    let deadline = Instant::now() + OTHER_START_TIMEOUT;
    let mut pause = Duration::from_millis(2);
    loop {
        match connect(project, clients) {
            Err(problem) if problem.code == Code::DaemonUnreachable && Instant::now() < deadline => {
                std::thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(100));
            }
            reached => return reached,
        }
    }
}

fn log_excerpt(log: &Path, from: u64) -> Option<String> {
    let mut file = File::open(log).ok()?;
    file.seek(SeekFrom::Start(from)).ok()?;
    let mut text = Vec::new();
    file.read_to_end(&mut text).ok()?;
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let last = lines[lines.len().saturating_sub(LOG_EXCERPT_LINES)..].join("\n");
    (!last.is_empty()).then_some(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mock_daemon::{MockDaemon, MockReply};
    use std::process::Command;

    fn project(dir: &Path) -> Project {
        Project {
            config: dir.join("services.toml"),
            state_dir: dir.into(),
            socket: dir.join("default.sock"),
            trusted_hash: None,
        }
    }

    #[test]
    fn the_daemons_own_record_says_where_it_listens() {
        let dir = tempfile::tempdir().unwrap();
        let project = project(dir.path());
        assert_eq!(socket(&project).unwrap(), project.socket);
        let message = StartupMessage::Ready { pid: 1, socket: "/elsewhere.sock".into() };
        std::fs::write(project.record(), serde_json::to_vec(&message).unwrap()).unwrap();
        assert_eq!(socket(&project).unwrap(), Path::new("/elsewhere.sock"));
    }

    #[test]
    fn a_daemon_of_another_version_is_refused_with_the_way_out() {
        let dir = tempfile::tempdir().unwrap();
        let project = project(dir.path());
        let _daemon =
            MockDaemon::serving_at(&project.socket, |_| MockReply::data(r#"{"version":"9.0.0","api":9}"#));
        let problem = connect(&project, &Clients::default()).err().unwrap();
        assert_eq!(problem.code, Code::VersionMismatch);
        assert!(problem.help.unwrap().contains("service daemon stop"));
    }

    #[test]
    fn a_daemon_that_ends_without_a_greeting_is_explained_by_its_log() {
        let dir = tempfile::tempdir().unwrap();
        let project = project(dir.path());
        std::fs::write(project.log(), "old\none\ntwo\n").unwrap();
        let child = Command::new("true").stdout(Stdio::piped()).spawn().unwrap();
        let problem = message(child, &project.log(), 4).unwrap_err();
        assert_eq!(problem.code, Code::DaemonUnreachable);
        assert!(problem.help.unwrap().ends_with(":\none\ntwo"));
    }

    #[test]
    fn a_daemon_that_is_killed_before_its_greeting_is_told_with_the_signal() {
        let dir = tempfile::tempdir().unwrap();
        let killed = |signal: &str| {
            let mut sh = Command::new("sh");
            let child =
                sh.args(["-c", &format!("kill -{signal} $$")]).stdout(Stdio::piped()).spawn().unwrap();
            message(child, &project(dir.path()).log(), 0).unwrap_err()
        };
        assert!(killed("KILL").message.ends_with("it was killed by SIGKILL"));
        let problem = killed("XFSZ");
        assert!(problem.message.contains("SIGXFSZ"), "{}", problem.message);
        assert!(problem.help.unwrap().contains("ulimit -f"));
    }

    /// The next daemon responds at once, so that only the process id differs.
    #[test]
    fn a_daemon_has_ended_when_its_process_has_and_not_when_its_socket_is_closed() {
        let mut process = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let pid = process.id();
        let json = |pid: u32| {
            format!(
                r#"{{"version":"1","pid":{pid},"socket":"","project":"","log":"","uptime_ms":1,
                    "services_running":0,"services":0}}"#
            )
        };
        let daemon = MockDaemon::serving(move |request| match request.starts_with("POST") {
            true => MockReply::data(&json(pid)),
            false => MockReply::data(&json(pid + 1)),
        });
        let client = Clients::default().for_socket(&daemon.socket).unwrap();
        let ending = std::thread::spawn(move || end(&client, &[]));
        while daemon.requests().len() < 5 {
            assert!(!ending.is_finished(), "the process still runs");
            std::thread::sleep(Duration::from_millis(1));
        }
        process.kill().unwrap();
        assert_eq!(ending.join().unwrap().unwrap().pid, pid, "a zombie has ended");
        process.wait().unwrap();
    }
}
