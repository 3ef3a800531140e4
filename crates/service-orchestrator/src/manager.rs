//! Managers: Nushell modules that start, stop and look at what runs elsewhere. This is the daemon's side: it calls
//! them with a record and a deadline and reads a record back. The contract is in docs/managers.md.
//!
//! `call` is one call, `lane` how many there are at once, `module` what a module can do, `answer` what it says, `poll`
//! the question how services are, put for many at once where the module takes it, `roster` the list of all; `logs` asks for
//! lines, which `record` holds, `seen` knows again and `pace` bounds; `words` makes what is said fit to be shown.

mod answer;
mod call;
mod container;
mod lane;
mod logs;
mod module;
mod pace;
mod poll;
mod record;
mod roster;
mod seen;
mod words;

pub(crate) use answer::{Heard, Told};
pub(crate) use logs::{Ask, News, begin, logs};
pub(crate) use module::{built_in, install, is_built_in};
pub(crate) use poll::{decides, hear, look_out, report};
pub(crate) use record::Record;
pub(crate) use roster::roster;
pub(crate) use seen::Seen;
pub(crate) use words::on_one_line;

use crate::host::clock;
use crate::host::environment::read_environment;
use crate::host::single_flight::SingleFlight;
use crate::orchestrator::{Message, Report};
use crate::world::World;
use answer::{Answer, State, Status};
use call::Call;
use container::Wanted;
use lane::Lanes;
use module::{Module, Modules};
use pace::Pace;
use poll::Polls;
use serde::Serialize;
use service_api::view;
use service_core::Plan;
use service_core::config::{Service, Settings};
use service_core::service::Event;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// What is shared by all calls: what is known of the modules, and how many calls are under way.
#[derive(Default)]
pub(crate) struct Managers {
    modules: Modules,
    polls: Polls,
    /// For starts and stops: no question, however many hang, keeps them waiting.
    acts: Lanes,
    /// For everything that only asks.
    questions: Lanes,
    /// For those who follow logs.
    pace: Pace,
    /// For those who ask who can run services.
    rosters: SingleFlight<Plan, Vec<view::Manager>>,
}

/// Whether managers can run services: each module is looked at once, for however many services.
#[derive(Default)]
pub(crate) struct Fitness(BTreeMap<PathBuf, Result<Arc<Module>, String>>);

impl Fitness {
    /// An error for a module that cannot be read, lacks a command, or does not know a key of the service's `with`.
    pub(crate) async fn check(
        &mut self,
        world: &World,
        settings: &Settings,
        service: &Service,
    ) -> Result<(), String> {
        let path = module::path(world, service);
        if !self.0.contains_key(&path) {
            let module = world.managers.modules.able(world, settings, &path).await;
            self.0.insert(path.clone(), module);
        }
        let module = self.0[&path].as_ref().map_err(String::clone)?;
        module.complete()?;
        module.takes(&with(service)?)
    }
}

/// Has a service started.
pub(crate) async fn start(world: World, settings: Settings, service: Arc<Service>, run: u64) {
    // What can be started has to be stopped and looked after.
    if let Err(message) = Fitness::default().check(&world, &settings, &service).await {
        return world.report(&service.name, run, Event::Refused(message));
    }
    let began = clock::now();
    let status = match ask::<Status>(&world, &settings, &service, "start").await {
        Ok(status) => status,
        Err(message) => return world.report(&service.name, run, Event::Refused(message)),
    };
    // With an exit code or a signal it has run, and ended at once.
    let is_down = matches!(status.state, State::Stopped | State::Failed);
    let has_run = is_down && status.exit().is_some();
    if is_down && !has_run {
        let why = status.said();
        return world.report(&service.name, run, Event::Refused(why));
    }
    started(&world, &service, run, status.told());
    if status.state == State::Completed || has_run {
        let check = status.checked(clock::now().since(began));
        let report = Report::Checked(check);
        let _ = world.mailbox.send(Message::Learned { name: service.name.clone(), run, report });
        world.report(&service.name, run, status.event());
    }
}

/// Says that a run has begun.
pub(crate) fn started(world: &World, service: &Service, run: u64, told: Told) {
    let report = Report::Told(told);
    let _ = world.mailbox.send(Message::Learned { name: service.name.clone(), run, report });
    world.report(&service.name, run, Event::Launched);
}

/// Has a service stopped and started again in one go, if its manager can do that; else only stopped.
pub(crate) async fn restart(world: World, settings: Settings, service: Arc<Service>, run: u64) {
    let path = module::path(&world, &service);
    let module = world.managers.modules.able(&world, &settings, &path).await;
    if module.is_ok_and(|module| module.can("restart")) {
        match ask::<Status>(&world, &settings, &service, "restart").await {
            Ok(status) if matches!(status.state, State::Running | State::Starting | State::Unknown) => {
                let told = status.told();
                let _ = world.mailbox.send(Message::Restarted { name: service.name.clone(), run, told });
                return;
            }
            Ok(status) => {
                tracing::warn!(service = %service.name, said = status.said(), "a restart left it down");
            }
            Err(message) => tracing::warn!(service = %service.name, message, "a restart failed"),
        }
    }
    // A stop and a start are the longer way to the same, and say what is wrong.
    stop(world, settings, service, run).await;
}

/// Has a service stopped. A manager that refuses is called again when the service's stop timeout is over.
pub(crate) async fn stop(world: World, settings: Settings, service: Arc<Service>, run: u64) {
    let result = ask::<Status>(&world, &settings, &service, "stop").await;
    let result = result.and_then(|status| match status.state {
        State::Running | State::Starting => {
            Err(status.message.unwrap_or_else(|| "its manager says that it still runs".to_owned()))
        }
        State::Stopped | State::Failed | State::Completed | State::Unknown => Ok(status),
    });
    let complaint = result.as_ref().err().cloned();
    let _ = world.mailbox.send(Message::Learned {
        name: service.name.clone(),
        run,
        report: Report::Complaint(complaint),
    });
    if let Ok(status) = result {
        world.report(&service.name, run, Event::Gone(status.ending()));
    }
}

/// Asks how a service is: whether it is well, and what its manager says of it.
pub(crate) async fn look(world: &World, settings: &Settings, service: &Service) -> Result<String, String> {
    let status = ask::<Status>(world, settings, service, "status").await?;
    if status.is_well() { Ok(status.said()) } else { Err(status.said()) }
}

/// The service as a manager sees it.
#[derive(Serialize)]
struct Subject<'a> {
    name: &'a str,
    description: &'a str,
    start_command: Option<&'a str>,
    stop_command: Option<&'a str>,
    status_command: Option<&'a str>,
    working_dir: PathBuf,
    env: BTreeMap<String, String>,
    with: serde_json::Value,
    project: &'a std::path::Path,
    /// In nanoseconds, as Nushell counts.
    stop_timeout: u64,
    #[serde(flatten)]
    container: Option<Wanted<'a>>,
    /// For `logs`: so many lines, and since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    tail: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
}

fn subject<'a>(world: &'a World, service: &'a Service) -> Result<Subject<'a>, String> {
    let start_command = service.start_command.text.as_str();
    Ok(Subject {
        name: &service.name,
        description: &service.description,
        start_command: (!start_command.is_empty()).then_some(start_command),
        stop_command: service.stop_command.as_deref(),
        status_command: service.status_command.as_deref(),
        working_dir: world.paths.working_dir(service.working_dir.as_deref()),
        env: read_environment(&world.paths.base_dir, service)?.into_iter().collect(),
        with: with(service)?,
        project: &world.paths.project,
        stop_timeout: u64::try_from(service.stop_timeout.as_nanos()).unwrap_or(u64::MAX),
        container: Wanted::of(service, &world.paths),
        tail: None,
        since: None,
    })
}

fn with(service: &Service) -> Result<serde_json::Value, String> {
    let with = service.with.as_deref().unwrap_or("{}");
    serde_json::from_str(with).map_err(|error| format!("`with` cannot be handed on: {error}"))
}

/// Calls a command of the service's manager. The error is in its words.
async fn ask<T: Answer>(
    world: &World,
    settings: &Settings,
    service: &Service,
    command: &str,
) -> Result<T, String> {
    let module = world.managers.modules.able(world, settings, &module::path(world, service)).await?;
    module.must(command)?;
    asked(world, settings, service, &module.path, command, &subject(world, service)?).await
}

async fn asked<T: Answer>(
    world: &World,
    settings: &Settings,
    service: &Service,
    module: &std::path::Path,
    command: &str,
    subject: &Subject<'_>,
) -> Result<T, String> {
    let input = serde_json::to_vec(subject).map_err(|error| error.to_string())?;
    let call = Call { module, command, input: &input };
    call.make(world, settings).await.map_err(|trouble| trouble.about(command, &service.name))
}
