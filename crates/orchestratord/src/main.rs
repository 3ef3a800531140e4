//! `orchestratord`: the daemon of one project, and commands that read the project's files without a daemon.

mod check;
mod containers;
mod daemon;
mod offline;
mod prune;
mod systemd;

use daemon::DaemonOptions;
use lexopt::prelude::*;
use service_api::finding::{Finding, Severity};
use service_api::project::{Environment, home_directory, memory_directories, system_home};
use service_api::{Envelope, Problem, Project, StartupMessage, printable};
use service_config::{init, load};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use systemd::{StartSet, StartTrigger, SystemdEnv};

const HELP: &str = "\
Usage: orchestratord <command> [--config FILE] [names...]

  run [--nu PROGRAM]  run the daemon of this project in the foreground; in a systemd unit: --unit NAME, --auto, --all, names;
                      [--idle-exit] exit when unused, like a daemon that a command has started
  list                list the definitions of services
  order [names...]    show the start order
  events [names...]   show numbered events: [--since SEQ|TIME] [--limit N] [--by ACTOR]
  history [names...]  show events and results of health checks: [--since SEQ|TIME] [--starts]
  graph [names...]    show the dependency graph: [--format tree|mermaid|dot]
  check [--nu PROGRAM]  show errors and warnings of the file; exit code 1 if there is an error
  init [--force]      write a first services.toml, here or to the file of --config
  projects [--prune]  list this user's projects with running services or without a file; --prune deletes the state of
                      projects without a file and without running services
  defaults            show every setting with its default
  enable [names...]   let systemd run the daemon and start these services with it, or --all, else those with `auto = true`;
                      [--boot] not only at login, [--now] also at once
  disable             revert `enable`

All but run and defaults print JSON, and need no daemon. The project is --config, else $SERVICES_CONFIG, else the nearest services.toml upward.";

/// The maximum number of threads for blocking work: files, names, processes. Readers of logs and of the journal have
/// separate limits.
const MAX_BLOCKING_THREADS: usize = 64;
/// The time limit for these threads to end when the process ends.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

/// The command line.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "the fields are flags of a command line")]
struct Arguments {
    command: String,
    config: Option<PathBuf>,
    nu: Option<PathBuf>,
    unit: Option<String>,
    idle_exit: bool,
    starts: bool,
    all: bool,
    trigger: StartTrigger,
    now: bool,
    force: bool,
    prune: bool,
    format: Option<String>,
    asked: offline::RowSelection,
}

fn main() -> ExitCode {
    match arguments() {
        Ok(arguments) => dispatch(arguments),
        Err(error) => {
            eprintln!("orchestratord: {}\n\n{HELP}", printable(&error.to_string()));
            ExitCode::from(2)
        }
    }
}

fn arguments() -> Result<Arguments, lexopt::Error> {
    let mut parser = lexopt::Parser::from_env();
    let mut arguments = Arguments::default();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("config") => arguments.config = Some(parser.value()?.into()),
            Long("nu") => arguments.nu = Some(parser.value()?.into()),
            Long("since") => arguments.asked.since = Some(parser.value()?.string()?),
            Long("limit") => arguments.asked.limit = Some(parser.value()?.parse()?),
            Long("by") => arguments.asked.by = Some(parser.value()?.string()?),
            Long("unit") => arguments.unit = Some(parser.value()?.string()?),
            // `--auto` is the default: the services with `auto = true`.
            Long("auto") => {}
            Long("idle-exit") => arguments.idle_exit = true,
            Long("all") => arguments.all = true,
            Long("boot") => arguments.trigger = StartTrigger::Boot,
            Long("now") => arguments.now = true,
            Long("starts") => arguments.starts = true,
            Long("prune") => arguments.prune = true,
            Long("force") => arguments.force = true,
            Long("format") => arguments.format = Some(parser.value()?.string()?),
            Long("help") | Short('h') => "help".clone_into(&mut arguments.command),
            Long("version") | Short('V') => "version".clone_into(&mut arguments.command),
            Value(word) if arguments.command.is_empty() => arguments.command = word.string()?,
            Value(name) => arguments.asked.names.push(name.string()?),
            _ => return Err(argument.unexpected()),
        }
    }
    Ok(arguments)
}

fn dispatch(arguments: Arguments) -> ExitCode {
    match arguments.command.as_str() {
        "help" => println!("{HELP}"),
        "version" => println!("orchestratord {}", env!("CARGO_PKG_VERSION")),
        "defaults" => print!("{}", load::DEFAULTS),
        "run" => return run(arguments),
        "enable" => {
            return print(project(&arguments).and_then(|project| {
                let starts = StartSet::from_arguments(arguments.all, arguments.asked.names.clone());
                systemd::enable(&project, arguments.nu.as_deref(), &starts, arguments.trigger, arguments.now)
            }));
        }
        "disable" => return print(project(&arguments).and_then(|project| systemd::disable(&project))),
        "projects" if arguments.prune => return print(with_environment(prune::prune)),
        "projects" => return print(with_environment(offline::projects)),
        "list" => return print(project(&arguments).and_then(|project| offline::list(&project))),
        "order" => {
            return print(
                project(&arguments).and_then(|project| offline::order(&project, &arguments.asked.names)),
            );
        }
        "events" => {
            return print(
                project(&arguments).and_then(|project| offline::events(&project, &arguments.asked)),
            );
        }
        "history" if arguments.starts => {
            return print(
                project(&arguments).and_then(|project| offline::starts(&project, &arguments.asked)),
            );
        }
        "history" => {
            return print(
                project(&arguments).and_then(|project| offline::history(&project, &arguments.asked)),
            );
        }
        "graph" => {
            let names = &arguments.asked.names;
            return match &arguments.format {
                Some(format) => {
                    print(project(&arguments).and_then(|project| offline::drawing(&project, names, format)))
                }
                None => print(project(&arguments).and_then(|project| offline::graph(&project, names))),
            };
        }
        "check" => return check(&arguments),
        "init" => return print(init::write(arguments.config.as_deref(), arguments.force)),
        other => {
            eprintln!("orchestratord: there is no command `{}`\n\n{HELP}", printable(other));
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

/// Prints the findings. An error in the file makes the exit code 1, for CI.
fn check(arguments: &Arguments) -> ExitCode {
    let findings = project(arguments).map(|project| check::check(&project, arguments.nu.clone()));
    let is_error = |finding: &Finding| finding.severity == Severity::Error;
    let wrong = findings.as_ref().is_ok_and(|findings| findings.iter().any(is_error));
    let code = print(findings);
    if wrong { ExitCode::FAILURE } else { code }
}

fn project(arguments: &Arguments) -> Result<Project, Problem> {
    with_environment(|around| Project::find(arguments.config.as_deref(), around))
}

fn with_environment<T>(run: impl FnOnce(&Environment<'_>) -> Result<T, Problem>) -> Result<T, Problem> {
    // The kernel has no path for a deleted directory, but the variable may still have it.
    let named = || std::env::var_os("PWD").map(PathBuf::from).filter(|named| named.is_absolute());
    let cwd = std::env::current_dir().ok().or_else(|| named().filter(|named| !named.exists()));
    let env = |name: &str| {
        let variable = std::env::var_os(name);
        if name == "HOME" { home_directory(variable, system_home) } else { variable }
    };
    let uid = nix::unistd::geteuid().as_raw();
    run(&Environment { env: &env, cwd: &cwd.unwrap_or_default(), uid, runs: &offline::runs })
}

fn run(arguments: Arguments) -> ExitCode {
    use tracing_subscriber::EnvFilter;
    // The daemon outlives its parent process, so it must not keep the descriptors of the parent open.
    service_shim::close_fds::close_all();
    let systemd_env = SystemdEnv::read_and_remove();
    let filter = EnvFilter::try_from_env("ORCHESTRATORD_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| Redacting(std::io::stderr()))
        .with_ansi(colours)
        // A failed write of the log would be reported on standard error as well, where a second failure would end the
        // process.
        .log_internal_errors(false)
        .init();
    let project = match project(&arguments) {
        Ok(project) => project,
        Err(problem) => return print::<()>(Err(problem)),
    };
    if arguments.unit.is_none() && systemd::start_instead(&project) {
        return report_already_running();
    }
    let starts = StartSet::from_arguments(arguments.all, arguments.asked.names);
    let (unit, idle_exit) = (arguments.unit.map(|unit| (unit, starts)), arguments.idle_exit);
    let memory_directories = match with_environment(|around| Ok(memory_directories(around))) {
        Ok(directories) => directories,
        Err(problem) => return print::<()>(Err(problem)),
    };
    let options =
        DaemonOptions { nu: arguments.nu, unit, systemd: systemd_env, idle_exit, memory_directories };
    limit_malloc_arenas();
    // Services, checks and managers do not inherit the umask of the shell that started the daemon.
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(MAX_BLOCKING_THREADS)
        .enable_all()
        .build();
    let ended = runtime.and_then(|runtime| {
        let ended = runtime.block_on(daemon::run(project, options));
        // The result of blocking work that still runs is not needed any more.
        runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
        ended
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("orchestratord: {}", printable(&error.to_string()));
            ExitCode::FAILURE
        }
    }
}

/// Reports to the parent process that another daemon of the project runs.
fn report_already_running() -> ExitCode {
    match serde_json::to_string(&StartupMessage::AlreadyRunning) {
        Ok(line) => println!("{line}"),
        Err(error) => eprintln!("orchestratord: cannot write the startup message: {error}"),
    }
    ExitCode::SUCCESS
}

fn print<T: serde::Serialize>(result: Result<T, Problem>) -> ExitCode {
    let (envelope, code) = match result {
        Ok(data) => (Envelope::success(data), ExitCode::SUCCESS),
        Err(problem) => (Envelope::failure(problem.redacted()), ExitCode::FAILURE),
    };
    match serde_json::to_string(&envelope) {
        Ok(json) => println!("{}", service_api::printable::json(json)),
        Err(error) => eprintln!("orchestratord: cannot write the answer: {error}"),
    }
    code
}

/// Standard error, without secrets and terminal escapes. Each write is one complete line.
struct Redacting(std::io::Stderr);

impl std::io::Write for Redacting {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        self.0.write_all(service_api::printable::coloured(&service_api::redact(&text)).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

/// Limits the number of glibc's arenas: glibc retains an arena for each short-lived thread otherwise.
fn limit_malloc_arenas() {
    #[cfg(target_env = "gnu")]
    {
        const MAX_ARENAS: i32 = 2;
        #[expect(unsafe_code, reason = "nix has no function for mallopt")]
        // SAFETY: the arguments are two numbers, and there is no other thread yet.
        unsafe {
            nix::libc::mallopt(nix::libc::M_ARENA_MAX, MAX_ARENAS)
        };
    }
}
