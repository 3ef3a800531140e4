//! Managers: Nushell modules that start, stop and look at what runs elsewhere. This is the daemon's side: it calls
//! them with a record and a deadline and reads a record back. The contract is in docs/managers.md.

mod container;

use container::Wanted;

use crate::orchestrator::{Message, Report};
use crate::probe::exec::{Group, Output};
use crate::process::environment;
use crate::store::write_private;
use crate::world::{Places, World};
use serde::{Deserialize, Serialize};
use service_core::config::{Manager, Service, Settings};
use service_core::health::Verdict;
use service_core::service::{Event, Exit};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// The modules that come with us.
pub(crate) const BUILT_IN: [(&str, &str); 4] = [
    ("command", include_str!("../../../nu/managers/command.nu")),
    ("systemd", include_str!("../../../nu/managers/systemd.nu")),
    ("podman", include_str!("../../../nu/managers/podman.nu")),
    ("docker", include_str!("../../../nu/managers/docker.nu")),
];

/// What some of them have in common.
const SHARED: [(&str, &str); 1] = [("containers", include_str!("../../../nu/managers/containers.nu"))];

/// Variables of the daemon's own environment that a manager is given.
const PASSED_ON: [&str; 7] =
    ["PATH", "HOME", "USER", "LANG", "TERM", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS"];

/// More of them: where container engines are, and where they look for their settings.
const OF_ENGINES: [&str; 8] = [
    "CONTAINER_HOST",
    "CONTAINERS_CONF",
    "CONTAINERS_STORAGE_CONF",
    "DOCKER_CONFIG",
    "DOCKER_CONTEXT",
    "DOCKER_HOST",
    "REGISTRY_AUTH_FILE",
    "XDG_CONFIG_HOME",
];

/// Whether a module of this name comes with us.
pub(crate) fn is_built_in(name: &str) -> bool {
    BUILT_IN.iter().any(|(built_in, _)| *built_in == name)
}

/// Writes the modules where Nushell can read them.
pub(crate) fn install(places: &Places) -> std::io::Result<()> {
    let directory = directory(places);
    crate::orchestrator::private_dir(&directory)?;
    BUILT_IN.iter().chain(&SHARED).try_for_each(|(name, text)| {
        write_private(&directory.join(name).with_extension("nu"), text.as_bytes())
    })
}

fn directory(places: &Places) -> PathBuf {
    places.state_dir.join("managers")
}

/// What a manager says of a service.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Status {
    pub(crate) state: String,
    #[serde(default)]
    pub(crate) pid: Option<u32>,
    #[serde(default)]
    pub(crate) message: Option<String>,
    #[serde(default)]
    pub(crate) exit_code: Option<i32>,
    /// What a check of the manager's own says; absent, it has none.
    #[serde(default)]
    pub(crate) health: Option<String>,
}

impl Status {
    /// What that means for a service that is thought to run.
    pub(crate) fn event(&self) -> Event {
        let exit = self.exit_code.map_or(Exit::Unknown, Exit::Code);
        match self.state.as_str() {
            "running" => Event::Probed(match self.health.as_deref() {
                Some("starting") => Verdict::Unhealthy,
                Some("unhealthy") => Verdict::Condemned,
                _ => Verdict::Healthy,
            }),
            "completed" => Event::Gone(self.exit_code.map_or(Exit::Code(0), Exit::Code)),
            "stopped" | "failed" => Event::Gone(exit),
            _ => Event::Probed(Verdict::Unknown),
        }
    }
}

/// Has a service started.
pub(crate) async fn start(world: World, settings: Settings, service: Arc<Service>, run: u64) {
    let event = match call(&world, &settings, &service, "start").await {
        Ok(status) => {
            if let Event::Gone(_) = status.event()
                && status.state != "completed"
            {
                let why =
                    status.message.unwrap_or_else(|| format!("its manager says that it is {}", status.state));
                return world.report(&service.name, run, Event::Refused(why));
            }
            let report = Report::Pid(status.pid);
            let _ = world.mailbox.send(Message::Learned { name: service.name.clone(), run, report });
            Event::Launched
        }
        Err(message) => Event::Refused(message),
    };
    world.report(&service.name, run, event);
}

/// Has a service stopped. A manager that refuses is called again when the service's stop timeout is over.
pub(crate) async fn stop(world: World, settings: Settings, service: Arc<Service>, run: u64) {
    let result =
        call(&world, &settings, &service, "stop").await.and_then(|status| match status.state.as_str() {
            "running" => {
                Err(status.message.unwrap_or_else(|| "its manager says that it still runs".to_owned()))
            }
            _ => Ok(status),
        });
    let complaint = result.as_ref().err().cloned();
    let _ = world.mailbox.send(Message::Learned {
        name: service.name.clone(),
        run,
        report: Report::Complaint(complaint),
    });
    if let Ok(status) = result {
        world.report(&service.name, run, Event::Gone(status.exit_code.map_or(Exit::Code(0), Exit::Code)));
    }
}

/// Asks how a service is.
pub(crate) async fn status(world: &World, settings: &Settings, service: &Service) -> Result<Status, String> {
    call(world, settings, service, "status").await
}

/// The service as a manager sees it.
#[derive(Serialize)]
struct Subject<'a> {
    name: &'a str,
    description: &'a str,
    start_command: &'a str,
    stop_command: Option<&'a str>,
    status_command: Option<&'a str>,
    working_dir: PathBuf,
    env: BTreeMap<String, String>,
    project: &'a std::path::Path,
    stop_timeout: u64,
    #[serde(flatten)]
    container: Option<Wanted<'a>>,
}

/// What the call prints: one of the two.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Ok(Status),
    Error { msg: String, help: Option<String> },
}

/// Calls one command of a manager. The error is in its words.
async fn call(
    world: &World,
    settings: &Settings,
    service: &Service,
    command: &str,
) -> Result<Status, String> {
    let (nu, module) = (nu(world, settings), module(world, service));
    let env: BTreeMap<String, String> = environment(&world.places.base_dir, service)?.into_iter().collect();
    let subject = Subject {
        name: &service.name,
        description: &service.description,
        start_command: &service.start_command.text,
        stop_command: service.stop_command.as_deref(),
        status_command: service.status_command.as_deref(),
        working_dir: world.places.working_dir(service.working_dir.as_deref()),
        env,
        project: &world.places.project,
        stop_timeout: u64::try_from(service.stop_timeout.as_nanos()).unwrap_or(u64::MAX),
        container: Wanted::of(service, &world.places),
    };
    let subject = serde_json::to_vec(&subject).map_err(|error| error.to_string())?;
    let limit = settings.manager_timeout;
    let answer = tokio::time::timeout(limit, run(&nu, &script(&module, command), &subject)).await;
    let output = answer.map_err(|_| format!("its manager did not answer `{command}` within {limit:?}"))??;
    match serde_json::from_str(output.stdout.lines().last().unwrap_or_default()) {
        Ok(Answer::Ok(status)) => Ok(status),
        Ok(Answer::Error { msg, help }) => Err(complaint(service, command, &msg, help)),
        Err(_) if !output.status.success() => {
            Err(format!("its manager `{}` failed: {}", module.display(), output.stderr.trim()))
        }
        Err(error) => {
            let said = output.stdout.trim();
            Err(format!(
                "its manager `{}` should answer `{command}` with a record: {error}: {said}",
                module.display()
            ))
        }
    }
}

/// A manager may say "cannot start `web`: why"; whoever shows it says so too.
fn complaint(service: &Service, command: &str, msg: &str, help: Option<String>) -> String {
    let prefix = format!("cannot {command} `{}`: ", service.name);
    let msg = msg.strip_prefix(&prefix).unwrap_or(msg);
    help.filter(|help| !help.is_empty()).map_or_else(|| msg.to_owned(), |help| format!("{msg} ({help})"))
}

fn nu(world: &World, settings: &Settings) -> PathBuf {
    let named = settings.nu.as_ref().map(|nu| world.places.base_dir.join(nu));
    named.filter(|nu| nu.is_file()).or_else(|| world.places.nu.clone()).unwrap_or_else(|| "nu".into())
}

fn module(world: &World, service: &Service) -> PathBuf {
    match &service.manager {
        Manager::Module(path) => world.places.base_dir.join(path),
        Manager::BuiltIn(name) => directory(&world.places).join(name).with_extension("nu"),
        Manager::Process => PathBuf::new(),
    }
}

fn script(module: &std::path::Path, command: &str) -> String {
    // A raw string takes every character that a path may have, short of `'###`.
    format!(
        "let service = $in | from json; use r###'{}'### *; try {{ $service | {command} | {{ok: $in}} }} \
         catch {{|e| {{error: {{msg: $e.msg, help: $e.details?.help?}}}} }} | to json --raw",
        module.display()
    )
}

async fn run(nu: &std::path::Path, script: &str, input: &[u8]) -> Result<Output, String> {
    let passed_on =
        PASSED_ON.iter().chain(&OF_ENGINES).filter_map(|name| Some((name, std::env::var_os(name)?)));
    let mut command = Command::new(nu);
    command
        .args(["--no-config-file", "--no-std-lib", "--stdin", "-c", script])
        .env_clear()
        .envs(passed_on)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut group = Group::spawn(command)
        .map_err(|error| format!("cannot run Nushell (`{}`) for its manager: {error}", nu.display()))?;
    let stdin = group.stdin();
    let feed = async {
        if let Some(mut stdin) = stdin {
            let _ = stdin.write_all(input).await;
        }
    };
    let ((), output) = tokio::join!(feed, group.finish());
    // What a start command puts in the background is the service.
    group.leave();
    output.map_err(|error| format!("cannot wait for Nushell: {error}"))
}
