//! `orchestratord run`: one project, one daemon. Lock, orchestrator, socket, greeting; then serve until told to end.
//!
//! The lock decides who the daemon is; the socket only says where it listens. Services outlive the daemon.

mod collector;
mod door;
mod idle;
mod lock;
mod notes;
mod source;
mod thrift;

pub(crate) use lock::lock;
use lock::{Claim, Lock};
pub(crate) use source::{Same, Source};
pub(crate) use thrift::give_back;

use crate::host::acceptance::Acceptance;
use crate::host::clock;
use crate::host::disk::{self, Disk};
use crate::host::fs::private_dir;
use crate::host::fs::write_private;
use crate::host::procfs::CpuMeter;
use crate::http;
use crate::load::{self, Additions};
use crate::offline;
use crate::orchestrator::{ServiceOrchestrator, Verb, Wish};
use crate::place::Renames;
use crate::systemd::{self, Notifier, Starts, Told};
use service_api::ownership::read_regular;
use service_api::{Code, Greeting, Problem, Project, routes};
use service_core::{Config, Moment, Name, Plan};
use service_shim::Files;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, watch};

/// How long open requests may take to end when the daemon does.
const LAST_ANSWERS: Duration = Duration::from_secs(1);
/// How long a daemon may take to begin an answer.
const ANSWERS_WITHIN: Duration = Duration::from_millis(500);
/// How long a daemon that ends may hold the lock after it has stopped answering.
const HANDOVER: Duration = Duration::from_secs(2);

/// How a daemon was started.
#[derive(Debug, Default)]
pub struct Circumstances {
    /// The Nushell that manager modules run in.
    pub nu: Option<PathBuf>,
    /// The unit of systemd that it is the process of, and what it starts when a session begins.
    pub unit: Option<(String, Starts)>,
    /// What systemd told it.
    pub told: Told,
    /// Whether it ends when nobody needs it: a command has started it, and the next one can start another.
    pub idle_exit: bool,
}

/// What every request may use.
pub(crate) struct Shared {
    pub(crate) orchestrator: ServiceOrchestrator,
    pub(crate) project: Project,
    pub(crate) began: Moment,
    /// A lock is right here: it is held for one read of `/proc`, never over an await.
    pub(crate) meter: Mutex<CpuMeter>,
    pub(crate) end: Notify,
    /// Held while a changed file is applied: two at once would undo each other.
    pub(crate) applying: Arc<tokio::sync::Mutex<()>>,
    pub(crate) source: Source,
    /// The unit of systemd that runs this daemon.
    pub(crate) unit: Option<String>,
    /// What the project's directory was called before.
    pub(crate) renames: Renames,
    /// Where the API is answered beside the socket, or why it is not. A lock is right here: it is held for a copy.
    pub(crate) listen: Mutex<Option<String>>,
}

impl Shared {
    /// Takes up a changed `services.toml`.
    pub(crate) async fn refresh(&self) -> Result<(), Problem> {
        if self.orchestrator.world().acceptance.look_at_trust() {
            self.orchestrator.accepted();
        }
        self.source.refresh(&self.orchestrator).await
    }

    /// Forgets those of these services, in no file, that are at rest, with their logs; tells which.
    pub(crate) async fn forget(&self, names: Vec<Name>) -> Result<Vec<Name>, Problem> {
        let gone = self.source.forget(&self.orchestrator, names).await?;
        for name in &gone {
            clear(&self.orchestrator.world().paths.files(name)).await;
        }
        Ok(gone)
    }
}

/// Removes what a service has left, once its shim has let go of it.
async fn clear(files: &Files) {
    let deadline = clock::now().plus(HANDOVER);
    while files.directory().is_dir() {
        match files.try_lock() {
            Ok(None) if clock::now() < deadline => tokio::time::sleep(Duration::from_millis(2)).await,
            Ok(Some(_lock)) => {
                if let Err(error) = std::fs::remove_dir_all(files.directory()) {
                    tracing::warn!(%error, "cannot remove what a service has left");
                }
                return;
            }
            Ok(None) | Err(_) => return,
        }
    }
}

/// What can become of a daemon before it listens.
enum Start {
    /// It listens.
    Up(Up),
    /// Another one owns the project.
    Taken,
}

/// A daemon that listens. The lock is held as long as this lives.
struct Up {
    shared: Arc<Shared>,
    listener: UnixListener,
    lock: Lock,
}

/// Runs until a signal or a request ends it. The first line of standard output says how it began.
pub async fn run(project: Project, how: Circumstances) -> io::Result<()> {
    // Fails for a process group leader, who needs no session of its own then.
    let _ = nix::unistd::setsid();
    let notifier = Notifier::new(&how.told);
    let mut began = start(project.clone(), &how).await;
    if let (Ok(Start::Taken), Some(_)) = (&began, &how.unit) {
        // Some shell has started one. Services do not mind, and systemd wants to look after it.
        retire(&project).await;
        began = start(project, &how).await;
    }
    match began {
        Ok(Start::Up(up)) => {
            let greeting =
                Greeting::Ready { pid: std::process::id(), socket: up.shared.project.socket.clone() };
            leave_record(&up.shared.project, &greeting);
            greet(&greeting)?;
            let idle_exit = how.idle_exit && how.unit.is_none();
            serve(up, notifier, how.unit.map(|(_, starts)| starts), idle_exit).await
        }
        Ok(Start::Taken) => {
            notifier.status("another daemon has the project and does not end");
            greet(&Greeting::Taken)
        }
        Err(problem) => {
            let problem = problem.redacted();
            notifier.status(&problem.message);
            let ended = io::Error::other(problem.message.clone());
            greet(&Greeting::Failed(problem))?;
            // Whoever supervises us goes by the exit status.
            Err(ended)
        }
    }
}

/// Somebody could not reach us: the socket's file may have been removed, or be no longer ours, which was this one.
fn listen_again(shared: &Arc<Shared>, ours: &mut Option<(u64, u64, u32)>) {
    let socket = &shared.project.socket;
    if ours.is_none() || identity(socket) != *ours {
        match bind(socket) {
            // This listener ends with the process; there is nothing to wait for.
            Ok(listener) => {
                *ours = identity(socket);
                drop(tokio::spawn(http::serve(listener, Arc::clone(shared), std::future::pending())));
            }
            Err(error) => tracing::error!(%error, "cannot listen again"),
        }
    }
    let greeting = Greeting::Ready { pid: std::process::id(), socket: shared.project.socket.clone() };
    leave_record(&shared.project, &greeting);
}

/// Which file that is, and who may use it.
fn identity(path: &Path) -> Option<(u64, u64, u32)> {
    std::fs::metadata(path).ok().map(|file| (file.dev(), file.ino(), file.mode()))
}

/// Clients that compute another socket path find this one here; on a full disk the others still do.
fn leave_record(project: &Project, greeting: &Greeting) {
    let record = serde_json::to_vec(greeting).map_err(io::Error::from);
    if let Err(error) = record.and_then(|record| write_private(&project.record(), &record)) {
        tracing::error!(%error, "cannot write down where it listens");
    }
}

/// Prints the one line that whoever started us waits for, and closes standard output.
fn greet(greeting: &Greeting) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{}", serde_json::to_string(greeting)?)?;
    stdout.flush()?;
    let null = File::options().write(true).open("/dev/null")?;
    Ok(nix::unistd::dup2_stdout(null)?)
}

async fn start(project: Project, how: &Circumstances) -> Result<Start, Problem> {
    let cannot = |what: &str, path: &Path, error: io::Error| {
        Problem::of_io(&error, format!("cannot {what} `{}`: {error}", path.display()))
    };
    private_dir(&project.state_dir)
        .map_err(|error| cannot("use the state directory", &project.state_dir, error))?;
    let lock = match settle_who(&project).await {
        Ok(Some(lock)) => lock,
        Ok(None) => return Ok(Start::Taken),
        Err(error) => return Err(cannot("lock the state directory", &project.state_dir, error)),
    };
    if let Err(error) = disk::write_now(&project.note(), project.config.as_os_str().as_encoded_bytes()) {
        tracing::warn!(%error, "cannot write down which project this is");
    }
    let began = clock::now();
    let boot_id = service_shim::process::boot_id()
        .map_err(|error| cannot("tell the boot for", &project.state_dir, error))?;
    let disk = Disk::default();
    let acceptance = Arc::new(Acceptance::open(&project.state_dir, &project.config, disk.clone()));
    let mut additions = Additions::open(&project.state_dir, &boot_id, disk.clone())
        .map_err(|error| cannot("read what was added in", &project.state_dir, error))?;
    let (plan, read) = match load::plan_for(&acceptance, &project.config, additions.all()) {
        Ok(plan) => (plan, Ok(())),
        // What runs must be seen, and can be stopped, whatever became of the file.
        // Here it is not the file: whoever comes when there is room reads it.
        Err(problem) if lacks_descriptors(&project.config) => return Err(problem),
        Err(problem) if offline::is_anything_running(&project.state_dir) => {
            tracing::error!(%problem, "cannot read the file; looking after what runs");
            let nothing = Plan::compile(Config::default())
                .map_err(|_| Problem::new(Code::Internal, "cannot make an empty plan"))?;
            (nothing, Err(problem))
        }
        Err(problem) => return Err(notes::unless_gone(&project, problem)),
    };
    additions.drop_defined(&plan);
    let source = Source::new(project.config.clone(), additions, read);
    let mut builder = ServiceOrchestrator::builder()
        .state_dir(&project.state_dir)
        .project(&project.config)
        .base_dir(project.config.parent().unwrap_or(Path::new("/")))
        .acceptance(acceptance)
        .fallback_state_file(project.refuge())
        .disk(disk)
        .descriptors(crate::host::descriptors::raise())
        .nu(how.nu.clone());
    let orchestrator = builder.start_plan(plan).await?;
    let listener = bind(&project.socket).map_err(|error| cannot("listen at", &project.socket, error))?;
    tracing::info!(project = %project.config.display(), socket = %project.socket.display(), "listening");
    let (meter, end, applying, listen, renames) = Default::default();
    let unit = how.unit.as_ref().map(|(unit, _)| unit.clone());
    let shared = Arc::new(Shared {
        orchestrator,
        project,
        began,
        meter,
        end,
        applying,
        source,
        unit,
        renames,
        listen,
    });
    Ok(Start::Up(Up { shared, listener, lock }))
}

/// Whether a file cannot be read for want of descriptors.
fn lacks_descriptors(file: &Path) -> bool {
    // A pipe in its place keeps nobody waiting.
    read_regular(file, 0).is_err_and(|error| crate::host::descriptors::is_short(&error))
}

/// The lock, unless a daemon that answers holds it. One that is just ending holds it without answering, and is waited for.
/// One that answers and does not hold it lives all the same: its state directory was deleted.
async fn settle_who(project: &Project) -> io::Result<Option<Lock>> {
    let deadline = clock::now().plus(HANDOVER);
    loop {
        let claim = lock(&project.state_dir)?;
        let answers = answers(&project.socket).await;
        let over = clock::now() >= deadline;
        match (claim, answers) {
            (Claim::Ours(lock), false) => return Ok(Some(lock)),
            (Claim::Theirs(_), true) if lock::has_file(&project.state_dir) => return Ok(None),
            (Claim::Ours(_), true) if over => return Ok(None),
            // Also one that answers takes its lock back, whose file was deleted.
            (Claim::Theirs(pid), answers) if over || answers => return call_back(pid).map(|()| None),
            (Claim::Ours(_) | Claim::Theirs(_), _) => tokio::time::sleep(Duration::from_millis(2)).await,
        }
    }
}

/// Whether somebody answers there. To be let in says nothing: that goes on for a moment after a daemon was killed.
async fn answers(socket: &Path) -> bool {
    let ask = async {
        let mut stream = UnixStream::connect(socket).await?;
        let request = format!("GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n", routes::VERSION);
        stream.write_all(request.as_bytes()).await?;
        stream.read_u8().await
    };
    tokio::time::timeout(ANSWERS_WITHIN, ask).await.is_ok_and(|answer| answer.is_ok())
}

/// Asks the daemon that has the project to end, wherever it listens.
async fn retire(project: &Project) {
    let record = std::fs::read(project.record()).ok().and_then(|json| serde_json::from_slice(&json).ok());
    let socket = match record {
        Some(Greeting::Ready { socket, .. }) => socket,
        _ => project.socket.clone(),
    };
    let ask = async {
        let mut stream = UnixStream::connect(&socket).await?;
        let path = routes::DAEMON_STOP;
        let request = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        stream.read_u8().await
    };
    match tokio::time::timeout(HANDOVER, ask).await {
        Ok(Ok(_)) => {
            tracing::info!("the daemon that had the project ends");
            let deadline = clock::now().plus(HANDOVER);
            while answers(&socket).await && clock::now() < deadline {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
        Ok(Err(error)) => tracing::warn!(%error, "cannot ask the daemon that has the project to end"),
        Err(_) => tracing::warn!("the daemon that has the project does not answer"),
    }
}

/// Asks a daemon that runs but cannot be reached, because its socket's file is gone, to listen again.
fn call_back(pid: Option<i32>) -> io::Result<()> {
    let pid = pid.ok_or_else(|| io::Error::other("another daemon has it, and does not say which"))?;
    tracing::warn!(pid, "a daemon runs and does not answer; asking it to listen again");
    Ok(nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGHUP)?)
}

/// Binds the socket in a directory that nobody else may enter, so there is no moment at which it is open to others.
fn bind(socket: &Path) -> io::Result<UnixListener> {
    let directory = socket.parent().unwrap_or(Path::new("/"));
    private_dir(directory)?;
    // It gets its name when it is as it should be.
    let fresh = idle::aside(socket);
    match std::fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&fresh)?;
    std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&fresh, socket)?;
    Ok(listener)
}

async fn serve(up: Up, notifier: Notifier, session: Option<Starts>, idle_exit: bool) -> io::Result<()> {
    let Up { shared, listener, mut lock } = up;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let (ended, mut end) = watch::channel(());
    // It never changes; it is over when its sender is dropped.
    let server = http::serve(listener, Arc::clone(&shared), async move { drop(end.changed().await) });
    let server = tokio::spawn(server);
    let remote = tokio::spawn(door::keep(Arc::clone(&shared), ended.subscribe()));
    let collector = tokio::spawn(collector::run(Arc::clone(&shared)));
    let thrift = tokio::spawn(thrift::run(Arc::clone(&shared)));
    let holder = tokio::spawn(lock.answer());
    let reporter = tokio::spawn(systemd::report(notifier.clone(), Arc::clone(&shared)));
    notifier.ready();
    let orchestrator = shared.orchestrator.clone();
    tokio::spawn(async move { orchestrator.warm().await });
    if let Some(starts) = &session {
        systemd::begin(&shared, starts);
    }
    let mut socket = identity(&shared.project.socket);
    let mut idle = pin!(idle::over(&shared));
    loop {
        tokio::select! {
            _ = terminate.recv() => {
                if session.is_some() && systemd::is_leaving().await {
                    notifier.stopping();
                    leave(&shared).await;
                }
                break;
            }
            _ = interrupt.recv() => break,
            () = shared.end.notified() => break,
            () = &mut idle, if idle_exit => break,
            _ = hangup.recv() => {
                notifier.reloading();
                lock.renew();
                listen_again(&shared, &mut socket);
                let _ = shared.refresh().await;
                notifier.ready();
            }
        }
    }
    notifier.stopping();
    reporter.abort();
    collector.abort();
    holder.abort();
    thrift.abort();
    // First whoever waits for a service is told, so that open requests can end.
    shared.orchestrator.shutdown().await;
    drop(ended);
    let _ = tokio::time::timeout(LAST_ANSWERS, async { tokio::join!(server, remote) }).await;
    let _ = std::fs::remove_file(&shared.project.socket);
    let _ = std::fs::remove_file(idle::aside(&shared.project.socket));
    let _ = std::fs::remove_file(shared.project.record());
    tracing::info!("ended; services live on");
    Ok(())
}

/// The session ends, and would end the services without order: they are stopped as they should be, and come back with the
/// next one.
async fn leave(shared: &Shared) {
    tracing::info!("the session ends; stopping the services");
    systemd::note_who_ran(shared);
    let wish = Wish { all: true, ..Wish::new(Verb::Stop, Vec::new()).for_command("logout").by("daemon") };
    match shared.orchestrator.wish(wish).await {
        Ok(mut rows) => while rows.recv().await.is_some() {},
        Err(problem) => tracing::error!(%problem, "cannot stop the services"),
    }
}
