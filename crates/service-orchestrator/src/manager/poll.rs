//! [`Polls`]: the question how services are. Where a module has `status all`, its services are asked about in one call.
//!
//! Services of one module and one interval are a pool. Whoever asks waits a moment for others that ask too, and takes
//! along those whose turn would come within half an interval. Each of them is asked again an interval after its answer, so
//! whatever the order in which they were started, they soon come together by themselves.
//!
//! A call that takes too long is given up, since one that hangs must not keep the answer of the others back. Then each is
//! asked about by itself, and whoever answers in time belongs to the others again.

use super::answer::{self, Answer, Heard, Status, shown};
use super::call::Call;
use super::words::Author;
use super::{module, subject};
use crate::host::acceptance::NOT_ASKED;
use crate::host::clock;
use crate::orchestrator::{Message, Report};
use crate::world::World;
use serde_json::Value;
use service_core::Name;
use service_core::config::{Service, Settings};
use service_core::health::Verdict;
use service_core::service::Event;
use service_core::{Moment, config};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;

/// How long whoever asks waits for others.
const GATHERING: Duration = Duration::from_millis(20);

/// The part of the time of a call that the question about many may take.
const PATIENCE: u32 = 3;

/// Module and interval. The lock is held for a look-up.
#[derive(Default)]
pub(super) struct Polls(Mutex<BTreeMap<(PathBuf, Duration), Pool>>);

#[derive(Default)]
struct Pool {
    members: BTreeMap<Name, Member>,
    /// Who is asked about alone.
    apart: BTreeSet<Name>,
    /// Somebody gathers, or asks, and will look again.
    attended: bool,
}

#[derive(Clone)]
struct Member {
    service: Arc<Service>,
    run: u64,
    about: About,
    wants: bool,
    /// When it was last asked about, or wished to be.
    asked: Moment,
}

/// What somebody wants to know of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum About {
    /// How its run is.
    Run,
    /// Whether it runs although it is at rest here, after that run.
    Rest,
}

/// Asks how a run of a service is and reports what is said.
pub(crate) async fn report(world: World, settings: Settings, service: Arc<Service>, run: u64) {
    inquire(world, settings, service, run, About::Run).await;
}

/// Asks whether a service runs that is at rest here since this run. What could not be stopped is not asked about.
pub(crate) async fn look_out(world: World, settings: Settings, service: Arc<Service>, run: u64) {
    if !world.acceptance.permits(&service).await {
        return found(&world, &service, run, clock::now(), Err(NOT_ASKED.to_owned()));
    }
    let path = module::path(&world, &service);
    let module = world.managers.modules.able(&world, &settings, &path).await;
    match module.and_then(|module| module.complete()) {
        Ok(()) => inquire(world, settings, service, run, About::Rest).await,
        Err(message) => found(&world, &service, run, clock::now(), Err(message)),
    }
}

async fn inquire(world: World, settings: Settings, service: Arc<Service>, run: u64, about: About) {
    let key = (module::path(&world, &service), service.health.interval);
    let module = world.managers.modules.able(&world, &settings, &key.0).await;
    let together = module.is_ok_and(|module| module.can("status all"));
    let member = Member { service, run, about, wants: true, asked: clock::now() };
    if !together || world.managers.polls.is_apart(&key, &member.service.name) {
        alone(world, settings, key, member).await;
    } else if world.managers.polls.join(&key, member) {
        attend(&world, &settings, &key).await;
    }
}

/// Asks about one by itself.
async fn alone(world: World, settings: Settings, key: (PathBuf, Duration), member: Member) {
    let began = clock::now();
    let answer = super::ask(&world, &settings, &member.service, "status").await;
    if clock::now().since(began) < settings.manager_timeout / PATIENCE {
        world.managers.polls.rejoin(&key, &member.service.name);
    }
    member.deliver(&world, began, answer);
}

/// Asks how these services are, those of one module together where it can; what is not answered in time is not told.
pub(crate) async fn hear(
    world: &World,
    settings: &Settings,
    services: Vec<Arc<Service>>,
    limit: Duration,
) -> BTreeMap<Name, Heard> {
    let mut modules: BTreeMap<PathBuf, Vec<Arc<Service>>> = BTreeMap::new();
    for service in services {
        modules.entry(module::path(world, &service)).or_default().push(service);
    }
    let mut asked = JoinSet::new();
    for (path, services) in modules {
        let (world, settings) = (world.clone(), settings.clone());
        asked
            .spawn(async move { tokio::time::timeout(limit, listen(world, settings, path, services)).await });
    }
    asked.join_all().await.into_iter().flatten().flatten().collect()
}

async fn listen(
    world: World,
    settings: Settings,
    path: PathBuf,
    services: Vec<Arc<Service>>,
) -> Vec<(Name, Heard)> {
    let Ok(module) = world.managers.modules.able(&world, &settings, &path).await else { return Vec::new() };
    let began = clock::now();
    let heard = |name: &Name, status: Status| (name.clone(), status.heard(clock::now().since(began)));
    if module.can("status all") {
        let subjects = services.iter().filter_map(|service| json(&subject(&world, service).ok()?).ok());
        let input = format!("[{}]", subjects.collect::<Vec<_>>().join(","));
        let call = Call { module: &path, command: "status all", input: input.as_bytes() };
        let Ok(rows) = call.make::<Rows>(&world, &settings).await else { return Vec::new() };
        let answers =
            services.iter().filter_map(|service| Some(heard(&service.name, of(&rows, service).ok()?)));
        return answers.collect();
    }
    let mut asked = JoinSet::new();
    for service in services {
        let (world, settings) = (world.clone(), settings.clone());
        asked.spawn(async move {
            let answer = super::ask::<Status>(&world, &settings, &service, "status").await;
            answer.ok().map(|status| (service.name.clone(), status.heard(clock::now().since(began))))
        });
    }
    asked.join_all().await.into_iter().flatten().collect()
}

/// Asks until nobody wants to know any more.
async fn attend(world: &World, settings: &Settings, key: &(PathBuf, Duration)) {
    let mut apart = JoinSet::new();
    loop {
        tokio::time::sleep(GATHERING).await;
        let members = world.managers.polls.next(key, clock::now());
        if members.is_empty() {
            break;
        }
        for member in ask_all(world, settings, &key.0, members).await {
            world.managers.polls.part(key, &member.service.name);
            apart.spawn(alone(world.clone(), settings.clone(), key.clone(), member));
        }
    }
    // Somebody else may attend by now.
    apart.join_all().await;
}

impl Polls {
    /// Adds one that wants to know; whether nobody attends to the pool.
    fn join(&self, key: &(PathBuf, Duration), member: Member) -> bool {
        let mut pools = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let pool = pools.entry(key.clone()).or_default();
        pool.members.insert(member.service.name.clone(), member);
        !std::mem::replace(&mut pool.attended, true)
    }

    /// Has one asked about alone from now on.
    fn part(&self, key: &(PathBuf, Duration), name: &Name) {
        let mut pools = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pool) = pools.get_mut(key) {
            pool.members.remove(name);
            pool.apart.insert(name.clone());
        }
    }

    fn rejoin(&self, key: &(PathBuf, Duration), name: &Name) {
        let mut pools = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pools.get_mut(key).map(|pool| pool.apart.remove(name));
    }

    fn is_apart(&self, key: &(PathBuf, Duration), name: &Name) -> bool {
        let pools = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pools.get(key).is_some_and(|pool| pool.apart.contains(name))
    }

    /// Who is to be asked about now; none if nobody wants it, and then nobody attends any more.
    fn next(&self, key: &(PathBuf, Duration), now: Moment) -> Vec<Member> {
        let mut pools = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(pool) = pools.get_mut(key) else { return Vec::new() };
        let interval = key.1;
        if !pool.members.values().any(|member| member.wants) {
            pool.attended = false;
            return Vec::new();
        }
        // Who has not asked for two intervals is not up any more.
        pool.members.retain(|_, member| member.wants || now.since(member.asked) < 2 * interval);
        let due = |member: &Member| member.wants || now.since(member.asked) >= interval / 2;
        let batch: Vec<Member> = pool.members.values().filter(|member| due(member)).cloned().collect();
        pool.members.values_mut().for_each(|member| member.wants = false);
        batch
    }
}

impl Member {
    fn deliver(&self, world: &World, began: Moment, answer: Result<Status, String>) {
        deliver(world, &self.service, self.run, self.about, began, answer);
    }
}

/// The rows of the answer, by the name in them.
struct Rows {
    rows: Vec<(Option<String>, Value)>,
    author: Author,
}

impl Answer for Rows {
    fn read(answer: Value, author: Author) -> Result<Self, String> {
        let Value::Array(rows) = answer else {
            return Err(format!("it should be a table, not {}", shown(&answer)));
        };
        let named = |row: Value| (row.get("name").and_then(Value::as_str).map(str::to_owned), row);
        Ok(Self { rows: rows.into_iter().map(named).collect(), author })
    }
}

/// Asks about all of these in one call; gives back those that have to be asked about one by one.
async fn ask_all(world: &World, settings: &Settings, module: &Path, members: Vec<Member>) -> Vec<Member> {
    let began = clock::now();
    let mut subjects = Vec::new();
    let mut asked = Vec::new();
    for member in members {
        match subject(world, &member.service).and_then(|subject| json(&subject)) {
            Ok(subject) => {
                subjects.push(subject);
                asked.push(member);
            }
            Err(message) => member.deliver(world, began, Err(message)),
        }
    }
    if asked.is_empty() {
        return asked;
    }
    let input = format!("[{}]", subjects.join(","));
    let call = Call { module, command: "status all", input: input.as_bytes() };
    let patience = settings.manager_timeout / PATIENCE;
    let Ok(answer) = tokio::time::timeout(patience, call.make::<Rows>(world, settings)).await else {
        tracing::warn!(module = %module.display(), "`status all` hangs: its services are asked about one by one");
        return asked;
    };
    let answer = answer.map_err(super::call::Trouble::plain);
    for member in asked {
        let status = match &answer {
            Ok(rows) => of(rows, &member.service),
            Err(message) => Err(message.clone()),
        };
        member.deliver(world, began, status);
    }
    Vec::new()
}

fn json(subject: &super::Subject<'_>) -> Result<String, String> {
    serde_json::to_string(subject).map_err(|error| error.to_string())
}

/// What the rows say of one service.
fn of(rows: &Rows, service: &config::Service) -> Result<Status, String> {
    let row = rows.rows.iter().find(|(name, _)| name.as_deref() == Some(&*service.name));
    let (_, row) = row.ok_or("its manager's `status all` has no row for it")?;
    Status::read(row.clone(), rows.author)
        .map_err(|error| format!("its manager's row in `status all` is wrong: {error}"))
}

fn deliver(
    world: &World,
    service: &Service,
    run: u64,
    about: About,
    began: Moment,
    answer: Result<Status, String>,
) {
    match about {
        About::Run => tell(world, service, run, began, answer),
        About::Rest => found(world, service, run, began, answer),
    }
}

/// Tells the owner of the fleet whether a service runs that is at rest here.
fn found(world: &World, service: &Service, run: u64, began: Moment, answer: Result<Status, String>) {
    if let Err(message) = &answer {
        tracing::debug!(service = %service.name, message, "cannot ask its manager whether it runs");
    }
    let there = answer.ok().filter(Status::is_there);
    let found = there.map(|status| Box::new(status.heard(clock::now().since(began))));
    let _ = world.mailbox.send(Message::Looked { name: service.name.clone(), run, found });
}

/// Whether a manager says how well a service is, and not only whether it is there.
pub(crate) fn decides(service: &Service) -> bool {
    service.endpoint.is_none() || service.oneshot
}

/// Tells the owner of the fleet what a manager said of a run. Where an endpoint is asked too, the manager only knows
/// better when nothing runs any more.
fn tell(world: &World, service: &Service, run: u64, began: Moment, answer: Result<Status, String>) {
    let learn = |report| {
        let _ = world.mailbox.send(Message::Learned { name: service.name.clone(), run, report });
    };
    let latency = clock::now().since(began);
    let decides = decides(service);
    let event = match answer {
        Ok(status) => {
            learn(Report::Told(status.told()));
            if !decides && !matches!(status.event(), Event::Gone(_)) {
                return;
            }
            learn(Report::Checked(status.checked(latency)));
            status.event()
        }
        Err(message) => {
            tracing::warn!(service = %service.name, message, "cannot ask its manager");
            if !decides {
                return;
            }
            let message = format!("cannot ask its manager: {message}");
            learn(Report::Checked(answer::checked(false, message, latency)));
            Event::Probed(Verdict::Unknown)
        }
    };
    world.report(&service.name, run, event);
}
