//! Completion of service names. It runs while the user types: short patience, no daemon started, no error shown.

use crate::client::Client;
use crate::plugin::ServicePlugin;
use crate::{launch, orchestratord, project, remote};
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

/// Which services a command can do something with: those come first, and of the others the state tells why they do not.
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
        return known(&plugin.clients.to(&way)?.within(PATIENCE), offer);
    }
    let project = project::find(engine, config(call).as_deref())?;
    let client = launch::running(&project, &plugin.clients)?.within(ANSWERS_WITHIN);
    known(&client, offer).or_else(|_| {
        // Without a daemon, or with one that hangs, nobody knows what runs.
        let services = defined(project, engine, PATIENCE.saturating_sub(began.elapsed()))?;
        Ok(fitting(services, offer, &[]).into_iter().map(|service| suggestion(service, &[])).collect())
    })
}

/// What the daemon knows, asked for both at once: the patience is for both.
fn known(client: &Client, offer: Offer) -> Result<Vec<DynamicSuggestion>, Problem> {
    std::thread::scope(|scope| {
        let status = scope.spawn(|| client.get(routes::STATUS, &[]));
        let services = client.get(routes::LIST, &[])?;
        // Names are worth more than knowing which of them run.
        let status: Vec<view::Status> = status.join().ok().and_then(Result::ok).unwrap_or_default();
        let services = fitting(services, offer, &status).into_iter();
        Ok(services.map(|service| suggestion(service, &status)).collect())
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
    std::thread::spawn(move || say.send(orchestratord::run_once(&project, &engine, &["list"])));
    services.recv_timeout(patience).unwrap_or_else(|_| Ok(Vec::new()))
}

/// The services that fit, and then the others: a name that is not offered looks as if there were none.
fn fitting(services: Vec<view::Service>, offer: Offer, status: &[view::Status]) -> Vec<view::Service> {
    let wanted = match offer {
        Offer::All => return services,
        Offer::Added => return services.into_iter().filter(|service| service.origin != "file").collect(),
        Offer::Running => false,
        Offer::Idle => true,
    };
    let idle = |service: &view::Service| {
        let state = state(&service.name, status);
        state.is_none_or(|state| matches!(state, "stopped" | "completed" | "failed"))
    };
    let (mut fit, rest): (Vec<_>, Vec<_>) = services.into_iter().partition(|service| idle(service) == wanted);
    fit.extend(rest);
    fit
}

fn state<'a>(name: &str, status: &'a [view::Status]) -> Option<&'a str> {
    status.iter().find(|row| row.name == name).map(|row| row.state.as_str())
}

/// The name, with its state and what it is for, as far as that is known.
fn suggestion(service: view::Service, status: &[view::Status]) -> DynamicSuggestion {
    let state = state(&service.name, status).unwrap_or_default();
    let words = [state, service.description.as_str()];
    let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
    let description = Some(words.join(": ")).filter(|text| !text.is_empty());
    DynamicSuggestion { value: service.name, description, ..Default::default() }
}

/// `--config`, where it is already typed out.
fn config(call: &DynamicCompletionCall) -> Option<PathBuf> {
    let path = call.call.get_flag_expr("config")?;
    path.as_filepath().map(|(path, _)| path).or_else(|| path.as_string()).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(offer: Offer, known: &[(&str, &str)]) -> Vec<(String, Option<String>)> {
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
        let status: Vec<_> = status.collect();
        let fit = fitting(services.into(), offer, &status).into_iter();
        let offered = fit.map(|service| suggestion(service, &status));
        offered.map(|suggestion| (suggestion.value, suggestion.description)).collect()
    }

    fn pair(name: &str, description: &str) -> (String, Option<String>) {
        (name.into(), Some(description.into()).filter(|text: &String| !text.is_empty()))
    }

    #[test]
    fn all_are_offered_with_their_state_and_those_that_it_means_something_for_come_first() {
        let states = [("a", "ready"), ("b", "failed")];
        let (a, b) = (pair("a", "ready"), pair("b", "failed"));
        assert_eq!(offered(Offer::Running, &states), [a.clone(), b.clone()]);
        assert_eq!(offered(Offer::Idle, &states), [b.clone(), a.clone()]);
        assert_eq!(offered(Offer::All, &states), [a, b]);
        assert_eq!(offered(Offer::Running, &[]), [pair("a", ""), pair("b", "")]);
    }

    #[test]
    fn a_remove_offers_what_is_in_no_file() {
        assert_eq!(offered(Offer::Added, &[("a", "ready")]), [pair("b", "")]);
    }
}
