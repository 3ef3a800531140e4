//! Judges the edges: no service begins before its dependencies meet their conditions, by the journal and by the books.

use super::Round;
use super::events::Event;
use crate::books::Run;
use crate::graph::{Condition, Need, Readiness};
use crate::project::seconds;
use std::collections::BTreeMap;

/// The maximum age of the daemon's information, because the daemon and its shims may have been frozen.
const SLACK: i64 = 8_000_000_000;

/// The number of judged edges.
pub(super) fn judge(round: &Round, events: &[Event], judged: &BTreeMap<String, usize>) -> usize {
    by_journal(round, events) + by_books(round, judged)
}

/// The state of a service according to the events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Told {
    state: Option<String>,
    is_unhealthy: bool,
}

impl Told {
    /// Whether the condition holds; `None` before the first event.
    fn satisfies(&self, condition: Condition) -> Option<bool> {
        let state = self.state.as_deref()?;
        Some(match condition {
            Condition::Started => ["starting", "ready", "stopping"].contains(&state),
            Condition::Ready => ["ready", "completed"].contains(&state),
            Condition::Healthy => state == "ready" && !self.is_unhealthy,
            Condition::Completed => state == "completed",
        })
    }
}

fn by_journal(round: &Round, events: &[Event]) -> usize {
    // Some events may be missing.
    if !round.disk_was_well() {
        return 0;
    }
    let mut told: BTreeMap<String, Told> = BTreeMap::new();
    let mut count = 0;
    for turn in events.chunk_by(|one, other| one.time == other.time) {
        let before = told.clone();
        for event in turn {
            let Some(service) = &event.service else { continue };
            let now = told.entry(service.clone()).or_default();
            match event.kind.as_str() {
                "state" => *now = Told { state: event.to.clone(), is_unhealthy: false },
                "health" => now.is_unhealthy = event.to.as_deref() == Some("unhealthy"),
                _ => (),
            }
        }
        for event in
            turn.iter().filter(|event| event.kind == "state" && event.to.as_deref() == Some("starting"))
        {
            if event.from.as_deref() == Some("ready") {
                continue;
            }
            let known = event.service.as_ref().filter(|name| !round.removed.contains(*name));
            let service = known.and_then(|name| round.project.graph.get(name));
            for need in service.iter().flat_map(|service| &service.needs) {
                let holds = |told: &BTreeMap<String, Told>| {
                    told.get(&need.name).and_then(|told| told.satisfies(need.condition))
                };
                let (Some(was), Some(is)) = (holds(&before), holds(&told)) else { continue };
                count += 1;
                if !was && !is {
                    let of_need = (before.get(&need.name), told.get(&need.name));
                    round
                        .project
                        .violation("edges", &format!("{event:?} needs {need:?}, told as {of_need:?}"));
                }
            }
        }
    }
    count
}

fn by_books(round: &Round, judged: &BTreeMap<String, usize>) -> usize {
    let mut count = 0;
    for (name, runs) in &round.runs {
        let Some(service) = round.project.graph.get(name).filter(|_| !round.removed.contains(name)) else {
            continue;
        };
        let from = judged.get(name).copied().unwrap_or(0);
        for run in &runs[from..] {
            for need in &service.needs {
                count += 1;
                let empty = Vec::new();
                let others = round.runs.get(&need.name).unwrap_or(&empty);
                if !held(round, need, others, run.begin) {
                    let near: Vec<&Run> =
                        others.iter().rev().filter(|other| other.begin < run.begin).take(2).collect();
                    let begin = seconds(run.begin);
                    round.project.violation(
                        "edges",
                        &format!(
                            "{name} run {} began at {begin}, and {need:?} was not so: {near:?}",
                            run.number
                        ),
                    );
                }
            }
        }
    }
    count
}

/// Whether a run of the dependency had met the condition at this moment, and had not ended long before.
fn held(round: &Round, need: &Need, runs: &[Run], moment: i64) -> bool {
    let is_mute =
        round.project.graph.get(&need.name).is_some_and(|service| service.readiness == Readiness::Delay);
    let is_oneshot = round.project.graph.get(&need.name).is_some_and(crate::graph::Service::is_oneshot);
    runs.iter().enumerate().any(|(at, run)| {
        let done = run.end.is_some_and(|(end, code)| code == 0 && end <= moment);
        if is_oneshot {
            return done;
        }
        let over =
            run.end.map(|end| end.0).or_else(|| runs.get(at + 1).map(|next| next.begin)).unwrap_or(i64::MAX);
        let has_come = match need.condition {
            // The process may be launched and may not have written a line yet.
            Condition::Started => run.begin <= moment + SLACK,
            Condition::Ready | Condition::Healthy if is_mute => run.begin <= moment + SLACK,
            Condition::Ready | Condition::Healthy => run.ready.is_some_and(|ready| ready <= moment),
            Condition::Completed => done,
        };
        has_come && over >= moment - SLACK
    }) || is_mute && round.was_hit(&need.name, moment - SLACK, moment)
        || need.condition == Condition::Started && round.was_hit(&need.name, moment - SLACK, moment)
}
