//! [`Lookout`]: who waits for what others bring about. Asked after every turn of the owner, so no state that passes is
//! missed.

use crate::board::{Board, Entry};
use crate::host::clock;
use crate::host::time_slice::TimeSlice;
use crate::lookup::resolve;
use crate::request::Watch;
use service_api::{Action, Code, Outcome, Problem};
use service_core::config::word;
use service_core::fleet::progress::Prospects;
use service_core::fleet::{Obstacle, Progress, Until};
use service_core::plan::Id;
use service_core::service::Goal;
use service_core::why::unknown;
use service_core::{Moment, Name, Plan};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;

/// Somebody who waits.
pub(super) struct Lookout {
    until: Until,
    began: Moment,
    limit: Option<Duration>,
    open: BTreeMap<Id, Name>,
    /// Nobody has looked yet.
    is_new: bool,
    rows: UnboundedSender<Outcome>,
}

impl Lookout {
    /// Fails if there is no such service.
    pub(super) fn new(
        watch: &Watch,
        plan: &Plan,
        rows: UnboundedSender<Outcome>,
        now: Moment,
    ) -> Result<Self, Problem> {
        let ids = match watch.names.is_empty() {
            true => plan.ids().collect(),
            false => resolve(plan, &watch.names)?,
        };
        let open = ids.into_iter().map(|id| (id, plan.service(id).name.clone())).collect();
        Ok(Self { until: watch.until, began: now, limit: watch.limit, open, is_new: true, rows })
    }

    /// When its time is over.
    pub(super) fn deadline(&self) -> Option<Moment> {
        self.limit.map(|limit| self.began.plus(limit))
    }

    /// Sends a row for every service among `concerned` whose fate is known; for all when the time is over. Returns whether
    /// somebody still waits.
    pub(super) async fn look(
        &mut self,
        prospects: &mut Prospects<'_>,
        board: &Board,
        now: Moment,
        concerned: &BTreeSet<Id>,
        slice: &mut TimeSlice,
    ) -> bool {
        let over = self.deadline().is_some_and(|deadline| now >= deadline);
        let ids: Vec<Id> = match over || std::mem::take(&mut self.is_new) {
            true => self.open.keys().copied().collect(),
            false => concerned.iter().copied().filter(|id| self.open.contains_key(id)).collect(),
        };
        for id in ids {
            slice.yield_if_spent().await;
            let problem = match prospects.outlook(id, self.until) {
                Progress::Done => None,
                Progress::Never(obstacle) => Some(self.never(id, obstacle, board)),
                Progress::Pending if over => Some(self.late(board.at(id))),
                Progress::Pending => continue,
            };
            let Some(name) = self.open.get(&id) else { continue };
            if self.rows.send(self.row(name, Some(board.at(id)), now, problem)).is_ok() {
                self.open.remove(&id);
            }
        }
        !self.open.is_empty() && !self.rows.is_closed()
    }

    /// Follows its services into another plan.
    pub(super) fn replan(&mut self, board: &Board, now: Moment) {
        for (_, name) in std::mem::take(&mut self.open) {
            if let Some(id) = board.plan.id(&name) {
                self.open.insert(id, name);
                continue;
            }
            // What is gone has stopped.
            let message = format!("`{name}` was removed from the project");
            let problem = (self.until != Until::Stopped).then(|| Problem::new(Code::Never, message));
            let _ = self.rows.send(self.row(&name, None, now, problem));
        }
    }

    /// Says that nobody is left who could tell more.
    pub(super) fn abandon(&mut self, board: &Board, now: Moment) {
        for (id, name) in std::mem::take(&mut self.open) {
            let problem = Problem::new(
                Code::DaemonUnreachable,
                format!("the daemon ended before `{name}` was {}", self.word()),
            )
            .help("services keep running, and the next command starts a daemon: wait again");
            let _ = self.rows.send(self.row(&name, Some(board.at(id)), now, Some(problem)));
        }
    }

    fn word(&self) -> &'static str {
        word(&Until::ALL, self.until)
    }

    fn late(&self, entry: &Entry) -> Problem {
        let limit = self.limit.unwrap_or_default();
        let reason = entry.reason().map(|reason| format!(": {reason}")).unwrap_or_default();
        let (name, state) = (&entry.definition.name, state(entry));
        let message = format!("`{name}` is not {} after {limit:?}; it is {state}{reason}", self.word());
        Problem::new(Code::Timeout, message).help(format!("see `service why {name}`"))
    }

    fn never(&self, id: Id, obstacle: Obstacle, board: &Board) -> Problem {
        let entry = board.at(id);
        let name = &entry.definition.name;
        let (why, help) = match obstacle {
            Obstacle::Failed => {
                let reason = entry.reason().unwrap_or_else(|| "it ended".to_owned());
                (format!("it is {}: {reason}", state(entry)), format!("see `service why {name}`"))
            }
            Obstacle::Dependency(need) => {
                let need = board.at(need);
                let needed = &need.definition.name;
                (
                    format!("it depends on `{needed}`, {}", need.blocking_reason()),
                    format!("see `service why {needed}`"),
                )
            }
            Obstacle::Unclear => {
                let why = entry.snapshot.state.unknown_because().unwrap_or_default();
                (why.to_owned(), unknown(name))
            }
            Obstacle::Countermanded if entry.snapshot.state.is_alive() => {
                ("it is being stopped by request".to_owned(), format!("run `service start {name}`"))
            }
            Obstacle::Countermanded => (
                format!("it is {}, and its goal is down", state(entry)),
                format!("run `service start {name}`"),
            ),
            Obstacle::Endless => (
                "its restart policy starts it again whenever it ends".to_owned(),
                format!("wait for another state, or change `restart` of [services.{name}]"),
            ),
        };
        let message = format!("`{name}` will not be {}: {why}", self.word());
        Problem::new(Code::Never, message).help(help)
    }

    fn row(&self, name: &Name, entry: Option<&Entry>, now: Moment, error: Option<Problem>) -> Outcome {
        let snapshot = entry.map(|entry| &entry.snapshot);
        Outcome {
            name: name.to_string(),
            ok: error.is_none(),
            action: Action::Unchanged,
            status: snapshot.map_or("stopped", |snapshot| snapshot.status.word()).to_owned(),
            health: snapshot.map_or("none", |snapshot| snapshot.health.word()).to_owned(),
            took_ms: clock::millis(now.since(self.began)),
            named: true,
            error,
            note: None,
        }
    }
}

fn state(entry: &Entry) -> &'static str {
    match entry.snapshot.state_word() {
        "backoff" if entry.snapshot.goal != Goal::Down => "waiting for the next try",
        word => word,
    }
}
