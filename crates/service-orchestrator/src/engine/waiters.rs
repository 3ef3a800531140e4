//! [`Waiter`]: a client that waits for services. A waiter is evaluated after every turn of the engine, so it misses no
//! transient state.

use super::unmet::{explain, held, is_held, never, not_yet, state_now, under_way};
use crate::lookup::resolve;
use crate::request::{Verb, WaitPolicy, WaitRequest};
use crate::snapshot::{FleetSnapshot, ServiceSnapshot};
use service_api::{Action, Code, Outcome, Problem};
use service_core::config::name_of;
use service_core::fleet::progress::Prospects;
use service_core::fleet::{Progress, WaitCondition};
use service_core::plan::Id;
use service_core::{Moment, Name, Plan};
use service_host::clock;
use service_host::time_slice::TimeSlice;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;

/// A client that waits for services: after a request, or for a state without a request.
pub(super) struct Waiter {
    condition: AwaitedCondition,
    began: Moment,
    wait: WaitPolicy,
    /// The undecided services, by position: the order in which rows are sent.
    open: BTreeMap<usize, PendingService>,
    /// The position of each service in that order.
    places: BTreeMap<Id, usize>,
    /// Whether the waiter has not been evaluated yet.
    is_new: bool,
    rows: UnboundedSender<Outcome>,
}

/// The awaited condition.
#[derive(Debug, Clone, Copy)]
enum AwaitedCondition {
    /// The request is carried out.
    Request(Verb),
    /// The service has a state.
    State(WaitCondition),
}

/// One awaited service.
pub(super) struct PendingService {
    pub(super) id: Id,
    pub(super) name: Name,
    /// Whether the request named the service, instead of including it as a dependency or dependent.
    pub(super) named: bool,
    /// Whether the service was already in the requested state.
    pub(super) settled: bool,
    /// Whether the service had a process.
    pub(super) was_alive: bool,
}

impl Waiter {
    /// A waiter for the result of a request.
    pub(super) fn new(
        verb: Verb,
        wait: WaitPolicy,
        open: Vec<PendingService>,
        rows: UnboundedSender<Outcome>,
        now: Moment,
    ) -> Self {
        Self::with(AwaitedCondition::Request(verb), wait, open, rows, now)
    }

    /// A waiter for a state of these services, or of all.
    ///
    /// # Errors
    /// There is no such service.
    pub(super) fn for_state(
        watch: &WaitRequest,
        plan: &Plan,
        rows: UnboundedSender<Outcome>,
        now: Moment,
    ) -> Result<Self, Problem> {
        let ids: BTreeSet<Id> = match watch.names.is_empty() {
            true => plan.ids().collect(),
            false => resolve(plan, &watch.names)?.into_iter().collect(),
        };
        let open = |id: Id| {
            let name = plan.service(id).name.clone();
            PendingService { id, name, named: true, settled: false, was_alive: false }
        };
        let wait = watch.limit.map_or(WaitPolicy::Unlimited, WaitPolicy::Timeout);
        let open = ids.into_iter().map(open).collect();
        Ok(Self::with(AwaitedCondition::State(watch.until), wait, open, rows, now))
    }

    fn with(
        condition: AwaitedCondition,
        wait: WaitPolicy,
        open: Vec<PendingService>,
        rows: UnboundedSender<Outcome>,
        now: Moment,
    ) -> Self {
        let places = open.iter().enumerate().map(|(place, service)| (service.id, place)).collect();
        let open = open.into_iter().enumerate().collect();
        Self { condition, began: now, wait, open, places, is_new: true, rows }
    }

    /// When the wait ends.
    pub(super) fn deadline(&self) -> Option<Moment> {
        match self.wait {
            WaitPolicy::NoWait => Some(self.began),
            WaitPolicy::Timeout(span) => Some(self.began.plus(span)),
            WaitPolicy::Unlimited => None,
        }
    }

    /// Sends a row for each decided service among `concerned`; after the timeout, for all remaining services. Returns
    /// whether the waiter still waits. The time is proportional to the size of `concerned`, not to the number of
    /// awaited services.
    pub(super) async fn answer(
        &mut self,
        prospects: &mut Prospects<'_>,
        fleet: &FleetSnapshot,
        now: Moment,
        concerned: &BTreeSet<Id>,
        slice: &mut TimeSlice,
    ) -> bool {
        let over = self.deadline().is_some_and(|deadline| now >= deadline);
        let places: BTreeSet<usize> = match over || std::mem::take(&mut self.is_new) {
            true => self.open.keys().copied().collect(),
            false => concerned.iter().filter_map(|id| self.places.get(id).copied()).collect(),
        };
        for place in places {
            slice.yield_if_spent().await;
            let service = self.open.get(&place);
            let row = service.and_then(|service| self.row(service, prospects, fleet, now, over));
            if row.is_some_and(|row| self.rows.send(row).is_ok()) {
                self.open.remove(&place);
            }
        }
        !self.open.is_empty() && !self.rows.is_closed()
    }

    /// Moves the awaited services to another plan.
    pub(super) fn replan(&mut self, fleet: &FleetSnapshot, now: Moment) {
        let took = now.since(self.began);
        self.places.clear();
        self.open.retain(|place, service| match fleet.plan.id(&service.name) {
            Some(id) => {
                service.id = id;
                self.places.insert(id, *place);
                true
            }
            None => {
                let message = format!("`{}` was removed from the project", service.name);
                let row = match self.condition {
                    AwaitedCondition::Request(_) => {
                        gone(service, Problem::new(Code::Cancelled, message), took)
                    }
                    // A removed service has stopped.
                    AwaitedCondition::State(WaitCondition::Stopped) => stopped(service, None, took),
                    AwaitedCondition::State(_) => {
                        stopped(service, Some(Problem::new(Code::Never, message)), took)
                    }
                };
                let _ = self.rows.send(row);
                false
            }
        });
    }

    /// Sends the remaining rows when the engine ends.
    pub(super) fn cancel(&mut self, fleet: &FleetSnapshot, now: Moment) {
        let took = now.since(self.began);
        for service in std::mem::take(&mut self.open).into_values() {
            let name = &service.name;
            let (action, message, help) = match self.condition {
                AwaitedCondition::Request(verb) => {
                    let action = under_way(verb).0;
                    let message = format!("the daemon ended while `{name}` was {}", action.as_str());
                    (action, message, "the next daemon continues: see `service status`")
                }
                AwaitedCondition::State(until) => {
                    let message = format!(
                        "the daemon ended before `{name}` was {}",
                        name_of(&WaitCondition::ALL, until)
                    );
                    let help = "services keep running, and the next command starts a daemon: wait again";
                    (Action::Unchanged, message, help)
                }
            };
            let problem = Problem::new(Code::DaemonUnreachable, message).help(help);
            let _ = self.rows.send(outcome(&service, fleet, action, took, Some(problem)));
        }
    }

    /// Reports that a manager cannot stop a service.
    pub(super) fn refused(&mut self, name: &Name, message: &str, fleet: &FleetSnapshot, now: Moment) {
        if !matches!(self.condition, AwaitedCondition::Request(Verb::Stop | Verb::Restart)) {
            return;
        }
        let problem = Problem::new(Code::StopFailed, format!("cannot stop `{name}`: {message}"));
        for (_, service) in self.open.extract_if(.., |_, service| service.name == *name) {
            let _ = self.rows.send(outcome(
                &service,
                fleet,
                Action::Failed,
                now.since(self.began),
                Some(problem.clone()),
            ));
        }
    }

    fn row(
        &self,
        service: &PendingService,
        prospects: &mut Prospects<'_>,
        fleet: &FleetSnapshot,
        now: Moment,
        over: bool,
    ) -> Option<Outcome> {
        let (id, entry) = (service.id, fleet.at(service.id));
        let (action, problem) = match self.condition {
            AwaitedCondition::State(until) => match prospects.wait_progress(id, until) {
                Progress::Done => (Action::Unchanged, None),
                Progress::Impossible(obstacle) => {
                    (Action::Unchanged, Some(never(until, id, obstacle, fleet)))
                }
                Progress::Pending if over => (Action::Unchanged, Some(self.late(until, entry))),
                Progress::Pending => return None,
            },
            AwaitedCondition::Request(verb) => match request_progress(verb, service, prospects) {
                Progress::Done => (done(verb, service), None),
                Progress::Impossible(obstacle) => (Action::Failed, Some(explain(verb, id, obstacle, fleet))),
                Progress::Pending if verb == Verb::Start && is_held(entry) => {
                    (Action::Failed, Some(held(entry)))
                }
                Progress::Pending if !over => return None,
                Progress::Pending => self.unfinished(verb, entry),
            },
        };
        Some(outcome(service, fleet, action, now.since(self.began), problem))
    }

    /// The row of a request that is not carried out in time.
    fn unfinished(&self, verb: Verb, entry: &ServiceSnapshot) -> (Action, Option<Problem>) {
        let (action, goal) = under_way(verb);
        let WaitPolicy::Timeout(limit) = self.wait else { return (action, None) };
        let state = match entry.snapshot.state_word() {
            "backoff" => "waiting for the next try",
            word => word,
        };
        let problem = Problem::new(Code::Timeout, not_yet(entry, goal, limit, state))
            .help("the daemon continues; see `service status --long`");
        (action, Some(problem))
    }

    /// The error of a state that was not reached in time.
    fn late(&self, until: WaitCondition, entry: &ServiceSnapshot) -> Problem {
        let limit = if let WaitPolicy::Timeout(limit) = self.wait { limit } else { Duration::ZERO };
        let message = not_yet(entry, name_of(&WaitCondition::ALL, until), limit, state_now(entry));
        Problem::new(Code::Timeout, message).help(format!("see `service why {}`", entry.definition.name))
    }
}

/// The progress of a request for one service.
fn request_progress(verb: Verb, service: &PendingService, prospects: &Prospects<'_>) -> Progress {
    let id = service.id;
    match verb {
        Verb::Start | Verb::Restart => prospects.start(id),
        Verb::Stop => prospects.fleet().stop_progress(id),
        Verb::Update if service.settled => Progress::Done,
        Verb::Update => prospects.fleet().update_progress(id),
    }
}

fn done(verb: Verb, service: &PendingService) -> Action {
    match verb {
        Verb::Update => Action::Updated,
        _ if service.settled => Action::Unchanged,
        Verb::Stop => Action::Stopped,
        Verb::Restart if service.was_alive => Action::Restarted,
        Verb::Start | Verb::Restart => Action::Started,
    }
}

fn outcome(
    service: &PendingService,
    fleet: &FleetSnapshot,
    action: Action,
    took: Duration,
    error: Option<Problem>,
) -> Outcome {
    service.outcome(fleet.at(service.id).outcome(action), took).with_error(error)
}

impl PendingService {
    fn outcome(&self, row: Outcome, took: Duration) -> Outcome {
        Outcome { name: self.name.to_string(), took_ms: clock::millis(took), named: self.named, ..row }
    }
}

fn gone(service: &PendingService, problem: Problem, took: Duration) -> Outcome {
    let row = Outcome::new(&service.name, Action::Failed, "unknown").with_error(Some(problem));
    service.outcome(row, took)
}

/// The row of a removed service whose state was awaited.
fn stopped(service: &PendingService, error: Option<Problem>, took: Duration) -> Outcome {
    let row = Outcome::new(&service.name, Action::Unchanged, "stopped").with_error(error);
    service.outcome(row, took)
}
