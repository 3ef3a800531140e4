//! Who waits for the fate of a wish. The owner asks after every event, so no state that passes is missed.

use crate::board::{Board, Entry};
use crate::host::clock;
use crate::host::time_slice::TimeSlice;
use crate::lookup::state_unknown;
use crate::request::{Patience, Verb};
use service_api::{Action, Code, Outcome, Problem};
use service_core::fleet::progress::Prospects;
use service_core::fleet::{Obstacle, Progress};
use service_core::plan::Id;
use service_core::why::{STATE_NOT_WRITTEN, after_start};
use service_core::{Moment, Name};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;

/// One wish that has not come to its end.
pub(super) struct Waiter {
    verb: Verb,
    began: Moment,
    patience: Patience,
    /// In the order in which they were wished for.
    open: BTreeMap<usize, Open>,
    /// Where in that order each is.
    places: BTreeMap<Id, usize>,
    /// Nobody has looked yet.
    is_new: bool,
    rows: UnboundedSender<Outcome>,
}

/// One service of a wish.
pub(super) struct Open {
    pub(super) id: Id,
    pub(super) name: Name,
    /// Whether it was named, or came along.
    pub(super) named: bool,
    /// Whether it already was as wished.
    pub(super) settled: bool,
    /// Whether it had a process.
    pub(super) was_alive: bool,
}

impl Waiter {
    pub(super) fn new(
        verb: Verb,
        patience: Patience,
        open: Vec<Open>,
        rows: UnboundedSender<Outcome>,
        now: Moment,
    ) -> Self {
        let places = open.iter().enumerate().map(|(place, service)| (service.id, place)).collect();
        let open = open.into_iter().enumerate().collect();
        Self { verb, began: now, patience, open, places, is_new: true, rows }
    }

    /// When its patience ends.
    pub(super) fn deadline(&self) -> Option<Moment> {
        match self.patience {
            Patience::None => Some(self.began),
            Patience::For(span) => Some(self.began.plus(span)),
            Patience::Endless => None,
        }
    }

    /// Sends a row for every service among `concerned` whose fate is known; for all that are left when patience is over.
    /// Returns whether somebody still waits. It takes a time that grows with those that are concerned, and not with those
    /// that are waited for.
    pub(super) async fn look(
        &mut self,
        prospects: &mut Prospects<'_>,
        board: &Board,
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
            let row = service.and_then(|service| self.row(service, prospects, board, now, over));
            if row.is_some_and(|row| self.rows.send(row).is_ok()) {
                self.open.remove(&place);
            }
        }
        !self.open.is_empty() && !self.rows.is_closed()
    }

    /// Follows its services into another plan.
    pub(super) fn replan(&mut self, board: &Board, now: Moment) {
        let took = now.since(self.began);
        self.places.clear();
        self.open.retain(|place, service| match board.plan.id(&service.name) {
            Some(id) => {
                service.id = id;
                self.places.insert(id, *place);
                true
            }
            None => {
                let problem =
                    Problem::new(Code::Cancelled, format!("`{}` was removed from the project", service.name));
                let _ = self.rows.send(gone(service, problem, took));
                false
            }
        });
    }

    /// Says that nobody is left who could tell more.
    pub(super) fn abandon(&mut self, board: &Board, now: Moment) {
        for service in std::mem::take(&mut self.open).into_values() {
            let (action, _) = self.unfinished(service.id, board);
            let message = format!("the daemon ended while `{}` was {}", service.name, action.as_str());
            let problem = Problem::new(Code::DaemonUnreachable, message)
                .help("the next daemon goes on with it: see `service status`");
            let _ = self.rows.send(outcome(&service, board, action, now.since(self.began), Some(problem)));
        }
    }

    /// Says that a manager refuses to stop a service.
    pub(super) fn refused(&mut self, name: &Name, message: &str, board: &Board, now: Moment) {
        if matches!(self.verb, Verb::Start | Verb::Update) {
            return;
        }
        let problem = Problem::new(Code::StopFailed, format!("cannot stop `{name}`: {message}"));
        for (_, service) in self.open.extract_if(.., |_, service| service.name == *name) {
            let _ = self.rows.send(outcome(
                &service,
                board,
                Action::Failed,
                now.since(self.began),
                Some(problem.clone()),
            ));
        }
    }

    fn row(
        &self,
        service: &Open,
        prospects: &Prospects<'_>,
        board: &Board,
        now: Moment,
        over: bool,
    ) -> Option<Outcome> {
        let id = service.id;
        let progress = match self.verb {
            Verb::Start | Verb::Restart => prospects.start(id),
            Verb::Stop => prospects.fleet().stop_progress(id),
            Verb::Update if service.settled => Progress::Done,
            Verb::Update => prospects.fleet().update_progress(id),
        };
        let (action, problem) = match progress {
            Progress::Done => (self.done(service), None),
            Progress::Never(obstacle) => (Action::Failed, Some(self.explain(id, obstacle, board))),
            Progress::Pending if self.verb == Verb::Start && is_held(board.at(id)) => {
                (Action::Failed, Some(held(board.at(id))))
            }
            Progress::Pending if !over => return None,
            Progress::Pending => self.unfinished(id, board),
        };
        Some(outcome(service, board, action, now.since(self.began), problem))
    }

    fn done(&self, service: &Open) -> Action {
        match self.verb {
            Verb::Update => Action::Updated,
            _ if service.settled => Action::Unchanged,
            Verb::Stop => Action::Stopped,
            Verb::Restart if service.was_alive => Action::Restarted,
            Verb::Start | Verb::Restart => Action::Started,
        }
    }

    fn unfinished(&self, id: Id, board: &Board) -> (Action, Option<Problem>) {
        let (action, goal) = match self.verb {
            Verb::Start | Verb::Restart => (Action::Starting, "ready"),
            Verb::Stop => (Action::Stopping, "stopped"),
            Verb::Update => (Action::Updated, "healthy by its new check"),
        };
        let Patience::For(limit) = self.patience else { return (action, None) };
        let entry = board.at(id);
        let name = &entry.definition.name;
        let state = match entry.snapshot.state_word() {
            "backoff" => "waiting for its next try",
            word => word,
        };
        let reason = entry.reason().map(|reason| format!(": {reason}")).unwrap_or_default();
        let problem = Problem::new(
            Code::Timeout,
            format!("`{name}` is not {goal} after {limit:?}; it is {state}{reason}"),
        )
        .help("the daemon goes on with it; see `service status --long`");
        (action, Some(problem))
    }

    fn explain(&self, id: Id, obstacle: Obstacle, board: &Board) -> Problem {
        let name = &board.at(id).definition.name;
        let verb = self.verb.word();
        match obstacle {
            Obstacle::Failed => {
                let reason = board.at(id).reason().unwrap_or_else(|| "it ended".to_owned());
                let entry = board.at(id);
                let disk = match entry.missing.unreported {
                    0 => "",
                    _ => "; lines of its log cannot be written: see whether the disk is full",
                };
                let mut message = format!("cannot {verb} `{name}`: {reason}{disk}");
                let mut help = after_start(&entry.definition, &entry.snapshot.state);
                if let Some(again) = entry.retry_note() {
                    message += &again;
                    help = format!(
                        "{help}; `service wait {name}` waits for it, `service stop {name}` gives it up"
                    );
                }
                let code =
                    if reason.starts_with(STATE_NOT_WRITTEN) { Code::Storage } else { Code::StartFailed };
                Problem::new(code, message).help(help)
            }
            Obstacle::Dependency(need) => {
                let need = board.at(need);
                let state = need.blocking_reason();
                let needed = &need.definition.name;
                Problem::new(
                    Code::DependencyFailed,
                    format!("cannot {verb} `{name}`: it needs `{needed}`, {state}"),
                )
                .help(format!("see `service why {needed}`"))
            }
            Obstacle::Unclear => {
                let why = board.at(id).snapshot.state.unknown_because().unwrap_or_default();
                state_unknown(verb, name, why)
            }
            Obstacle::Countermanded | Obstacle::Endless => Problem::new(
                Code::Cancelled,
                format!("cannot {verb} `{name}`: another request wanted the opposite"),
            ),
        }
    }
}

/// Whether its manager has refused to stop it, which has to be before it can be started.
fn is_held(entry: &Entry) -> bool {
    entry.complaint.is_some() && entry.snapshot.state_word() == "stopping"
}

fn held(entry: &Entry) -> Problem {
    let (name, why) = (&entry.definition.name, entry.complaint.as_deref().unwrap_or_default());
    let message = format!("cannot start `{name}`: it has to stop first, and its manager refuses: {why}");
    Problem::new(Code::StopFailed, message)
        .help(format!("it is asked again, and then `{name}` starts; `service stop {name}` gives that up"))
}

fn outcome(service: &Open, board: &Board, action: Action, took: Duration, error: Option<Problem>) -> Outcome {
    let entry = board.at(service.id);
    Outcome {
        name: service.name.to_string(),
        ok: error.is_none(),
        action,
        status: entry.snapshot.status.word().to_owned(),
        health: entry.snapshot.health.word().to_owned(),
        took_ms: clock::millis(took),
        named: service.named,
        error,
        note: entry.stop.clone().filter(|_| matches!(action, Action::Stopped | Action::Restarted)),
    }
}

fn gone(service: &Open, problem: Problem, took: Duration) -> Outcome {
    Outcome {
        name: service.name.to_string(),
        ok: false,
        action: Action::Failed,
        status: "unknown".to_owned(),
        health: "none".to_owned(),
        took_ms: clock::millis(took),
        named: service.named,
        error: Some(problem),
        note: None,
    }
}
