//! Checks: one question to one service, answered within its timeout with a message, a latency and a time.

mod dns;
pub(crate) mod exec;
mod http;
mod listeners;
pub(crate) mod log;
mod lookout;
mod owner;
mod socket;

pub(crate) use owner::local;

pub(crate) use http::{Client as HttpClient, never_asked};
pub(crate) use lookout::Lookout;
pub(crate) use owner::Holder;

use crate::board::{Checked, Entry};
use crate::clock;
use crate::manager;
use crate::orchestrator::{Message, Report, is_managed};
use crate::world::World;
use service_api::redact;
use service_core::config::{Listener, Service, Settings};
use service_core::health::{Endpoint, Verdict};
use service_core::service::{Event, State};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::task::AbortHandle;

/// Checks a run once and reports the verdict.
pub(crate) async fn report(world: World, settings: Settings, entry: Entry, run: u64) {
    let definition = Arc::clone(&entry.definition);
    if is_managed(&definition) {
        if definition.endpoint.is_none() || definition.oneshot {
            return manager::report(world, settings, definition, run).await;
        }
        // While it starts, the endpoint is asked too often for that.
        if matches!(entry.snapshot.state, State::Ready { .. }) {
            tokio::spawn(manager::report(world.clone(), settings.clone(), Arc::clone(&definition), run));
        }
    }
    let checked = check(&world, &settings, &entry).await;
    let verdict = if checked.healthy { Verdict::Healthy } else { Verdict::Unhealthy };
    let name = definition.name.clone();
    let _ = world.mailbox.send(Message::Learned { name, run, report: Report::Checked(checked) });
    world.report(&definition.name, run, Event::Probed(verdict));
}

/// Checks a service now, whatever its state.
pub(crate) async fn check(world: &World, settings: &Settings, entry: &Entry) -> Checked {
    let began = clock::now();
    let (kind, answer) = match &entry.definition.endpoint {
        Some(endpoint) => {
            let answer = ask(world, &entry.definition, endpoint).await;
            (endpoint.kind(), answer.and_then(|(message, reached)| own(entry, reached).map(|()| message)))
        }
        None if is_managed(&entry.definition) => {
            ("manager", manager::look(world, settings, &entry.definition).await)
        }
        None => ("process", look(entry)),
    };
    let (healthy, message) = match answer {
        Ok(message) => (true, message),
        Err(message) => (false, message),
    };
    let message = redact::without(&message, &entry.definition.env);
    Checked { healthy, kind, message, latency: clock::now().since(began), at: clock::today() }
}

/// What was answered, and by whom where that can be told.
async fn ask(
    world: &World,
    service: &Service,
    endpoint: &Endpoint,
) -> Result<(String, Option<SocketAddr>), String> {
    let nobody = |message| (message, None);
    let limit = service.health.timeout;
    let question = async {
        match endpoint {
            Endpoint::Http(url) | Endpoint::Https(url) => {
                http::get(&world.http, url, &service.health.status).await
            }
            Endpoint::Tcp(address) => socket::tcp(address).await,
            Endpoint::Unix(path) => socket::unix(&world.places.base_dir.join(path)).await.map(nobody),
            Endpoint::Dns { server, name } => dns::ask(server, name).await.map(nobody),
            Endpoint::Exec(command) => exec::run(world, service, command, limit).await.map(nobody),
        }
    };
    let answer = tokio::time::timeout(limit, question).await;
    answer.unwrap_or_else(|_| Err(format!("no answer from {endpoint} within {limit:?}")))
}

/// A port that answers must be the service's own, unless anybody's will do.
fn own(entry: &Entry, reached: Option<SocketAddr>) -> Result<(), String> {
    let (Listener::Own, Some(keeper)) = (entry.definition.health.listener, entry.keeper) else {
        return Ok(());
    };
    reached.map_or(Ok(()), |address| owner::prove(keeper, address))
}

/// Who else holds the port at which a service is asked.
pub(crate) fn holder(entry: &Entry) -> Option<Holder> {
    let (host, port) = port_of(entry.definition.endpoint.as_ref()?)?;
    owner::stranger(entry.keeper, &host, port)
}

/// Reports when somebody begins to listen where a starting service is to be asked, if that is a port of this machine.
pub(crate) fn look_out(world: &World, service: &Service, run: u64) -> Option<AbortHandle> {
    let (host, port) = port_of(service.endpoint.as_ref()?)?;
    local(&host)?;
    let (world, name) = (world.clone(), service.name.clone());
    let task = tokio::spawn(async move {
        if world.lookout.listens(port).await {
            world.report(&name, run, Event::Listening);
        }
    });
    Some(task.abort_handle())
}

fn port_of(endpoint: &Endpoint) -> Option<(String, u16)> {
    match endpoint {
        Endpoint::Http(url) | Endpoint::Https(url) => http::host_and_port(url),
        Endpoint::Tcp(address) => {
            address.rsplit_once(':').and_then(|(host, port)| Some((host.to_owned(), port.parse().ok()?)))
        }
        Endpoint::Unix(_) | Endpoint::Dns { .. } | Endpoint::Exec(_) => None,
    }
}

/// The process check.
fn look(entry: &Entry) -> Result<String, String> {
    match entry.pid {
        Some(pid) if service_shim::Process::of(pid).is_some() => Ok(format!("process {pid} runs")),
        _ => Err(format!("no process runs; it is {}", entry.snapshot.state_word())),
    }
}
