//! One call: a fresh Nushell without configuration, with few variables, a deadline, and only so much output.

use super::answer::Answer;
use super::lane::{Lane, waits};
use super::module::{assure, author};
use super::record;
use super::words::{Author, readable};
use crate::host::acceptance::accepted_nu;
use crate::probe::exec::{Group, Most, Output};
use crate::world::World;
use serde::de::DeserializeOwned;
use serde_json::Value;
use service_api::quoted;
use service_core::config::Settings;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::process::{ChildStdin, Command};

/// Variables of the daemon's own environment that a manager is given.
const PASSED_ON: [&str; 7] =
    ["PATH", "HOME", "USER", "LANG", "TERM", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS"];

/// Those that a manager of containers is given: also where engines are, and where they look for their settings.
const OF_ENGINES: [&str; 15] = [
    "PATH",
    "HOME",
    "USER",
    "LANG",
    "TERM",
    "XDG_RUNTIME_DIR",
    "DBUS_SESSION_BUS_ADDRESS",
    "CONTAINER_HOST",
    "CONTAINERS_CONF",
    "CONTAINERS_STORAGE_CONF",
    "DOCKER_CONFIG",
    "DOCKER_CONTEXT",
    "DOCKER_HOST",
    "REGISTRY_AUTH_FILE",
    "XDG_CONFIG_HOME",
];

/// So much may be written to stdout, and so much to stderr.
const MOST: usize = 1 << 20;
/// Logs may be long by nature, and go into a file.
pub(super) const MOST_OF_LOGS: usize = 8 << 20;

/// A command of a module, and what it is given.
pub(super) struct Call<'a> {
    pub(super) module: &'a Path,
    pub(super) command: &'a str,
    /// JSON.
    pub(super) input: &'a [u8],
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The module raised an error.
    Raised { msg: String, help: Option<String>, author: Author },
    /// It told more of a log than it may.
    TooMuch,
    /// Anything else, in our words.
    Failed(String),
}

impl Trouble {
    /// A manager may say "cannot start `web`: why"; whoever shows it says so too.
    pub(super) fn about(self, command: &str, service: &str) -> String {
        match self {
            Self::Raised { msg, help, author } => {
                author.mark(with_help(without(command, service, &msg).to_owned(), help))
            }
            other => other.plain(),
        }
    }

    /// As it was said.
    pub(super) fn plain(self) -> String {
        match self {
            Self::Failed(message) => message,
            Self::TooMuch => format!("it has more than {} MiB", MOST_OF_LOGS >> 20),
            Self::Raised { msg, help, author } => author.mark(with_help(msg, help)),
        }
    }

    /// What a module's `{error: {msg, help}}` says.
    pub(super) fn read(error: &Value, author: Author) -> Self {
        let word = |key: &str| error["error"][key].as_str().map(readable);
        match word("msg") {
            // An error without words is one that was made without them.
            Some(msg) if !msg.trim().is_empty() => Self::Raised { msg, help: word("help"), author },
            _ => Self::Failed("its manager failed and did not say why".to_owned()),
        }
    }
}

/// A message without what whoever shows it says.
pub(super) fn without<'m>(doing: &str, service: &str, message: &'m str) -> &'m str {
    message.strip_prefix(&format!("cannot {doing} `{service}`: ")).unwrap_or(message)
}

fn with_help(msg: String, help: Option<String>) -> String {
    match help.filter(|help| !help.is_empty()) {
        Some(help) => format!("{msg} ({help})"),
        None => msg,
    }
}

impl Call<'_> {
    /// What it sees of the daemon's environment.
    fn passed_on(&self) -> &'static [&'static str] {
        let is_engine = self.module.file_stem().is_some_and(|name| name == "podman" || name == "docker");
        if is_engine { &OF_ENGINES } else { &PASSED_ON }
    }

    /// Makes it, and reads what it answers.
    pub(super) async fn make<T: Answer>(&self, world: &World, settings: &Settings) -> Result<T, Trouble> {
        let (module, command) = (self.module.display(), self.command);
        let author = author(&world.paths, self.module);
        let nu = nu(world, settings);
        let script =
            self.script("print $\"(char nl)($env.SERVICE_CALL_ID) ({ok: $answer} | to json --raw)\"");
        let process = OnceLock::new();
        let shell = Shell { nu: &nu, passed_on: self.passed_on(), process: &process };
        let answer = self.within(world, settings, &process, shell.run(&script, self.input, MOST)).await?;
        let answered = match serde_json::from_str::<Value>(&answer.json) {
            Ok(mut answer) => match answer.get_mut("ok") {
                Some(ok) => T::read(ok.take(), author),
                None => return Err(Trouble::read(&answer, author)),
            },
            Err(_) => {
                return Err(Trouble::Failed(format!("its manager `{module}` failed: {}", answer.said())));
            }
        };
        answered.map_err(|wrong| {
            Trouble::Failed(format!("its manager `{module}` answers `{command}` wrongly: {wrong}"))
        })
    }

    /// Has the lines of a log told into a file.
    pub(super) async fn record(
        &self,
        world: &World,
        settings: &Settings,
    ) -> Result<record::Printed, Trouble> {
        let file = tempfile::tempfile_in(&world.paths.state_dir).map_err(|error| {
            Trouble::Failed(format!(
                "there is no room for it in {}: {error}",
                world.paths.state_dir.display()
            ))
        })?;
        let script = self.script(
            "if ($answer | describe --no-collect) !~ '^(list|table|nothing)' { \
                 print $\"(char nl)($env.SERVICE_CALL_ID) ({error: {msg: 'its manager should answer `logs` with a list of lines'}} | to json --raw)\" \
             } else { \
                 print $\"(char nl)($env.SERVICE_CALL_ID) lines\"; \
                 $answer | each {|line| $line | to json --raw } | str join (char nl) | print; \
                 print $\"(char nl)($env.SERVICE_CALL_ID) end\" \
             }",
        );
        let nu = nu(world, settings);
        let process = OnceLock::new();
        let shell = Shell { nu: &nu, passed_on: self.passed_on(), process: &process };
        self.within(world, settings, &process, shell.tell(&script, self.input, file)).await
    }

    /// Calls the command, and does `then` with its `$answer`.
    fn script(&self, then: &str) -> String {
        // A raw string takes every character that a path may have, short of `'###`.
        let (module, command) = (self.module.display(), self.command);
        let times = if command == "logs" {
            " | if $in.since? != null { update since { into datetime } } else { insert since null }"
        } else {
            ""
        };
        // Of an error of Nushell's own the place in the module is the better half, and its help is shown with it.
        // What a program of the module prints may end without a newline, and may look like anything.
        format!(
            "let input = $in | from json{times}; use r###'{module}'### *; \
             try {{ let answer = ($input | {command}); {then} }} \
             catch {{|e| let own = $e.details?.code? | default '' | str starts-with 'nu::'; \
             let told = {{error: {{msg: (if $own {{ $e.rendered }} else {{ $e.msg }}), help: (if not $own {{ $e.details?.help? }})}}}}; \
             print $\"(char nl)($env.SERVICE_CALL_ID) ($told | to json --raw)\" }}"
        )
    }

    /// Which of the lanes it goes by.
    fn lane(&self, world: &World) -> Arc<Lane> {
        match self.command {
            "start" | "stop" | "restart" => world.managers.acts.of(self.module),
            _ => world.managers.questions.of(self.module),
        }
    }

    /// Waits for its turn, and no longer than a call may take.
    async fn within<T>(
        &self,
        world: &World,
        settings: &Settings,
        process: &OnceLock<u32>,
        work: impl Future<Output = io::Result<T>>,
    ) -> Result<T, Trouble> {
        assure(&world.paths, self.module).map_err(Trouble::Failed)?;
        let (limit, command) = (settings.manager_timeout, self.command);
        let work = async { tokio::time::timeout(limit, work).await };
        match self.lane(world).pass(settings.manager_parallel, work, waits(process)).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) if error.kind() == ErrorKind::FileTooLarge && command == "logs" => {
                Err(Trouble::TooMuch)
            }
            Ok(Err(error)) => {
                Err(Trouble::Failed(format!("its manager was to answer `{command}`, but {error}")))
            }
            Err(_) => Err(Trouble::Failed(self.late(limit))),
        }
    }

    /// That there was no answer in time, in words for who wrote the command.
    fn late(&self, limit: Duration) -> String {
        let own = self.module.file_stem().is_some_and(|name| name == "command");
        match self.command {
            "start" if own => format!(
                "`start_command` did not end within {limit:?} and was ended: with `manager = \"command\"` it has to end; \
                 for a program that stays say `manager = \"process\"`"
            ),
            command => format!("its manager did not answer `{command}` within {limit:?}"),
        }
    }
}

/// Has Nushell look at a module: the answer of `script`, which is an expression.
pub(super) async fn inspect<T: DeserializeOwned>(
    world: &World,
    settings: &Settings,
    module: &Path,
    expression: &str,
) -> Result<T, String> {
    assure(&world.paths, module)?;
    let shown = module.display();
    let script = format!(
        "use r###'{shown}'### *; print $\"(char nl)($env.SERVICE_CALL_ID) ({expression} | to json --raw)\""
    );
    let process = OnceLock::new();
    let shell = Shell { nu: &nu(world, settings), passed_on: &PASSED_ON, process: &process };
    let run = async { tokio::time::timeout(settings.manager_timeout, shell.run(&script, b"", MOST)).await };
    let lane = world.managers.questions.of(module);
    let answer = lane.pass(settings.manager_parallel, run, waits(&process)).await;
    let answer = answer.map_err(|_| format!("its manager `{shown}` cannot be read: it takes too long"))?;
    let answer = answer.map_err(|error| format!("its manager `{shown}` cannot be read: {error}"))?;
    serde_json::from_str(&answer.json).map_err(|_| format!("its manager `{shown}` failed: {}", answer.said()))
}

/// What a call printed: its answer, and all else.
struct Printed {
    json: String,
    output: Output,
}

impl Printed {
    /// What it printed instead of an answer.
    fn said(&self) -> String {
        let said = [self.output.stderr.trim(), self.output.stdout.trim()];
        let said = said.into_iter().find(|said| !said.is_empty());
        said.map_or_else(
            || format!("it ended with {} and no answer", self.output.status),
            |said| quoted(&readable(said)),
        )
    }
}

fn nu(world: &World, settings: &Settings) -> PathBuf {
    let named = accepted_nu(&world.acceptance, settings).map(|nu| world.paths.base_dir.join(nu));
    named.filter(|nu| nu.is_file()).or_else(|| world.paths.nu.clone()).unwrap_or_else(|| "nu".into())
}

/// A Nushell for one call.
struct Shell<'a> {
    nu: &'a Path,
    passed_on: &'a [&'a str],
    /// Its process, when it has one.
    process: &'a OnceLock<u32>,
}

impl Shell<'_> {
    async fn run(&self, script: &str, input: &[u8], most: usize) -> io::Result<Printed> {
        let mut group = self.spawn(script)?;
        let (stdin, prefix) = (group.stdin(), format!("\n{} ", group.call_id()));
        let ((), output) = tokio::join!(feed(stdin, input), group.finish(Most::Within(most)));
        let output = output?;
        // What a start command puts in the background is the service.
        group.leave();
        let answer = output.stdout.rsplit_once(&prefix).and_then(|(_, answer)| answer.lines().next());
        Ok(Printed { json: answer.unwrap_or_default().to_owned(), output })
    }

    async fn tell(&self, script: &str, input: &[u8], file: File) -> io::Result<record::Printed> {
        let (mut group, file) = (self.spawn(script)?, Arc::new(file));
        let (stdin, call_id) = (group.stdin(), format!("{} ", group.call_id()));
        let told = group.finish_into(Arc::clone(&file), MOST_OF_LOGS);
        let ((), output) = tokio::join!(feed(stdin, input), told);
        let output = output?;
        group.leave();
        let said = match output.stderr.trim() {
            "" => format!("it ended with {} and no answer", output.status),
            said => said.to_owned(),
        };
        // Whoever writes into it still has one of its own.
        let file = Arc::try_unwrap(file).or_else(|file| file.try_clone())?;
        Ok(record::Printed { file, call_id, said })
    }

    fn spawn(&self, script: &str) -> io::Result<Group> {
        let passed_on = self.passed_on.iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
        let mut command = Command::new(self.nu);
        command
            .args(["--no-config-file", "--no-std-lib", "--stdin", "-c", script])
            .env_clear()
            .envs(passed_on)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let group = Group::spawn(command).map_err(|error| {
            io::Error::other(format!("cannot run Nushell (`{}`) for it: {error}", self.nu.display()))
        })?;
        if let Some(pid) = group.leader() {
            let _ = self.process.set(pid);
        }
        Ok(group)
    }
}

async fn feed(stdin: Option<ChildStdin>, input: &[u8]) {
    if let Some(mut stdin) = stdin {
        let _ = stdin.write_all(input).await;
    }
}
