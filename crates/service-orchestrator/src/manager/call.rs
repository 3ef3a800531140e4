//! One call: a fresh Nushell without configuration, with few variables, a deadline, and only so much output.

use super::lane::{Lane, waits};
use crate::probe::exec::{Group, Most, Output};
use crate::world::World;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use service_core::config::Settings;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, OnceLock};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

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
/// The same for logs, which may be long by nature.
const MOST_OF_LOGS: usize = 8 << 20;

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
    Raised { msg: String, help: Option<String> },
    /// Anything else, in our words.
    Failed(String),
}

impl Trouble {
    /// A manager may say "cannot start `web`: why"; whoever shows it says so too.
    pub(super) fn about(self, command: &str, service: &str) -> String {
        match self {
            Self::Failed(message) => message,
            Self::Raised { msg, help } => {
                let prefix = format!("cannot {command} `{service}`: ");
                let msg = msg.strip_prefix(&prefix).unwrap_or(&msg).to_owned();
                with_help(msg, help)
            }
        }
    }

    /// As it was said.
    pub(super) fn plain(self) -> String {
        match self {
            Self::Failed(message) => message,
            Self::Raised { msg, help } => with_help(msg, help),
        }
    }
}

fn with_help(msg: String, help: Option<String>) -> String {
    match help.filter(|help| !help.is_empty()) {
        Some(help) => format!("{msg} ({help})"),
        None => msg,
    }
}

/// What the call prints: one of the two.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer<T> {
    Ok(T),
    Error { msg: String, help: Option<String> },
}

impl Call<'_> {
    /// What it sees of the daemon's environment.
    fn passed_on(&self) -> &'static [&'static str] {
        let is_engine = self.module.file_stem().is_some_and(|name| name == "podman" || name == "docker");
        if is_engine { &OF_ENGINES } else { &PASSED_ON }
    }

    /// Makes it, and reads what it answers.
    pub(super) async fn make<T: DeserializeOwned>(
        &self,
        world: &World,
        settings: &Settings,
    ) -> Result<T, Trouble> {
        let (module, command) = (self.module.display(), self.command);
        let answer = self.run(world, settings, &self.script()).await?;
        match serde_json::from_str(&answer.json) {
            Ok(Answer::Ok(answer)) => Ok(answer),
            Ok(Answer::Error { msg, help }) => Err(Trouble::Raised { msg, help }),
            Err(_) if answer.json.is_empty() => {
                Err(Trouble::Failed(format!("its manager `{module}` failed: {}", answer.said())))
            }
            Err(error) => Err(Trouble::Failed(format!(
                "its manager `{module}` should answer `{command}` as docs/managers.md says: {}: {}",
                // Where in our own line that is helps nobody.
                error.to_string().split(" at line ").next().unwrap_or_default(),
                shortened(&answer.json),
            ))),
        }
    }

    fn script(&self) -> String {
        // A raw string takes every character that a path may have, short of `'###`.
        let (module, command) = (self.module.display(), self.command);
        let times = if command == "logs" {
            " | if $in.since? != null { update since { into datetime } } else { insert since null }"
        } else {
            ""
        };
        // Of an error of Nushell's own the place in the module is the better half.
        // What a program of the module prints may end without a newline, and may look like anything.
        format!(
            "let input = $in | from json{times}; use r###'{module}'### *; \
             let answer = try {{ {{ok: ($input | {command})}} | to json --raw }} \
             catch {{|e| let own = $e.details?.code? | default '' | str starts-with 'nu::'; \
             {{error: {{msg: (if $own {{ $e.rendered }} else {{ $e.msg }}), help: $e.details?.help?}}}} | to json --raw }}; \
             print $\"(char nl)($env.SERVICE_CALL_ID) ($answer)\""
        )
    }

    /// Which of the lanes it goes by.
    fn lane(&self, world: &World) -> Arc<Lane> {
        match self.command {
            "start" | "stop" | "restart" => world.managers.acts.of(self.module),
            _ => world.managers.questions.of(self.module),
        }
    }

    async fn run(&self, world: &World, settings: &Settings, script: &str) -> Result<Printed, Trouble> {
        let most = if self.command == "logs" { MOST_OF_LOGS } else { MOST };
        let (limit, process) = (settings.manager_timeout, OnceLock::new());
        let shell = Shell { nu: &nu(world, settings), passed_on: self.passed_on(), process: &process };
        let run = async { tokio::time::timeout(limit, shell.run(script, self.input, most)).await };
        let answer = self.lane(world).pass(settings.manager_parallel, run, waits(&process)).await;
        let command = self.command;
        answer
            .map_err(|_| Trouble::Failed(format!("its manager did not answer `{command}` within {limit:?}")))?
            .map_err(|error| Trouble::Failed(format!("its manager was to answer `{command}`, but {error}")))
    }
}

/// Has Nushell look at a module: the answer of `script`, which is an expression.
pub(super) async fn inspect<T: DeserializeOwned>(
    world: &World,
    settings: &Settings,
    module: &Path,
    expression: &str,
) -> Result<T, String> {
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
        said.map_or_else(|| format!("it ended with {} and no answer", self.output.status), str::to_owned)
    }
}

fn shortened(text: &str) -> String {
    const MOST_SHOWN: usize = 300;
    match text.char_indices().nth(MOST_SHOWN) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

fn nu(world: &World, settings: &Settings) -> PathBuf {
    let named = settings.nu.as_ref().map(|nu| world.places.base_dir.join(nu));
    named.filter(|nu| nu.is_file()).or_else(|| world.places.nu.clone()).unwrap_or_else(|| "nu".into())
}

/// A Nushell for one call.
struct Shell<'a> {
    nu: &'a Path,
    passed_on: &'a [&'a str],
    /// Its process, when it has one.
    process: &'a OnceLock<u32>,
}

impl Shell<'_> {
    async fn run(&self, script: &str, input: &[u8], most: usize) -> Result<Printed, String> {
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
        let mut group = Group::spawn(command)
            .map_err(|error| format!("cannot run Nushell (`{}`) for it: {error}", self.nu.display()))?;
        if let Some(pid) = group.leader() {
            let _ = self.process.set(pid);
        }
        let (stdin, prefix) = (group.stdin(), format!("\n{} ", group.call_id()));
        let feed = async {
            if let Some(mut stdin) = stdin {
                let _ = stdin.write_all(input).await;
            }
        };
        let ((), output) = tokio::join!(feed, group.finish(Most::Within(most)));
        let output = output.map_err(|error| error.to_string())?;
        // What a start command puts in the background is the service.
        group.leave();
        let answer = output.stdout.rsplit_once(&prefix).and_then(|(_, answer)| answer.lines().next());
        Ok(Printed { json: answer.unwrap_or_default().to_owned(), output })
    }
}
