//! `orchestratord run`: one daemon for one project. The daemon locks the project, starts the orchestrator, binds the
//! socket and prints its startup message. Then it serves until it is asked to stop.
//!
//! The lock decides which process is the daemon; the socket is only its address. Services outlive the daemon.

mod idle;
mod lock;
mod memory;
mod remote_api;
mod transient_gc;

pub(crate) use lock::try_lock;
use lock::{Claim, Lock};

use crate::offline;
use crate::systemd::{self, Notifier, StartSet, SystemdEnv};
use service_api::ownership::read_regular;
use service_api::{Code, Problem, Project, StartupMessage, routes};
use service_config::load::{self, Additions};
use service_core::{Config, Plan};
use service_host::acceptance::Acceptance;
use service_host::clock;
use service_host::disk::{self, Disk};
use service_host::fs::private_dir;
use service_host::fs::write_private;
use service_http::{self as http, ApiState, ProjectDefinitions};
use service_orchestrator::ServiceOrchestrator;
use service_orchestrator::renamed_project::FilePresence;
use service_orchestrator::request::{Request, Verb};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// The timeout for open requests at the end of the daemon.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);
/// The timeout for the start of a daemon's response.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(500);
/// The time limit for an ending daemon to release the lock after its last response.
const HANDOVER_TIMEOUT: Duration = Duration::from_secs(2);
/// The interval between two attempts on another daemon's lock and socket.
const HANDOVER_POLL_INTERVAL: Duration = Duration::from_millis(2);

/// The parameters of a daemon's start.
#[derive(Debug, Default)]
pub(crate) struct DaemonOptions {
    /// The path of the Nushell that runs manager modules.
    pub nu: Option<PathBuf>,
    /// The systemd unit of this process, and the services that start with a session.
    pub unit: Option<(String, StartSet)>,
    /// The variables that systemd has set.
    pub systemd: SystemdEnv,
    /// Whether the daemon ends when it is idle. This is set if a command has started it, because the next command can
    /// start another daemon.
    pub idle_exit: bool,
    /// Directories in memory for the files of runs.
    pub memory_directories: Vec<PathBuf>,
}

/// The result of a start.
enum DaemonStart {
    Running(RunningDaemon),
    /// Another daemon owns the project.
    AlreadyRunning,
}

/// A listening daemon. Dropping this releases the lock.
struct RunningDaemon {
    api: Arc<ApiState>,
    listener: UnixListener,
    lock: Lock,
}

/// Runs until a signal or a request ends the daemon. The first line of standard output is the startup message.
pub(crate) async fn run(project: Project, options: DaemonOptions) -> io::Result<()> {
    // This fails for a process group leader, which needs no new session.
    let _ = nix::unistd::setsid();
    let notifier = Notifier::new(&options.systemd);
    let mut began = start(project.clone(), &options).await;
    if let (Ok(DaemonStart::AlreadyRunning), Some(_)) = (&began, &options.unit) {
        // A command has started the other daemon. This daemon, which is the unit's, replaces it; services keep running.
        stop_other(&project).await;
        began = start(project, &options).await;
    }
    match began {
        Ok(DaemonStart::Running(running)) => {
            let message =
                StartupMessage::Ready { pid: std::process::id(), socket: running.api.project.socket.clone() };
            write_record(&running.api.project, &message);
            print_startup_message(&message)?;
            let idle_exit = options.idle_exit && options.unit.is_none();
            serve(running, notifier, options.unit.map(|(_, starts)| starts), idle_exit).await
        }
        Ok(DaemonStart::AlreadyRunning) => {
            notifier.status("another daemon serves the project and does not end");
            print_startup_message(&StartupMessage::AlreadyRunning)
        }
        Err(problem) => {
            let problem = problem.redacted();
            notifier.status(&problem.message);
            let ended = io::Error::other(problem.message.clone());
            print_startup_message(&StartupMessage::Failed(problem))?;
            // The error becomes the exit status, for a supervisor.
            Err(ended)
        }
    }
}

/// Binds the socket again if its file is missing or is not `own`, because clients cannot reach this daemon then.
fn rebind(api: &Arc<ApiState>, own: &mut Option<(u64, u64, u32)>) {
    let socket = &api.project.socket;
    if own.is_none() || identity(socket) != *own {
        match bind(socket) {
            // This listener ends with the process, so its end is not awaited.
            Ok(listener) => {
                *own = identity(socket);
                drop(tokio::spawn(http::serve(listener, Arc::clone(api), std::future::pending())));
            }
            Err(error) => tracing::error!(%error, "cannot listen again"),
        }
    }
    let message = StartupMessage::Ready { pid: std::process::id(), socket: api.project.socket.clone() };
    write_record(&api.project, &message);
}

/// The device, the inode and the mode of a file.
fn identity(path: &Path) -> Option<(u64, u64, u32)> {
    std::fs::metadata(path).ok().map(|file| (file.dev(), file.ino(), file.mode()))
}

/// Saves the path of the socket, for clients that compute another path.
fn write_record(project: &Project, message: &StartupMessage) {
    let record = serde_json::to_vec(message).map_err(io::Error::from);
    if let Err(error) = record.and_then(|record| write_private(&project.record(), &record)) {
        tracing::error!(%error, "cannot save the address of its socket");
    }
}

/// Prints the startup message, which the parent process waits for, and closes standard output.
fn print_startup_message(message: &StartupMessage) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{}", serde_json::to_string(message)?)?;
    stdout.flush()?;
    let null = File::options().write(true).open("/dev/null")?;
    Ok(nix::unistd::dup2_stdout(null)?)
}

async fn start(project: Project, options: &DaemonOptions) -> Result<DaemonStart, Problem> {
    let cannot = |what: &str, path: &Path, error: io::Error| {
        Problem::from_io(&error, format!("cannot {what} `{}`: {error}", path.display()))
    };
    private_dir(&project.state_dir)
        .map_err(|error| cannot("use the state directory", &project.state_dir, error))?;
    let lock = match acquire_lock(&project).await {
        Ok(Some(lock)) => lock,
        Ok(None) => return Ok(DaemonStart::AlreadyRunning),
        Err(error) => return Err(cannot("lock the state directory", &project.state_dir, error)),
    };
    check_socket_directory(&project.socket)?;
    if let Err(error) = disk::write_now(&project.path_note(), project.config.as_os_str().as_encoded_bytes()) {
        tracing::warn!(%error, "cannot save the path of the project");
    }
    let began = clock::now();
    let boot_id = service_shim::process::boot_id()
        .map_err(|error| cannot("determine the boot of", &project.state_dir, error))?;
    let disk = Disk::default();
    let acceptance = Arc::new(Acceptance::open(&project.state_dir, &project.config, disk.clone()));
    let mut additions = Additions::open(&project.state_dir, &boot_id, disk.clone())
        .map_err(|error| cannot("read what was added in", &project.state_dir, error))?;
    let (plan, read) = match load::plan_for(&acceptance, &project.config, additions.all()) {
        Ok(plan) => (plan, Ok(())),
        // The file may be valid, but reading it needs a free descriptor.
        Err(problem) if lacks_descriptors(&project.config) => return Err(problem),
        // Even without a valid file, running services are shown and can be stopped.
        Err(problem) if offline::is_anything_running(&project.state_dir) => {
            tracing::error!(%problem, "cannot read the file; supervising the running services");
            let nothing = Plan::compile(Config::default())
                .map_err(|_| Problem::new(Code::Internal, "cannot make an empty plan"))?;
            (nothing, Err(problem))
        }
        Err(problem) => return Err(explain_missing_file(&project, problem)),
    };
    additions.drop_defined(&plan);
    let definitions = ProjectDefinitions::new(project.config.clone(), additions, read);
    let mut builder = ServiceOrchestrator::builder()
        .state_dir(&project.state_dir)
        .project(&project.config)
        .base_dir(project.config.parent().unwrap_or(Path::new("/")))
        .acceptance(acceptance)
        .fallback_state_file(project.fallback_state_file())
        .memory_directories(options.memory_directories.clone())
        .disk(disk)
        .descriptors(service_host::descriptors::raise())
        .nu(options.nu.clone());
    let orchestrator = builder.start_plan(plan).await?;
    let listener = bind(&project.socket).map_err(|error| cannot("listen at", &project.socket, error))?;
    tracing::info!(project = %project.config.display(), socket = %project.socket.display(), "listening");
    let unit = options.unit.as_ref().map(|(unit, _)| unit.clone());
    let api = Arc::new(http::state(orchestrator, project, definitions, began, unit));
    Ok(DaemonStart::Running(RunningDaemon { api, listener, lock }))
}

/// Creates the directory of the socket, which also has the fallback files of states and records that cannot be written
/// elsewhere.
fn check_socket_directory(socket: &Path) -> Result<(), Problem> {
    let directory = socket.parent().unwrap_or(Path::new("/"));
    private_dir(directory).map_err(|error| {
        let message = format!("cannot use `{}`, the directory of the socket: {error}", directory.display());
        let mut problem = Problem::from_io(&error, message)
            .or_help("set $env.XDG_RUNTIME_DIR to a directory of your own, or unset it");
        if matches!(error.kind(), io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists) {
            problem.code = Code::Storage;
        }
        problem
    })
}

/// Replaces the error of a missing file: the project was deleted, and the error must not say that its definitions are
/// invalid.
fn explain_missing_file(project: &Project, problem: Problem) -> Problem {
    match FilePresence::check(&project.config, &project.state_dir) {
        FilePresence::Present => problem,
        FilePresence::Gone | FilePresence::Unknown => {
            let config = project.config.display();
            Problem::new(Code::NoProject, format!("`{config}` does not exist, and no service of it runs"))
                .help("`service projects --prune` deletes the state of projects that no longer exist")
        }
    }
}

/// Whether a file cannot be read because no descriptor is free.
fn lacks_descriptors(file: &Path) -> bool {
    // This does not block, even if there is a pipe at this path.
    read_regular(file, 0).is_err_and(|error| service_host::descriptors::is_short(&error))
}

/// Acquires the lock, unless another daemon runs. A daemon that responds but does not hold the lock runs as well: its
/// state directory was deleted. A daemon that holds the lock and does not respond is ending, and its end is awaited.
async fn acquire_lock(project: &Project) -> io::Result<Option<Lock>> {
    let deadline = clock::now().plus(HANDOVER_TIMEOUT);
    loop {
        let claim = try_lock(&project.state_dir)?;
        let answers = answers(&project.socket).await;
        let over = clock::now() >= deadline;
        match (claim, answers) {
            (Claim::Acquired(lock), false) => return Ok(Some(lock)),
            (Claim::HeldBy(_), true) if lock::has_file(&project.state_dir) => return Ok(None),
            (Claim::Acquired(_), true) if over => return Ok(None),
            // A daemon that responds also locks its deleted file again.
            (Claim::HeldBy(pid), answers) if over || answers => return request_rebind(pid).map(|()| None),
            (Claim::Acquired(_) | Claim::HeldBy(_), _) => tokio::time::sleep(HANDOVER_POLL_INTERVAL).await,
        }
    }
}

/// Whether a daemon responds at a socket. A connection proves nothing, because the kernel accepts it for a moment after
/// a kill.
async fn answers(socket: &Path) -> bool {
    let ask = async {
        let mut stream = UnixStream::connect(socket).await?;
        let request = format!("GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n", routes::VERSION);
        stream.write_all(request.as_bytes()).await?;
        stream.read_u8().await
    };
    tokio::time::timeout(ANSWER_TIMEOUT, ask).await.is_ok_and(|answer| answer.is_ok())
}

/// Requests a stop of the project's daemon, at the recorded socket or, without a record, at the usual one.
async fn stop_other(project: &Project) {
    let record = std::fs::read(project.record()).ok().and_then(|json| serde_json::from_slice(&json).ok());
    let socket = match record {
        Some(StartupMessage::Ready { socket, .. }) => socket,
        _ => project.socket.clone(),
    };
    let ask = async {
        let mut stream = UnixStream::connect(&socket).await?;
        let path = routes::DAEMON_STOP;
        let request = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        stream.read_u8().await
    };
    match tokio::time::timeout(HANDOVER_TIMEOUT, ask).await {
        Ok(Ok(_)) => {
            tracing::info!("the former daemon of the project ends");
            let deadline = clock::now().plus(HANDOVER_TIMEOUT);
            while answers(&socket).await && clock::now() < deadline {
                tokio::time::sleep(HANDOVER_POLL_INTERVAL).await;
            }
        }
        Ok(Err(error)) => tracing::warn!(%error, "cannot request the end of the other daemon of the project"),
        Err(_) => tracing::warn!("the other daemon of the project does not answer"),
    }
}

/// Requests that a daemon with an unreachable socket binds it again.
fn request_rebind(pid: Option<i32>) -> io::Result<()> {
    let pid =
        pid.ok_or_else(|| io::Error::other("another daemon serves the project, with an unknown pid"))?;
    tracing::warn!(pid, "a daemon runs and does not respond; requesting that it listens again");
    Ok(nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGHUP)?)
}

/// Binds the socket in a directory that only this user may enter, so that other users never have access.
fn bind(socket: &Path) -> io::Result<UnixListener> {
    let directory = socket.parent().unwrap_or(Path::new("/"));
    private_dir(directory)?;
    // The socket is renamed to its path after its mode is set.
    let fresh = idle::hidden_path(socket);
    match std::fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&fresh)?;
    std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&fresh, socket)?;
    Ok(listener)
}

async fn serve(
    running: RunningDaemon,
    notifier: Notifier,
    session: Option<StartSet>,
    idle_exit: bool,
) -> io::Result<()> {
    let RunningDaemon { api, listener, mut lock } = running;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let (ended, mut end) = watch::channel(());
    // The value never changes; dropping the sender ends the server.
    let server = http::serve(listener, Arc::clone(&api), async move { drop(end.changed().await) });
    let server = tokio::spawn(server);
    let remote = tokio::spawn(remote_api::serve(Arc::clone(&api), ended.subscribe()));
    let transient_gc = tokio::spawn(transient_gc::run(Arc::clone(&api)));
    let trimmer = tokio::spawn(memory::trim_when_idle(Arc::clone(&api)));
    let lock_name = tokio::spawn(lock.accept_probes());
    let reporter = tokio::spawn(systemd::report_status(notifier.clone(), Arc::clone(&api)));
    notifier.ready();
    let orchestrator = api.orchestrator.clone();
    tokio::spawn(async move { orchestrator.warm().await });
    if let Some(starts) = &session {
        systemd::start_session(&api, starts);
    }
    let mut socket = identity(&api.project.socket);
    let mut idle = pin!(idle::wait_until_idle(&api));
    loop {
        tokio::select! {
            _ = terminate.recv() => {
                if session.is_some() && systemd::is_session_ending().await {
                    notifier.stopping();
                    stop_for_session_end(&api).await;
                }
                break;
            }
            _ = interrupt.recv() => break,
            () = api.stop.notified() => break,
            () = &mut idle, if idle_exit => break,
            _ = hangup.recv() => {
                notifier.reloading();
                lock.relock_file();
                rebind(&api, &mut socket);
                let _ = api.refresh().await;
                notifier.ready();
            }
        }
    }
    notifier.stopping();
    reporter.abort();
    transient_gc.abort();
    lock_name.abort();
    trimmer.abort();
    // The shutdown answers requests that wait for a service, so that their connections can end.
    api.orchestrator.shutdown().await;
    drop(ended);
    let _ = tokio::time::timeout(DRAIN_TIMEOUT, async { tokio::join!(server, remote) }).await;
    let _ = std::fs::remove_file(&api.project.socket);
    let _ = std::fs::remove_file(idle::hidden_path(&api.project.socket));
    let _ = std::fs::remove_file(api.project.record());
    tracing::info!("ended; services keep running");
    Ok(())
}

/// Stops the services in order before the session ends. The next session starts these services again.
async fn stop_for_session_end(api: &ApiState) {
    tracing::info!("the session ends; stopping the services");
    systemd::save_services_to_resume(api);
    let request =
        Request { all: true, ..Request::new(Verb::Stop, Vec::new()).for_command("logout").by("daemon") };
    match api.orchestrator.request(request).await {
        Ok(mut rows) => while rows.recv().await.is_some() {},
        Err(problem) => tracing::error!(%problem, "cannot stop the services"),
    }
}
