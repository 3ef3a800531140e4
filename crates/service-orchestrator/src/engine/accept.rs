//! Accepts a request: selects its services, checks that it is possible, and registers a waiter.

use super::task::Engine;
use super::waiters::{PendingService, Waiter};
use crate::lookup::{nothing_defined, resolve};
use crate::request::{Request, Verb};
use service_api::{Code, Outcome, Problem};
use service_core::change::{ApplyMode, changed_keys};
use service_core::fleet::progress::Prospects;
use service_core::fleet::{Progress, Propagate};
use service_core::service::{Goal, State};
use service_core::{Id, Moment};
use service_host::clock;
use std::collections::BTreeSet;
use tokio::sync::mpsc::UnboundedSender;

impl Engine {
    pub(super) fn accept(
        &mut self,
        request: &Request,
        rows: UnboundedSender<Outcome>,
    ) -> Result<(), Problem> {
        let settings = self.fleet.plan().settings();
        if !settings.manager_enabled {
            return Err(Problem::new(
                Code::ManagerDisabled,
                "cannot start or stop services: `manager_enabled` is false",
            )
            .help("set `manager_enabled = true` under [orchestrator.services] in services.toml"));
        }
        if request.all && request.verb == Verb::Start && self.fleet.plan().is_empty() {
            return Err(nothing_defined());
        }
        let along = if settings.auto_start_dependencies { Propagate::Yes } else { Propagate::No };
        let ids = self.meant(request)?;
        let relatives =
            request.relatives.unwrap_or(if request.verb == Verb::Start { along } else { Propagate::Yes });
        if (request.verb, relatives) == (Verb::Start, Propagate::No) {
            self.refuse_missing_needs(&ids)?;
        }
        self.refuse_unclear(request.verb, &ids)?;
        if request.verb == Verb::Start {
            self.forget_outdated(&ids);
        }
        let prospects = self.fleet.prospects();
        let before: Vec<(bool, bool)> =
            self.fleet.plan().ids().map(|id| self.before(&prospects, request, id)).collect();
        drop(prospects);
        let named: BTreeSet<Id> = ids.iter().copied().collect();
        let now = clock::now();
        self.fleet.set_requester(request.requester.clone());
        // A service in an unknown state is not changed, and its row contains the reason. Its dependencies are not
        // included.
        let (unclear, ids): (Vec<Id>, Vec<Id>) = ids.iter().partition(|id| self.is_unclear(**id));
        let mut about = match request.verb {
            Verb::Start => self.fleet.start(&ids, relatives, now),
            Verb::Stop => self.fleet.stop(&ids, relatives, now),
            Verb::Restart => self.restart(&ids, relatives, request.all && !request.oneshots, now),
            Verb::Update => self.update(&ids, now),
        };
        let others: Vec<Id> = unclear.into_iter().filter(|id| !about.contains(id)).collect();
        about.extend(others);
        if request.planned.is_none() {
            self.requests.note(about.iter().map(|id| &self.fleet.plan().service(*id).name));
        }
        let open = |id: Id| {
            let (settled, was_alive) = before[id.index()];
            // A dependency that is already starting is included without a restart.
            let was_alive = was_alive
                && (request.verb != Verb::Restart || self.fleet.machine(id).goal() == Goal::Restart);
            PendingService {
                id,
                name: self.fleet.plan().service(id).name.clone(),
                named: named.contains(&id),
                settled,
                was_alive,
            }
        };
        self.waiters.push(Waiter::new(
            request.verb,
            request.wait,
            about.into_iter().map(open).collect(),
            rows,
            now,
        ));
        Ok(())
    }

    /// The services that a request selects, without their dependencies and dependents.
    pub(super) fn meant(&self, request: &Request) -> Result<Vec<Id>, Problem> {
        let mut met = BTreeSet::new();
        let ids: Vec<Id> = match request.all {
            true if request.verb == Verb::Stop => self.fleet.plan().order().to_vec(),
            true => self.fleet.plan().order().iter().copied().filter(|id| self.may_be_meant(*id)).collect(),
            false => {
                resolve(self.fleet.plan(), &request.names)?.into_iter().filter(|id| met.insert(*id)).collect()
            }
        };
        let ids: Vec<Id> = ids.into_iter().filter(|id| !self.is_overtaken(*id, request)).collect();
        if let Some(id) = ids.iter().find(|id| request.verb != Verb::Stop && self.is_orphaned(**id)) {
            let name = &self.fleet.plan().service(*id).name;
            let message = format!("`{name}` is no longer defined; it can only be stopped");
            return Err(Problem::new(Code::NotFound, message).help("define it again in services.toml"));
        }
        Ok(ids)
    }

    /// Restarts services. A restart of all services does not run completed one-shots again.
    fn restart(&mut self, ids: &[Id], relatives: Propagate, spare_done: bool, now: Moment) -> Vec<Id> {
        let (done, ids): (Vec<Id>, Vec<Id>) =
            ids.iter().partition(|id| spare_done && self.fleet.is_done(**id));
        let mut about = self.fleet.start(&done, Propagate::No, now);
        about.extend(self.fleet.restart(&ids, relatives, now));
        about
    }

    /// Whether a later request for the service has replaced this one, which belongs to an apply.
    fn is_overtaken(&self, id: Id, request: &Request) -> bool {
        let name = &self.fleet.plan().service(id).name;
        request.planned.is_some_and(|planned| self.requests.has_since(name, planned))
    }

    /// Whether a service already is in the requested state, and whether it has a process.
    fn before(&self, prospects: &Prospects<'_>, request: &Request, id: Id) -> (bool, bool) {
        let machine = self.fleet.machine(id);
        let settled = match request.verb {
            Verb::Start => prospects.start(id) == Progress::Done,
            Verb::Stop => self.fleet.stop_progress(id) == Progress::Done,
            Verb::Restart => request.all && !request.oneshots && self.fleet.is_done(id),
            // Without a new health check, an update does not wait for the health.
            Verb::Update => !machine.has_new_check(self.fleet.plan().service(id)),
        };
        (settled, machine.state().is_alive())
    }

    /// Forgets the completion of one-shots under another definition, unless a running service depends on it.
    fn forget_outdated(&mut self, ids: &[Id]) {
        let plan = self.fleet.plan();
        let is_outdated = |id: &Id| {
            let service = plan.service(*id);
            let has_done = matches!(self.fleet.machine(*id).state(), State::Completed { .. });
            let runs = |id: &Id| self.fleet.machine(*id).state().is_active();
            let is_free = has_done && service.oneshot && !plan.dependents(*id).iter().any(runs);
            let last = self.services[id.index()].last_definition().filter(|_| is_free);
            last.is_some_and(|last| {
                changed_keys(last, service).iter().any(|(_, effect)| *effect == ApplyMode::NeedsRestart)
            })
        };
        let outdated: Vec<Id> = ids.iter().copied().filter(is_outdated).collect();
        self.fleet.stop(&outdated, Propagate::No, clock::now());
    }

    fn refuse_missing_needs(&self, ids: &[Id]) -> Result<(), Problem> {
        let Some((id, need)) = self.fleet.missing_dependency(ids) else { return Ok(()) };
        let name = |id| &self.fleet.plan().service(id).name;
        let state = self.fleet.snapshot(need).state_word();
        let message = format!(
            "cannot start `{}`: it depends on `{}`, which is {state}; nothing was started",
            name(id),
            name(need)
        );
        Err(Problem::new(Code::DependencyNotRunning, message)
            .help(format!("start `{}` first, or allow the start of dependencies", name(need))))
    }
}
