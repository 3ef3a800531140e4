//! Completion of service names. It runs while the user types, so it has a short time limit, starts no daemon and shows
//! no errors.

use crate::plugin::ServicePlugin;
use nu_plugin::{DynamicCompletionCall, EngineInterface};
use nu_protocol::DynamicSuggestion;
use nu_protocol::engine::ArgType;
use service_api::{Problem, Project, routes, view};
use service_client::client::Client;
use service_client::{launch, orchestratord};
use service_nushell::{project, remote, shell};
use std::path::PathBuf;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

/// The time limit of a completion.
const COMPLETION_TIMEOUT: Duration = Duration::from_millis(150);
/// The time limit of a request to the daemon during a completion. A daemon that works responds within a few
/// milliseconds.
const DAEMON_TIMEOUT: Duration = Duration::from_millis(75);

/// The services to which a command applies. These come first. The other services follow, and their states show why the
/// command does not apply.
#[derive(Debug, Clone, Copy)]
pub(super) enum CompletionKind {
    All,
    Running,
    Idle,
    /// Services that no file defines.
    Added,
}

/// Completes the names of a command with this [`CompletionKind`].
macro_rules! completes {
    ($kind:ident) => {
        #[expect(deprecated, reason = "the last argument marks the method as experimental")]
        fn get_dynamic_completion(
            &self,
            plugin: &Self::Plugin,
            engine: &::nu_plugin::EngineInterface,
            call: ::nu_plugin::DynamicCompletionCall,
            argument: ::nu_protocol::engine::ArgType,
            _: ::nu_protocol::engine::ExperimentalMarker,
        ) -> Option<Vec<::nu_protocol::DynamicSuggestion>> {
            use $crate::commands::completion::{CompletionKind, complete};
            complete(plugin, engine, &call, &argument, CompletionKind::$kind)
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
    kind: CompletionKind,
) -> Option<Vec<DynamicSuggestion>> {
    match argument {
        ArgType::Positional(_) => Some(suggestions(plugin, engine, call, kind).unwrap_or_default()),
        ArgType::Flag(_) => None,
    }
}

fn suggestions(
    plugin: &ServicePlugin,
    engine: &EngineInterface,
    call: &DynamicCompletionCall,
    kind: CompletionKind,
) -> Result<Vec<DynamicSuggestion>, Problem> {
    let began = Instant::now();
    if config(call).is_none()
        && let Some(address) = remote::configured(engine)?
    {
        // The daemon of another machine may use the whole limit, because there is no other source.
        return query_daemon(&plugin.clients.for_address(&address)?.with_timeout(COMPLETION_TIMEOUT), kind);
    }
    let project = project::find(engine, config(call).as_deref())?;
    let client = launch::running(&project, &plugin.clients)?.with_timeout(DAEMON_TIMEOUT);
    query_daemon(&client, kind).or_else(|_| {
        // Without a daemon the states are unknown, so the names come from the file.
        let services = read_definitions(project, engine, COMPLETION_TIMEOUT.saturating_sub(began.elapsed()))?;
        Ok(sort_candidates(services, kind, &[]).into_iter().map(|service| suggestion(service, &[])).collect())
    })
}

/// Requests services and states from the daemon, concurrently.
fn query_daemon(client: &Client, kind: CompletionKind) -> Result<Vec<DynamicSuggestion>, Problem> {
    std::thread::scope(|scope| {
        let status = scope.spawn(|| client.get(routes::STATUS, &[]));
        let services = client.get(routes::LIST, &[])?;
        // Names are useful even without states.
        let status: Vec<view::Status> = status.join().ok().and_then(Result::ok).unwrap_or_default();
        let services = sort_candidates(services, kind, &status).into_iter();
        Ok(services.map(|service| suggestion(service, &status)).collect())
    })
}

/// The services that the file defines.
fn read_definitions(
    project: Project,
    engine: &EngineInterface,
    limit: Duration,
) -> Result<Vec<view::Service>, Problem> {
    let (sender, services) = channel();
    let engine = engine.clone();
    std::thread::spawn(move || {
        let caller = shell::caller(&engine);
        sender.send(caller.and_then(|caller| orchestratord::run_once(&project, caller, &["list"])))
    });
    services.recv_timeout(limit).unwrap_or_else(|_| Ok(Vec::new()))
}

/// Sorts the services to which the command applies first. The other services follow, because a missing name would look
/// undefined.
fn sort_candidates(
    services: Vec<view::Service>,
    kind: CompletionKind,
    status: &[view::Status],
) -> Vec<view::Service> {
    let wanted = match kind {
        CompletionKind::All => return services,
        CompletionKind::Added => {
            return services.into_iter().filter(|service| service.origin != "file").collect();
        }
        CompletionKind::Running => false,
        CompletionKind::Idle => true,
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

/// The name, with the state and the description if known.
fn suggestion(service: view::Service, status: &[view::Status]) -> DynamicSuggestion {
    let state = state(&service.name, status).unwrap_or_default();
    let words = [state, service.description.as_str()];
    let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
    let description = Some(words.join(": ")).filter(|text| !text.is_empty());
    DynamicSuggestion { value: service.name, description, ..Default::default() }
}

/// The value of `--config`, if it is complete.
fn config(call: &DynamicCompletionCall) -> Option<PathBuf> {
    let path = call.call.get_flag_expr("config")?;
    path.as_filepath().map(|(path, _)| path).or_else(|| path.as_string()).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(kind: CompletionKind, known: &[(&str, &str)]) -> Vec<(String, Option<String>)> {
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
        let fit = sort_candidates(services.into(), kind, &status).into_iter();
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
        assert_eq!(offered(CompletionKind::Running, &states), [a.clone(), b.clone()]);
        assert_eq!(offered(CompletionKind::Idle, &states), [b.clone(), a.clone()]);
        assert_eq!(offered(CompletionKind::All, &states), [a, b]);
        assert_eq!(offered(CompletionKind::Running, &[]), [pair("a", ""), pair("b", "")]);
    }

    #[test]
    fn a_remove_offers_what_is_in_no_file() {
        assert_eq!(offered(CompletionKind::Added, &[("a", "ready")]), [pair("b", "")]);
    }
}
