//! Preflight checks: before a restart or an apply stops any service, each service that it would start is checked. If a
//! start would fail, the whole request is refused, and running services continue.
//!
//! If the request stops no service, there is no check, because the start itself reports the error. There is also no
//! check before a restart by policy, because the service has already ended; for `on_failure` and `when_lost`, because
//! the services must stop; or before a rollback, because the failed services have already stopped.
//!
//! Files may be on a disk that hangs. Only the client of the request waits for the check, up to a time limit. If the
//! check does not end, the request is refused, because the start would hang as well.

use crate::checks_in_flight::ChecksInFlight;
use crate::engine::comparison::starts;
use crate::engine::message::EngineCommand;
use crate::handle::ServiceOrchestrator;
use crate::request::Request;
use service_api::{Code, Problem, SourceLocation};
use service_config::load;
use service_core::change::{Change, ChangeKind};
use service_core::config::{Condition, Service};
use service_core::{Id, Name, Plan};
use service_manager as manager;
use service_process::{StartObstacle, blockers};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// The time limit of the check of one service.
const SERVICE_TIMEOUT: Duration = Duration::from_secs(5);
const TOO_LATE: &str = "its files could not be checked within 5s: their disk does not answer";
/// The maximum number of problems in one error.
const MAX_TOLD: usize = 100;
/// The maximum number of names in a suggested command.
const MAX_NAMED: usize = 5;

/// A service that is to be started.
#[derive(Debug, Clone)]
struct Upcoming {
    service: Arc<Service>,
    /// Whether a one-shot, which may create missing files, runs before this service.
    after_work: bool,
}

/// A start that would fail, and why.
struct PreflightFailure {
    service: Arc<Service>,
    blocker: StartObstacle,
    place: Option<SourceLocation>,
}

/// The services that would be started, in start order.
fn upcoming(plan: &Plan, wanted: &[Id]) -> Vec<Upcoming> {
    // For each service, whether a one-shot runs before it.
    let mut after_work: BTreeMap<Id, bool> = BTreeMap::new();
    for id in wanted {
        let is_after = plan.dependencies(*id).iter().any(|need| {
            let does_work = need.condition == Condition::Completed || plan.service(need.on).oneshot;
            after_work.get(&need.on).is_some_and(|is_after| does_work || *is_after)
        });
        after_work.insert(*id, is_after);
    }
    wanted
        .iter()
        .map(|id| Upcoming { service: Arc::clone(plan.service(*id)), after_work: after_work[id] })
        .collect()
}

/// The services that an apply would start.
fn upcoming_changes(changes: &[Change], next: &Plan, start: bool) -> Vec<Upcoming> {
    let anew = changes.iter().filter(|change| change.kind == ChangeKind::Restart);
    let added = changes.iter().filter(|change| change.kind == ChangeKind::Add && starts(change, start));
    let names = anew.flat_map(|change| std::iter::once(&change.name).chain(&change.affects));
    let ids: BTreeSet<Id> =
        names.chain(added.map(|change| &change.name)).filter_map(|name| next.id(name)).collect();
    let wanted: Vec<Id> = next.order().iter().copied().filter(|id| ids.contains(id)).collect();
    upcoming(next, &wanted)
}

impl ServiceOrchestrator {
    /// Refuses a restart if one of its starts would fail.
    pub(crate) async fn check_restart(&self, request: &Request) -> Result<(), Problem> {
        let (plan, wanted) =
            self.call(|reply| EngineCommand::PreviewRestart { request: request.clone(), reply }).await?;
        let failures = self.failures(upcoming(&plan, &wanted), &plan, ModuleSelection::All).await;
        let named = |name: &Name| request.all || request.names.iter().any(|named| *named == **name);
        let is_named = |failure: &&PreflightFailure| named(&failure.service.name);
        let Some(first) = failures.iter().find(is_named).or(failures.first()) else { return Ok(()) };
        let name = first.service.name.clone();
        let cannot = match request.names.first() {
            Some(asked) if !named(&name) => {
                format!("cannot restart `{asked}`: `{name}`, which would restart too, could not start again")
            }
            _ => format!("cannot restart `{name}`"),
        };
        let them = if request.all { "--all".to_owned() } else { request.names.join(" ") };
        // A suggested command with a hundred names is not helpful.
        let them = if request.names.len() > MAX_NAMED { "...names".to_owned() } else { them };
        let all_the_same =
            format!("to restart nevertheless, run `service stop {them}`, then `service start {them}`");
        Err(refusal(&cannot, &all_the_same, failures, |failure| failure.service.name == name))
    }

    /// Refuses an apply if one of its starts would fail.
    pub(crate) async fn check_apply(
        &self,
        changes: &[Change],
        next: &Plan,
        start: bool,
    ) -> Result<(), Problem> {
        let failures =
            self.failures(upcoming_changes(changes, next, start), next, ModuleSelection::All).await;
        let Some(first) = failures.first() else { return Ok(()) };
        let cannot = format!("cannot apply services.toml: `{}` could not start", first.service.name);
        let all_the_same = "to restart nevertheless, run `service stop NAME`, then `service start NAME`";
        Err(refusal(&cannot, all_the_same, failures, |_| true))
    }

    /// The reasons why an apply of these changes would be refused, by service. Only accepted modules are run.
    pub(crate) async fn foreseen(&self, changes: &[Change], next: &Plan) -> BTreeMap<Name, Vec<String>> {
        let mut found: BTreeMap<Name, Vec<String>> = BTreeMap::new();
        for PreflightFailure { service, blocker, .. } in
            self.failures(upcoming_changes(changes, next, false), next, ModuleSelection::Accepted).await
        {
            let own = changes.iter().find(|change| change.name == service.name);
            let rows = changes.iter().filter(|change| change.affects.contains(&service.name));
            for row in rows {
                let why =
                    format!("`{}`, which would restart too, could not start: {}", service.name, blocker.why);
                found.entry(row.name.clone()).or_default().push(why);
            }
            if own.is_some_and(|own| own.kind != ChangeKind::None) {
                found
                    .entry(service.name.clone())
                    .or_default()
                    .push(format!("could not start: {}", blocker.why));
            }
        }
        found
    }

    async fn failures(
        &self,
        upcoming: Vec<Upcoming>,
        plan: &Plan,
        modules: ModuleSelection,
    ) -> Vec<PreflightFailure> {
        let mut failures = self.check_files(&upcoming).await;
        failures.extend(self.check_modules(&upcoming, plan, modules).await);
        let order: BTreeMap<&Name, usize> =
            upcoming.iter().enumerate().map(|(nth, upcoming)| (&upcoming.service.name, nth)).collect();
        failures.sort_by_key(|failure| order.get(&failure.service.name).copied());
        if failures.is_empty() {
            return failures;
        }
        let file = self.paths().project.clone();
        let keys =
            failures.iter().map(|failure| (Arc::clone(&failure.service), failure.blocker.key)).collect();
        let places =
            tokio::task::spawn_blocking(move || load::locate_keys(&file, keys)).await.unwrap_or_default();
        failures.iter_mut().zip(places).for_each(|(failure, place)| failure.place = place);
        failures
    }

    async fn check_files(&self, upcoming: &[Upcoming]) -> Vec<PreflightFailure> {
        let paths = Arc::clone(self.paths());
        check_services(self.checks_in_flight(), upcoming, move |service| blockers(&paths, service)).await
    }

    /// Checks the modules of managers. Nushell loads each module once for each content, within the time limit of a
    /// call.
    async fn check_modules(
        &self,
        upcoming: &[Upcoming],
        plan: &Plan,
        modules: ModuleSelection,
    ) -> Vec<PreflightFailure> {
        let managed = upcoming.iter().filter(|upcoming| upcoming.service.is_managed());
        let mut fitness = manager::Fitness::default();
        let mut failures = Vec::new();
        for Upcoming { service, .. } in managed {
            let may_be_run = match modules {
                ModuleSelection::All => true,
                ModuleSelection::Accepted => self.acceptance().covers(service).await,
            };
            if !may_be_run {
                continue;
            }
            if let Err(why) = fitness.check(self.managers(), plan.settings(), service).await {
                let help = "fix the module; `service managers` shows the problem".to_owned();
                let (key, why): (&[_], _) = (&["manager"], why.to_string());
                let blocker = StartObstacle { key, why, help, may_be_made: false, is_missing: false };
                failures.push(PreflightFailure { service: Arc::clone(service), blocker, place: None });
            }
        }
        failures
    }
}

/// Checks the services one after the other, on a separate thread.
async fn check_services(
    looks: &Arc<ChecksInFlight>,
    upcoming: &[Upcoming],
    look: impl Fn(&Service) -> Vec<StartObstacle> + Send + 'static,
) -> Vec<PreflightFailure> {
    let Some(first) = upcoming.first() else { return Vec::new() };
    for upcoming in upcoming {
        let free = looks.wait_for(&upcoming.service.name);
        if tokio::time::timeout(SERVICE_TIMEOUT, free).await.is_err() {
            return vec![late(upcoming, "an earlier check of its files has not ended".to_owned())];
        }
    }
    let Ok(Ok(permit)) = tokio::time::timeout(SERVICE_TIMEOUT, looks.acquire()).await else {
        return vec![late(first, TOO_LATE.to_owned())];
    };
    let (found, mut results) = mpsc::unbounded_channel();
    let (services, looks) = (upcoming.to_vec(), Arc::clone(looks));
    let work = move || {
        let _permit = permit;
        for Upcoming { service, after_work } in services {
            let under_way = looks.begin(&service.name);
            let mut blockers = look(&service);
            drop(under_way);
            blockers.retain(|blocker| !(after_work && blocker.may_be_made));
            if found.send(blockers).is_err() {
                return;
            }
        }
    };
    // A thread of the runtime would delay the end of the daemon if the check hangs.
    if let Err(error) = std::thread::Builder::new().name("preflight".to_owned()).spawn(work) {
        return vec![late(first, format!("its files cannot be checked: {error}"))];
    }
    let mut failures = Vec::new();
    for upcoming in upcoming {
        let Ok(blockers) = tokio::time::timeout(SERVICE_TIMEOUT, results.recv()).await else {
            failures.push(late(upcoming, TOO_LATE.to_owned()));
            break;
        };
        let service = &upcoming.service;
        let failure = |blocker| PreflightFailure { service: Arc::clone(service), blocker, place: None };
        failures.extend(blockers.into_iter().flatten().map(failure));
    }
    failures
}

/// The failure of a check that could not be completed.
fn late(upcoming: &Upcoming, why: String) -> PreflightFailure {
    let help = "try again, or check the disk with its files".to_owned();
    let blocker = StartObstacle { key: &[], why, help, may_be_made: false, is_missing: false };
    PreflightFailure { service: Arc::clone(&upcoming.service), blocker, place: None }
}

/// Which modules may be loaded for the check.
#[derive(Debug, Clone, Copy)]
enum ModuleSelection {
    All,
    Accepted,
}

/// Combines all problems into one error, beginning with those that concern `head`.
fn refusal(
    cannot: &str,
    all_the_same: &str,
    mut failures: Vec<PreflightFailure>,
    is_first: impl Fn(&PreflightFailure) -> bool,
) -> Problem {
    let nth = failures.iter().position(is_first).unwrap_or_default();
    let PreflightFailure { blocker, place, .. } = failures.remove(nth);
    let message = format!("{cannot}: {}; nothing was stopped", blocker.why);
    let mut first =
        Problem::new(Code::StartFailed, message).help(format!("{}; {all_the_same}", blocker.help));
    first.place = place;
    let more = failures.len().saturating_sub(MAX_TOLD);
    first.others = failures
        .into_iter()
        .take(MAX_TOLD)
        .map(|PreflightFailure { service, blocker, place }| {
            let problem =
                Problem::new(Code::StartFailed, format!("cannot start `{}`: {}", service.name, blocker.why));
            Problem { place, ..problem.help(blocker.help) }
        })
        .collect();
    if more > 0 {
        first.others.push(Problem::new(Code::StartFailed, format!("and {more} more problems")));
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    fn upcoming(name: &str, after_work: bool) -> Upcoming {
        Upcoming { service: Arc::new(Service::new(Name::new(name).unwrap())), after_work }
    }

    fn missing(may_be_made: bool) -> StartObstacle {
        StartObstacle {
            key: &[],
            why: "the file is missing".into(),
            help: String::new(),
            may_be_made,
            is_missing: false,
        }
    }

    #[tokio::test]
    async fn what_work_on_the_way_may_make_is_not_missing() {
        let services = [upcoming("a", false), upcoming("b", true)];
        let found = check_services(&Arc::default(), &services, |_| vec![missing(true), missing(false)]).await;
        let found: Vec<_> =
            found.iter().map(|failure| (&*failure.service.name, failure.blocker.may_be_made)).collect();
        assert_eq!(found, [("a", true), ("a", false), ("b", false)]);
    }

    #[tokio::test]
    async fn a_disk_that_does_not_answer_refuses_and_keeps_one_thread_a_service() {
        let (looks, services) = (Arc::default(), [upcoming("a", false), upcoming("b", false)]);
        let (release, held) = channel::<()>();
        let (enter, mut entered) = mpsc::unbounded_channel();
        let hang = move |service: &Service| {
            let _ = enter.send(());
            if &*service.name == "a" {
                let _ = held.recv();
            }
            Vec::new()
        };
        let first = check_services(&looks, &services, hang);
        let wait = async {
            entered.recv().await;
            tokio::time::pause(); // timers then fire at once
        };
        let (found, ()) = tokio::join!(first, wait);
        assert_eq!((found.len(), &*found[0].blocker.why), (1, TOO_LATE));
        let again = check_services(&looks, &services[..1], |_| {
            unreachable!("a hanging service is not checked again")
        })
        .await;
        assert!(again[0].blocker.why.contains("an earlier check"), "{}", again[0].blocker.why);
        tokio::time::resume();
        assert!(
            check_services(&looks, &services[1..], |_| Vec::new()).await.is_empty(),
            "other services are checked"
        );
        drop(release);
        assert!(check_services(&looks, &services, |_| Vec::new()).await.is_empty(), "the disk answers again");
    }
}
