//! Completion of service names. It runs while the user types: short patience, no daemon started, no error shown.

use crate::client::Client;
use crate::{ServicePlugin, launch, shell};
use nu_plugin::{DynamicCompletionCall, EngineInterface};
use nu_protocol::DynamicSuggestion;
use nu_protocol::engine::ArgType;
use service_api::{Code, Problem, Project, routes, view};
use std::path::PathBuf;
use std::sync::mpsc::channel;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_millis(150);

/// Which services a command can do something with.
#[derive(Debug, Clone, Copy)]
pub(super) enum Offer {
    All,
    Running,
    Idle,
}

/// Completes the names of a command with what the [`Offer`] says.
macro_rules! completes {
    ($offer:ident) => {
        #[expect(deprecated, reason = "the last argument marks the method as experimental")]
        fn get_dynamic_completion(
            &self,
            plugin: &Self::Plugin,
            engine: &::nu_plugin::EngineInterface,
            call: ::nu_plugin::DynamicCompletionCall,
            argument: ::nu_protocol::engine::ArgType,
            _: ::nu_protocol::engine::ExperimentalMarker,
        ) -> Option<Vec<::nu_protocol::DynamicSuggestion>> {
            use $crate::commands::names::{Offer, complete};
            complete(plugin, engine, &call, &argument, Offer::$offer)
        }
    };
}
pub(super) use completes;

/// The names for the rest argument; `None` (Nushell's own completion) for flags.
pub(super) fn complete(
    plugin: &ServicePlugin,
    engine: &EngineInterface,
    call: &DynamicCompletionCall,
    argument: &ArgType<'_>,
    offer: Offer,
) -> Option<Vec<DynamicSuggestion>> {
    match argument {
        ArgType::Positional(_) => Some(suggestions(plugin, engine, call, offer).unwrap_or_default()),
        ArgType::Flag(_) => None,
    }
}

fn suggestions(
    plugin: &ServicePlugin,
    engine: &EngineInterface,
    call: &DynamicCompletionCall,
    offer: Offer,
) -> Result<Vec<DynamicSuggestion>, Problem> {
    let project = shell::project(engine, config(call).as_deref())?;
    let client = launch::running(&project, &plugin.clients)?.within(PATIENCE);
    let services = match client.get(routes::LIST, &[]) {
        Err(problem) if problem.code == Code::DaemonUnreachable => defined(project, engine)?,
        services => fitting(services?, offer, &client)?,
    };
    Ok(services.into_iter().map(suggestion).collect())
}

/// What the file defines; without a daemon nobody knows what runs.
fn defined(project: Project, engine: &EngineInterface) -> Result<Vec<view::Service>, Problem> {
    let (say, services) = channel();
    let engine = engine.clone();
    std::thread::spawn(move || say.send(launch::one_shot(&project, &engine, &["list"])));
    services.recv_timeout(PATIENCE).unwrap_or_else(|_| Ok(Vec::new()))
}

/// The services that fit, or all if none does: Nushell remembers an empty answer longer than it is true.
fn fitting(
    services: Vec<view::Service>,
    offer: Offer,
    client: &Client,
) -> Result<Vec<view::Service>, Problem> {
    let wanted = match offer {
        Offer::All => return Ok(services),
        Offer::Running => false,
        Offer::Idle => true,
    };
    let status: Vec<view::Status> = client.get(routes::STATUS, &[])?;
    let idle = |service: &view::Service| {
        let row = status.iter().find(|row| row.name == service.name);
        row.is_some_and(|row| matches!(row.state.as_str(), "stopped" | "completed" | "failed"))
    };
    let (fit, rest): (Vec<_>, Vec<_>) = services.into_iter().partition(|service| idle(service) == wanted);
    Ok(if fit.is_empty() { rest } else { fit })
}

fn suggestion(service: view::Service) -> DynamicSuggestion {
    DynamicSuggestion {
        value: service.name,
        description: Some(service.description).filter(|text| !text.is_empty()),
        ..Default::default()
    }
}

/// `--config`, where it is already typed out.
fn config(call: &DynamicCompletionCall) -> Option<PathBuf> {
    let path = call.call.get_flag_expr("config")?;
    path.as_filepath().map(|(path, _)| path).or_else(|| path.as_string()).map(PathBuf::from)
}
