//! Makes one call: in a new Nushell without configuration, with selected environment variables, a deadline and limited
//! output.

use super::accepted::AcceptedModules;
use super::concurrency::{ConcurrencyLimits, ModuleLimit, waits};
use super::embedded::{assure, author};
use super::error::{CallError, LogError, MAX_LOG_BYTES, ManagerError, ModuleError, RaisedError};
use super::log_file;
use super::reply::ManagerReply;
use serde::de::DeserializeOwned;
use serde_json::Value;
use service_api::quoted;
use service_core::config::Settings;
use service_host::acceptance::{Acceptance, accepted_nu_blocking};
use service_host::blocking::run_on_files;
use service_host::paths::Paths;
use service_host::text::readable;
use service_process::process_group::{Output, OutputLimit, ProcessGroup, Purpose};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::process::{ChildStdin, Command};

/// The variables of the daemon's environment that a manager receives.
const PASSED_VARIABLES: [&str; 7] =
    ["PATH", "HOME", "USER", "LANG", "TERM", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS"];

/// The variables that only container managers receive: addresses and settings of engines.
const ENGINE_VARIABLES: [&str; 15] = [
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

/// The limit of standard output, and of standard error.
const MAX_OUTPUT_BYTES: usize = 1 << 20;
/// The context of every call: paths, accepted commands, and concurrency limits.
pub(crate) struct CallContext {
    pub(super) paths: Arc<Paths>,
    pub(super) acceptance: Arc<Acceptance>,
    /// The accepted content of modules that have changed.
    pub(super) accepted: AcceptedModules,
    /// The limit of starts and stops, which hanging queries do not delay.
    pub(super) acts: ConcurrencyLimits,
    /// The limit of queries.
    pub(super) questions: ConcurrencyLimits,
}

/// A command of a module with its input.
pub(super) struct Call<'a> {
    pub(super) module: &'a Path,
    pub(super) command: &'a str,
    /// The input in JSON.
    pub(super) input: &'a [u8],
}

impl Call<'_> {
    /// The variables of the daemon's environment that the call receives.
    fn passed_on(&self) -> &'static [&'static str] {
        let is_engine = self.module.file_stem().is_some_and(|name| name == "podman" || name == "docker");
        if is_engine { &ENGINE_VARIABLES } else { &PASSED_VARIABLES }
    }

    /// Makes the call and reads its reply.
    pub(super) async fn make<T: ManagerReply>(
        &self,
        caller: &CallContext,
        settings: &Settings,
    ) -> Result<T, ManagerError> {
        let author = author(&caller.paths, self.module);
        let nu = prepare(caller, settings, self.module).await?;
        let script =
            self.script("print $\"(char nl)($env.SERVICE_CALL_ID) ({ok: $answer} | to json --raw)\"");
        let process = OnceLock::new();
        let include = caller.accepted.original_directory(self.module);
        let shell = NushellCall {
            nu: &nu,
            passed_on: self.passed_on(),
            include,
            purpose: self.purpose(),
            process: &process,
        };
        let answer = self
            .run_with_limits(caller, settings, &process, shell.run(&script, self.input, MAX_OUTPUT_BYTES))
            .await?;
        let answered = match serde_json::from_str::<Value>(&answer.json) {
            Ok(mut answer) => match answer.get_mut("ok") {
                Some(ok) => T::read(ok.take(), author),
                None => return Err(RaisedError::read(&answer, author).into()),
            },
            Err(_) => {
                let (module, output) = (self.module.to_path_buf(), answer.describe_output());
                return Err(CallError::NoReply { module, output }.into());
            }
        };
        answered.map_err(|error| {
            let (module, command) = (self.module.to_path_buf(), self.command.to_owned());
            CallError::InvalidReply { module, command, error }.into()
        })
    }

    /// Makes the call and writes the lines of a log into a file.
    pub(super) async fn record(
        &self,
        caller: &CallContext,
        settings: &Settings,
    ) -> Result<log_file::PrintedLog, ManagerError> {
        let file = tempfile::tempfile_in(&caller.paths.state_dir).map_err(|error| {
            let directory = caller.paths.state_dir.clone();
            LogError::NoSpace { directory, error: Arc::new(error) }
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
        let nu = prepare(caller, settings, self.module).await?;
        let process = OnceLock::new();
        let include = caller.accepted.original_directory(self.module);
        let shell = NushellCall {
            nu: &nu,
            passed_on: self.passed_on(),
            include,
            purpose: self.purpose(),
            process: &process,
        };
        self.run_with_limits(caller, settings, &process, shell.run_into_file(&script, self.input, file)).await
    }

    /// The script that calls the command and then runs `then`, which uses `$answer`.
    fn script(&self, then: &str) -> String {
        // A raw string accepts every character of a path, except for `'###`.
        let (module, command) = (self.module.display(), self.command);
        let times = if command == "logs" {
            " | if $in.since? != null { update since { into datetime } } else { insert since null }"
        } else {
            ""
        };
        // Errors of Nushell are rendered, with the source location and the help. The reply begins on a new line,
        // because the output of a program may lack a newline at its end.
        format!(
            "let input = $in | from json{times}; use r###'{module}'### *; \
             try {{ let answer = ($input | {command}); {then} }} \
             catch {{|e| let own = $e.details?.code? | default '' | str starts-with 'nu::'; \
             let told = {{error: {{msg: (if $own {{ $e.rendered }} else {{ $e.msg }}), help: (if not $own {{ $e.details?.help? }})}}}}; \
             print $\"(char nl)($env.SERVICE_CALL_ID) ($told | to json --raw)\" }}"
        )
    }

    /// The limit of concurrent calls of this kind.
    fn limit(&self, caller: &CallContext) -> Arc<ModuleLimit> {
        match self.purpose() {
            Purpose::Action => caller.acts.for_module(self.module),
            Purpose::Query => caller.questions.for_module(self.module),
        }
    }

    fn purpose(&self) -> Purpose {
        match self.command {
            "start" | "stop" | "restart" => Purpose::Action,
            _ => Purpose::Query,
        }
    }

    /// Waits for a permit and for the result, within the time limit of a call.
    async fn run_with_limits<T>(
        &self,
        caller: &CallContext,
        settings: &Settings,
        process: &OnceLock<u32>,
        work: impl Future<Output = io::Result<T>>,
    ) -> Result<T, ManagerError> {
        let (limit, command) = (settings.manager_timeout, self.command);
        let work = async { tokio::time::timeout(limit, work).await };
        match self.limit(caller).pass(settings.manager_parallel, work, waits(process)).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) if error.kind() == ErrorKind::FileTooLarge && command == "logs" => {
                Err(ManagerError::TooMuch)
            }
            Ok(Err(error)) => {
                Err(CallError::Io { command: command.to_owned(), error: Arc::new(error) }.into())
            }
            Err(_) => Err(self.timeout(limit).into()),
        }
    }

    /// The error of a timeout, in the terms of the command's author.
    fn timeout(&self, limit: Duration) -> CallError {
        let own = self.module.file_stem().is_some_and(|name| name == "command");
        match self.command {
            "start" if own => CallError::StartCommandRuns { limit },
            command => CallError::Timeout { command: command.to_owned(), limit },
        }
    }
}

/// Runs Nushell to inspect a module. Returns the value of the expression `script`.
pub(super) async fn inspect<T: DeserializeOwned>(
    caller: &CallContext,
    settings: &Settings,
    module: &Path,
    expression: &str,
) -> Result<T, ManagerError> {
    let nu = prepare(caller, settings, module).await?;
    let shown = module.display();
    let script = format!(
        "use r###'{shown}'### *; print $\"(char nl)($env.SERVICE_CALL_ID) ({expression} | to json --raw)\""
    );
    let process = OnceLock::new();
    let include = caller.accepted.original_directory(module);
    let shell = NushellCall {
        nu: &nu,
        passed_on: &PASSED_VARIABLES,
        include,
        purpose: Purpose::Query,
        process: &process,
    };
    let run = async {
        tokio::time::timeout(settings.manager_timeout, shell.run(&script, b"", MAX_OUTPUT_BYTES)).await
    };
    let limit = caller.questions.for_module(module);
    let answer = limit.pass(settings.manager_parallel, run, waits(&process)).await;
    let path = || module.to_path_buf();
    let answer = answer.map_err(|_| ModuleError::InspectTimeout { module: path() })?;
    let answer = answer.map_err(|error| ModuleError::Inspect { module: path(), error: Arc::new(error) })?;
    serde_json::from_str(&answer.json)
        .map_err(|_| CallError::NoReply { module: path(), output: answer.describe_output() }.into())
}

/// The output of a call: its reply, and the other output.
struct CallOutput {
    json: String,
    output: Output,
}

impl CallOutput {
    /// The output of a call without a reply.
    fn describe_output(&self) -> String {
        let said = [self.output.stderr.trim(), self.output.stdout.trim()];
        let said = said.into_iter().find(|said| !said.is_empty());
        said.map_or_else(
            || format!("it ended with {} and without a result", self.output.status),
            |said| quoted(&readable(said)),
        )
    }
}

/// Restores the module if it is a built-in one, and returns the Nushell to call it with. Reads files on another thread.
async fn prepare(caller: &CallContext, settings: &Settings, module: &Path) -> Result<PathBuf, ModuleError> {
    let (paths, acceptance) = (Arc::clone(&caller.paths), Arc::clone(&caller.acceptance));
    let (settings, path) = (settings.clone(), module.to_owned());
    let prepare = move || {
        assure(&paths, &path)?;
        let named = accepted_nu_blocking(&acceptance, &settings).map(|nu| paths.base_dir.join(nu));
        let nu = named.filter(|nu| nu.is_file()).or_else(|| paths.nu.clone());
        Ok(nu.unwrap_or_else(|| "nu".into()))
    };
    let prepared = run_on_files(&caller.accepted.permit(module), prepare).await;
    prepared.map_err(|error| ModuleError::read(module, error))?
}

/// A Nushell for one call.
struct NushellCall<'a> {
    nu: &'a Path,
    passed_on: &'a [&'a str],
    /// An additional directory of files that the module uses, beside its own directory.
    include: Option<PathBuf>,
    purpose: Purpose,
    /// The pid, set by the start.
    process: &'a OnceLock<u32>,
}

impl NushellCall<'_> {
    async fn run(&self, script: &str, input: &[u8], most: usize) -> io::Result<CallOutput> {
        let mut group = self.spawn(script)?;
        let (stdin, prefix) = (group.stdin(), format!("\n{} ", group.call_id()));
        let ((), output) = tokio::join!(feed(stdin, input), group.finish(OutputLimit::Within(most)));
        let output = output?;
        // A start command may leave the service running in the background.
        group.release_children();
        let answer = output.stdout.rsplit_once(&prefix).and_then(|(_, answer)| answer.lines().next());
        Ok(CallOutput { json: answer.unwrap_or_default().to_owned(), output })
    }

    async fn run_into_file(
        &self,
        script: &str,
        input: &[u8],
        file: File,
    ) -> io::Result<log_file::PrintedLog> {
        let (mut group, file) = (self.spawn(script)?, Arc::new(file));
        let (stdin, call_id) = (group.stdin(), format!("{} ", group.call_id()));
        let told = group.finish_into(Arc::clone(&file), MAX_LOG_BYTES);
        let ((), output) = tokio::join!(feed(stdin, input), told);
        let output = output?;
        group.release_children();
        let said = match output.stderr.trim() {
            "" => format!("it ended with {} and without a result", output.status),
            said => said.to_owned(),
        };
        // A process that still writes to the file has its own descriptor.
        let file = Arc::try_unwrap(file).or_else(|file| file.try_clone())?;
        Ok(log_file::PrintedLog { file, call_id, error_output: said })
    }

    fn spawn(&self, script: &str) -> io::Result<ProcessGroup> {
        let passed_on = self.passed_on.iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
        let mut command = Command::new(self.nu);
        command
            .args(
                self.include
                    .iter()
                    .flat_map(|directory| [OsStr::new("--include-path"), directory.as_os_str()]),
            )
            .args(["--no-config-file", "--no-std-lib", "--stdin", "-c", script])
            .env_clear()
            .envs(passed_on)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let group = ProcessGroup::spawn(command, self.purpose).map_err(|error| {
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
