//! Status queries. The services of a module with `status all` are queried in one call.
//!
//! The services of one module and one interval form a group. A query waits for [`BATCH_DELAY`] for further queries of
//! its group, and includes the services that are due within half an interval. Each service is queried again one
//! interval after its reply. Services that were started at different times therefore soon share their calls.
//!
//! A call that takes too long is cancelled, so that a hanging service does not delay the others. Each service is then
//! queried alone. A service that replies in time rejoins the group.

use super::author::Author;
use super::call::Call;
use super::client::Managers;
use super::error::{CallError, ManagerError};
use super::poll_group::{PolledService, Reason};
use super::reply::{ManagerReply, ReplyError, quote_value};
use super::status::ReportedStatus;
use crate::status;
use serde_json::Value;
use service_core::Name;
use service_core::config::{Service, Settings};
use service_core::health::ProbeResult;
use service_core::service::Event;
use service_core::{Moment, config};
use service_host::clock;
use service_host::report::Observation;
use service_host::report::{ManagerInfo, ManagerReport};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// The time for which a query waits for further queries of its group.
const BATCH_DELAY: Duration = Duration::from_millis(20);

/// The divisor of a call's time limit that yields the time limit of a call for many services.
const BATCH_SHARE: u32 = 3;

impl Managers {
    /// Queries the status of a run and reports the reply.
    pub async fn report_status(self, settings: Settings, service: Arc<Service>, run: u64) {
        query(self, settings, service, run, Reason::Run).await;
    }

    /// Queries whether an inactive service runs. A service whose stop failed is not queried.
    pub async fn check_presence(self, settings: Settings, service: Arc<Service>, run: u64) {
        if !self.caller.acceptance.permits(&service).await {
            return report_presence(&self, &service, run, clock::now(), Err(ManagerError::NotAccepted));
        }
        let module = self.load_module(&settings, &service).await;
        match module.and_then(|module| Ok(module.complete()?)) {
            Ok(()) => query(self, settings, service, run, Reason::Rest).await,
            Err(error) => report_presence(&self, &service, run, clock::now(), Err(error)),
        }
    }

    /// Queries the status of these services, with one call for each module that supports `status all`. The result omits
    /// services without a reply in time.
    pub async fn query_all(
        &self,
        settings: &Settings,
        services: Vec<Arc<Service>>,
        limit: Duration,
    ) -> BTreeMap<Name, ManagerReport> {
        let mut modules: BTreeMap<PathBuf, Vec<Arc<Service>>> = BTreeMap::new();
        let mut found = JoinSet::new();
        for service in services {
            let managers = self.clone();
            found.spawn(tokio::time::timeout(limit, async move {
                Some((managers.accepted_module(&service).await.ok()?, service))
            }));
        }
        for (module, service) in found.join_all().await.into_iter().flatten().flatten() {
            modules.entry(module).or_default().push(service);
        }
        let mut asked = JoinSet::new();
        for (path, services) in modules {
            let (managers, settings) = (self.clone(), settings.clone());
            asked.spawn(async move {
                tokio::time::timeout(limit, query_module(managers, settings, path, services)).await
            });
        }
        asked.join_all().await.into_iter().flatten().flatten().collect()
    }
}

async fn query(managers: Managers, settings: Settings, service: Arc<Service>, run: u64, reason: Reason) {
    let member = PolledService { service, run, reason, is_requested: true, asked: clock::now() };
    let module = managers.load_module(&settings, &member.service).await;
    let together = module.as_ref().is_ok_and(|module| module.has_command("status all"));
    let key = match module {
        Ok(module) => (module.path.clone(), member.service.health.interval),
        Err(message) => return deliver(&managers, &member, clock::now(), Err(message)),
    };
    if !together || managers.polls.is_polled_alone(&key, &member.service.name) {
        query_alone(managers, settings, key, member).await;
    } else if managers.polls.join(&key, member) {
        supervise(&managers, &settings, &key).await;
    }
}

/// Queries one service alone.
async fn query_alone(
    managers: Managers,
    settings: Settings,
    key: (PathBuf, Duration),
    member: PolledService,
) {
    let began = clock::now();
    let answer = managers.call(&settings, &member.service, "status").await;
    if clock::now().since(began) < settings.manager_timeout / BATCH_SHARE {
        managers.polls.poll_together(&key, &member.service.name);
    }
    deliver(&managers, &member, began, answer);
}

async fn query_module(
    managers: Managers,
    settings: Settings,
    path: PathBuf,
    services: Vec<Arc<Service>>,
) -> Vec<(Name, ManagerReport)> {
    let Ok(module) = managers.modules.load(&managers.caller, &settings, &path).await else {
        return Vec::new();
    };
    let began = clock::now();
    let heard =
        |name: &Name, status: ReportedStatus| (name.clone(), status.to_report(clock::now().since(began)));
    if module.has_command("status all") {
        let requests = managers.encode_requests(&path, services.clone()).await.unwrap_or_default();
        let requests: Vec<String> = requests.into_iter().filter_map(Result::ok).collect();
        let input = format!("[{}]", requests.join(","));
        let call = Call { module: &path, command: "status all", input: input.as_bytes() };
        let Ok(rows) = call.make::<BatchReply>(&managers.caller, &settings).await else { return Vec::new() };
        let answers =
            services.iter().filter_map(|service| Some(heard(&service.name, status_of(&rows, service).ok()?)));
        return answers.collect();
    }
    let mut asked = JoinSet::new();
    for service in services {
        let (managers, settings) = (managers.clone(), settings.clone());
        asked.spawn(async move {
            let answer = managers.call::<ReportedStatus>(&settings, &service, "status").await;
            answer.ok().map(|status| (service.name.clone(), status.to_report(clock::now().since(began))))
        });
    }
    asked.join_all().await.into_iter().flatten().collect()
}

/// Queries the group until no query is waiting.
async fn supervise(managers: &Managers, settings: &Settings, key: &(PathBuf, Duration)) {
    let mut apart = JoinSet::new();
    loop {
        tokio::time::sleep(BATCH_DELAY).await;
        let members = managers.polls.next(key, clock::now());
        if members.is_empty() {
            break;
        }
        for member in query_group(managers, settings, &key.0, members).await {
            managers.polls.poll_alone(key, &member.service.name);
            apart.spawn(query_alone(managers.clone(), settings.clone(), key.clone(), member));
        }
    }
    // The group may already have another supervisor; only the single queries are awaited here.
    apart.join_all().await;
}

/// The rows of the reply, by the name in them.
struct BatchReply {
    rows: Vec<(Option<String>, Value)>,
    author: Author,
}

impl ManagerReply for BatchReply {
    fn read(answer: Value, author: Author) -> Result<Self, ReplyError> {
        let Value::Array(rows) = answer else {
            return Err(ReplyError::Type { expected: "a table", found: quote_value(&answer) });
        };
        let named = |row: Value| (row.get("name").and_then(Value::as_str).map(str::to_owned), row);
        Ok(Self { rows: rows.into_iter().map(named).collect(), author })
    }
}

/// Queries all of these services in one call. Returns the services that have to be queried alone.
async fn query_group(
    managers: &Managers,
    settings: &Settings,
    module: &Path,
    members: Vec<PolledService>,
) -> Vec<PolledService> {
    let began = clock::now();
    let mut subjects = Vec::new();
    let mut asked = Vec::new();
    let services = members.iter().map(|member| Arc::clone(&member.service)).collect();
    let requests = match managers.encode_requests(module, services).await {
        Ok(requests) => requests,
        Err(error) => members.iter().map(|_| Err(error.clone())).collect(),
    };
    for (member, request) in members.into_iter().zip(requests) {
        match request {
            Ok(subject) => {
                subjects.push(subject);
                asked.push(member);
            }
            Err(error) => deliver(managers, &member, began, Err(error.into())),
        }
    }
    if asked.is_empty() {
        return asked;
    }
    let input = format!("[{}]", subjects.join(","));
    let call = Call { module, command: "status all", input: input.as_bytes() };
    let patience = settings.manager_timeout / BATCH_SHARE;
    let Ok(answer) =
        tokio::time::timeout(patience, call.make::<BatchReply>(&managers.caller, settings)).await
    else {
        tracing::warn!(module = %module.display(), "`status all` hangs: its services are queried one by one");
        return asked;
    };
    for member in asked {
        let status = match &answer {
            Ok(rows) => status_of(rows, &member.service),
            Err(error) => Err(error.clone()),
        };
        deliver(managers, &member, began, status);
    }
    Vec::new()
}

/// Reads the status of one service from the rows.
fn status_of(rows: &BatchReply, service: &config::Service) -> Result<ReportedStatus, ManagerError> {
    let row = rows.rows.iter().find(|(name, _)| name.as_deref() == Some(&*service.name));
    let (_, row) = row.ok_or(CallError::NoRow)?;
    Ok(ReportedStatus::read(row.clone(), rows.author).map_err(CallError::InvalidRow)?)
}

/// Reports the reply for one service.
fn deliver(
    managers: &Managers,
    target: &PolledService,
    began: Moment,
    answer: Result<ReportedStatus, ManagerError>,
) {
    let (service, run) = (&target.service, target.run);
    match target.reason {
        Reason::Run => report_status(managers, service, run, began, answer),
        Reason::Rest => report_presence(managers, service, run, began, answer),
    }
}

/// Reports whether an inactive service runs.
fn report_presence(
    managers: &Managers,
    service: &Service,
    run: u64,
    began: Moment,
    answer: Result<ReportedStatus, ManagerError>,
) {
    if let Err(error) = &answer {
        tracing::debug!(service = %service.name, message = %error, "cannot query its manager");
    }
    let there = answer.ok().filter(ReportedStatus::exists);
    let found = there.map(|status| Box::new(status.to_report(clock::now().since(began))));
    managers.reports.found_running(&service.name, run, found);
}

/// Whether the manager's status determines the health, and not only whether the service runs.
pub fn decides(service: &Service) -> bool {
    service.endpoint.is_none() || service.oneshot
}

/// Reports the status of a run. For a service with an endpoint, the manager's status only determines whether the run
/// has ended.
fn report_status(
    managers: &Managers,
    service: &Service,
    run: u64,
    began: Moment,
    answer: Result<ReportedStatus, ManagerError>,
) {
    let learn = |what| managers.reports.observed(&service.name, run, what);
    let latency = clock::now().since(began);
    let decides = decides(service);
    let event = match answer {
        Ok(status) => {
            let is_module_changed = managers.caller.accepted.is_replaced(managers.paths(), service);
            learn(Observation::Manager(ManagerInfo { is_module_changed, ..status.to_info() }));
            if !decides && !matches!(status.event(), Event::TreeExited(_)) {
                return;
            }
            learn(Observation::Checked(status.checked(latency)));
            status.event()
        }
        Err(error) => {
            tracing::warn!(service = %service.name, message = %error, "cannot query its manager");
            if !decides {
                return;
            }
            let message = format!("cannot query its manager: {error}");
            learn(Observation::Checked(status::checked(false, message, latency)));
            Event::Probed(ProbeResult::Unknown)
        }
    };
    managers.reports.event(&service.name, run, event);
}
