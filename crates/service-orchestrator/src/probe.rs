//! Checks: one question to one service, answered within its timeout with a message, a latency and a time.

mod dns;
pub(crate) mod exec;
mod http;
mod listeners;
pub(crate) mod log;
mod lookout;
mod names;
mod owner;
mod reach;
mod socket;
mod tls;

pub(crate) use http::never_asked;
pub(crate) use lookout::Lookout;
pub(crate) use names::local;
pub(crate) use owner::Holder;
pub(crate) use socket::LONGEST_NAME;
pub(crate) use tls::unusable;

use crate::board::{Checked, Entry};
use crate::host::clock;
use crate::host::descriptors::DescriptorBudget;
use crate::host::single_flight::SingleFlight;
use crate::manager;
use crate::orchestrator::{Message, Report, is_managed};
use crate::world::World;
pub(crate) use dns::told as dns_told;
use names::Names;
use reach::Reach;
use service_api::{quoted, redact};
use service_core::config::{Listener, Service, Settings};
use service_core::health::{Endpoint, Verdict};
use service_core::service::{Event, State};
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tls::Trust;
use tokio::sync::Semaphore;
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

/// What checks share: names that are being looked up, and whom the machine trusts. Never a connection.
#[derive(Debug, Default)]
pub(crate) struct Prober {
    names: Names,
    trust: Trust,
    /// Checks that somebody asked for.
    asked: SingleFlight<Service, Checked>,
}

/// What a check says, and what a program wrote, which is told apart: it may be anything.
#[derive(Debug)]
pub(crate) struct Said {
    words: String,
    output: Option<String>,
}

impl From<String> for Said {
    fn from(words: String) -> Self {
        Self { words, output: None }
    }
}

/// The longest that is told of what a check says, and of what a program wrote.
const MOST_WORDS: usize = 400;
const MOST_OUTPUT: usize = 200;
/// What is looked through for secrets; one that is cut is not known any more, so it is more than what is told.
const MOST_REDACTED: usize = 4 * MOST_WORDS;

impl Said {
    /// One line, and not a long one, without secrets.
    pub(crate) fn told(&self, env: &[(String, String)]) -> String {
        let told = |text: &str, most| {
            let line = one_line(text, MOST_REDACTED);
            shortened(&redact::without(&line, env), most)
        };
        let words = told(&self.words, MOST_WORDS);
        match self.output.as_ref().map(|output| told(output, MOST_OUTPUT)).filter(|output| !output.is_empty())
        {
            Some(output) => format!("{words}: {}", quoted(&output)),
            None => words,
        }
    }
}

/// Checks a service for whoever asks: all who do meanwhile have the same answer, and so has who comes within `kept` after it.
pub(crate) async fn asked(world: &World, settings: &Settings, entry: &Entry, kept: Duration) -> Checked {
    let service = &entry.definition;
    let run = format!("{} {}", service.name, entry.snapshot.run);
    world.prober.asked.share(&run, service, kept, || check(world, settings, entry)).await
}

/// Checks of endpoints at the same time; where few descriptors may be open the others wait.
static AT_ONCE: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(DescriptorBudget::now().checks()));

/// Checks a service now, whatever its state.
pub(crate) async fn check(world: &World, settings: &Settings, entry: &Entry) -> Checked {
    let _place = match &entry.definition.endpoint {
        Some(_) => AT_ONCE.acquire().await.ok(),
        None => None,
    };
    let began = clock::now();
    let (kind, answer) = match &entry.definition.endpoint {
        Some(endpoint) => (endpoint.kind(), ask(world, entry, endpoint).await),
        None if is_managed(&entry.definition) => {
            let answer = manager::look(world, settings, &entry.definition).await;
            ("manager", answer.map(Said::from).map_err(Said::from))
        }
        None => ("process", look(entry).map(Said::from).map_err(Said::from)),
    };
    let (healthy, said) = match answer {
        Ok(said) => (true, said),
        Err(said) => (false, said),
    };
    let message = said.told(&entry.definition.env);
    Checked { healthy, kind, message, latency: clock::now().since(began), at: clock::today() }
}

/// What was answered, within the time of a check.
async fn ask(world: &World, entry: &Entry, endpoint: &Endpoint) -> Result<Said, Said> {
    let service = &*entry.definition;
    let (prober, base, limit) = (&*world.prober, &world.paths.base_dir, service.health.timeout);
    // A port that answers must be the service's own, unless anybody's will do.
    let keeper = entry.keeper.filter(|_| service.health.listener == Listener::Own);
    let shown = match endpoint {
        Endpoint::Http(url) | Endpoint::Https(url) => http::shown(url),
        endpoint => shortened(&endpoint.to_string(), MOST_WORDS / 2),
    };
    let question = async {
        let answer = match endpoint {
            Endpoint::Http(url) | Endpoint::Https(url) => {
                let (names, trust, health) = (&prober.names, &prober.trust, &service.health);
                http::Asks { names, trust, health, base, keeper }.get(url).await
            }
            Endpoint::Tcp(address) => {
                let (host, port) = port_of(endpoint).ok_or_else(|| format!("{address} has no port"))?;
                let (names, shown, host) = (&prober.names, &*shown, &*host);
                socket::tcp(&Reach { names, shown, host, port, keeper, limit }).await
            }
            Endpoint::Unix(name) => socket::unix(name, &shown).await,
            Endpoint::Dns { server, name } => dns::ask(&prober.names, server, name).await,
            Endpoint::Exec(command) => return exec::run(world, service, command, limit).await,
        };
        answer.map(Said::from).map_err(Said::from)
    };
    let answer = tokio::time::timeout(limit, question).await;
    answer.unwrap_or_else(|_| Err(format!("no answer from {shown} within {limit:?}").into()))
}

/// Who else holds the port at which a service is asked.
pub(crate) fn holder(entry: &Entry) -> Option<Holder> {
    let (host, port) = port_of(entry.definition.endpoint.as_ref()?)?;
    owner::stranger(entry.keeper, &host, port)
}

/// Reports when somebody begins to listen where a starting service is to be asked, if that is a port of this machine.
pub(crate) fn look_out(world: &World, service: &Service, run: u64) -> Option<AbortHandle> {
    let (host, port) = port_of(service.endpoint.as_ref()?)?;
    if local(&host).is_empty() {
        return None;
    }
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
        Some(pid) if service_shim::Process::find(pid).is_some() => Ok(format!("process {pid} runs")),
        _ => Err(format!("no process runs; it is {}", entry.snapshot.state_word())),
    }
}

/// On one line, without what tells a terminal to do things.
fn one_line(text: &str, most: usize) -> String {
    let text = shortened(text, most);
    manager::on_one_line(&text)
}

/// So many characters at most, the last of which says that there were more.
fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some(_) => text.chars().take(most - 1).chain(['…']).collect(),
    }
}
