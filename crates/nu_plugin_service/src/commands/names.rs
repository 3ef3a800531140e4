//! Completion of service names. It runs while the user types: short patience, no daemon started, no error shown.

use crate::client::Client;
use crate::{ServicePlugin, launch, remote, shell};
use nu_plugin::{DynamicCompletionCall, EngineInterface};
use nu_protocol::DynamicSuggestion;
use nu_protocol::engine::ArgType;
use service_api::{Problem, Project, routes, view};
use std::path::PathBuf;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

/// How long it may take in all.
const PATIENCE: Duration = Duration::from_millis(150);
/// How much of that a daemon may take, which answers within a few milliseconds unless it hangs.
const ANSWERS_WITHIN: Duration = Duration::from_millis(75);

/// Which services a command can do something with.
#[derive(Debug, Clone, Copy)]
pub(super) enum Offer {
    All,
    Running,
    Idle,
    /// In no file.
    Added,
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
    let began = Instant::now();
    if config(call).is_none()
        && let Some(way) = remote::configured(engine)?
    {
        // Another machine is farther away, and there is nobody else to ask.
        let services = known(&plugin.clients.to(&way)?.within(PATIENCE), offer)?;
        return Ok(services.into_iter().map(suggestion).collect());
    }
    let project = shell::project(engine, config(call).as_deref())?;
    let client = launch::running(&project, &plugin.clients)?.within(ANSWERS_WITHIN);
    let services = match known(&client, offer) {
        Ok(services) => services,
        // Without a daemon, or with one that hangs, nobody knows what runs.
        Err(_) => {
            let services = defined(project, engine, PATIENCE.saturating_sub(began.elapsed()))?;
            if matches!(offer, Offer::Added) { fitting(services, offer, &[]) } else { services }
        }
    };
    Ok(services.into_iter().map(suggestion).collect())
}

/// What the daemon knows, asked for both at once: the patience is for both.
fn known(client: &Client, offer: Offer) -> Result<Vec<view::Service>, Problem> {
    std::thread::scope(|scope| {
        let status = scope.spawn(|| match offer {
            Offer::All | Offer::Added => Ok(Vec::new()),
            Offer::Running | Offer::Idle => client.get(routes::STATUS, &[]),
        });
        let services = client.get(routes::LIST, &[])?;
        // Names are worth more than knowing which of them run.
        let status = status.join().ok().and_then(Result::ok).unwrap_or_default();
        Ok(fitting(services, offer, &status))
    })
}

/// What the file defines.
fn defined(
    project: Project,
    engine: &EngineInterface,
    patience: Duration,
) -> Result<Vec<view::Service>, Problem> {
    let (say, services) = channel();
    let engine = engine.clone();
    std::thread::spawn(move || say.send(launch::one_shot(&project, &engine, &["list"])));
    services.recv_timeout(patience).unwrap_or_else(|_| Ok(Vec::new()))
}

/// The services that fit; of those that run or do not, all if none fits: Nushell remembers an empty answer longer than it
/// is true.
fn fitting(services: Vec<view::Service>, offer: Offer, status: &[view::Status]) -> Vec<view::Service> {
    let wanted = match offer {
        Offer::All => return services,
        Offer::Added => return services.into_iter().filter(|service| service.origin != "file").collect(),
        Offer::Running => false,
        Offer::Idle => true,
    };
    let idle = |service: &view::Service| {
        let row = status.iter().find(|row| row.name == service.name);
        row.is_none_or(|row| matches!(row.state.as_str(), "stopped" | "completed" | "failed"))
    };
    let (fit, rest): (Vec<_>, Vec<_>) = services.into_iter().partition(|service| idle(service) == wanted);
    if fit.is_empty() { rest } else { fit }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(offer: Offer, known: &[(&str, &str)]) -> Vec<String> {
        let services = ["a", "b"].map(|name| view::Service {
            name: name.into(),
            description: String::new(),
            dependencies: Vec::new(),
            manager: "process".into(),
            start_command: "x".into(),
            stop_command: None,
            health_check_endpoint: None,
            origin: if name == "a" { "file" } else { "transient" }.into(),
            auto: false,
        });
        let status = known.iter().map(|(name, state)| view::Status {
            name: (*name).into(),
            status: String::new(),
            state: (*state).into(),
            health: String::new(),
            pid: None,
            uptime_ms: None,
            memory: None,
            restarts: 0,
            details: None,
        });
        let fit = fitting(services.into(), offer, &status.collect::<Vec<_>>());
        fit.into_iter().map(|service| service.name).collect()
    }

    #[test]
    fn a_stop_offers_what_runs_and_a_start_the_others() {
        let states = [("a", "ready"), ("b", "failed")];
        assert_eq!(offered(Offer::Running, &states), ["a"]);
        assert_eq!(offered(Offer::Idle, &states), ["b"]);
        assert_eq!(offered(Offer::All, &states), ["a", "b"]);
    }

    #[test]
    fn a_remove_offers_what_is_in_no_file() {
        assert_eq!(offered(Offer::Added, &[("a", "ready")]), ["b"]);
    }

    #[test]
    fn where_none_fits_all_are_offered() {
        assert_eq!(offered(Offer::Running, &[("a", "stopped"), ("b", "stopped")]), ["a", "b"]);
        assert_eq!(offered(Offer::Idle, &[("a", "ready"), ("b", "backoff")]), ["a", "b"]);
        assert_eq!(offered(Offer::Running, &[]), ["a", "b"]);
    }
}
