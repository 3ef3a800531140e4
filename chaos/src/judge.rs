//! The judge: compares responses, events and logs with the books.

mod answers;
mod edges;
mod events;
mod lines;
mod runs;

use crate::books::{self, Run};
use crate::fault_injector::Trouble;
use crate::project::{ActionRecord, InjectedFault, Project, now};
use std::collections::{BTreeMap, BTreeSet};

/// The maximum delay of the report of lines that were lost on a full disk.
const AFTERWARDS: i64 = 6_000_000_000;

/// The state between rounds.
#[derive(Default)]
pub(crate) struct Judge {
    /// The number of judged runs, by service.
    judged: BTreeMap<String, usize>,
    lines: BTreeMap<String, lines::Place>,
    events: events::Chain,
    counted_since: BTreeMap<String, i64>,
    pub(crate) counts: Counts,
}

/// Totals of all rounds.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Counts {
    pub(crate) runs: usize,
    pub(crate) answers: usize,
    pub(crate) lines: u64,
    pub(crate) edges: usize,
    pub(crate) events: usize,
    pub(crate) codes: usize,
}

/// The records of one round.
struct Round<'a> {
    project: &'a Project,
    trouble: Trouble,
    faults: Vec<InjectedFault>,
    actions: Vec<ActionRecord>,
    runs: BTreeMap<String, Vec<Run>>,
    /// Services that were undefined for some time. Their dependencies are unknown in this time, and their run numbers
    /// may begin with 1 again.
    removed: BTreeSet<String>,
    /// Since when the run numbers of a service have been unique.
    counted_since: BTreeMap<String, i64>,
}

impl Round<'_> {
    fn lost_power(&self) -> Option<i64> {
        self.faults.iter().find(|fault| fault.what == "power loss").map(|fault| fault.at)
    }

    /// Whether every write of this round succeeded.
    fn disk_was_well(&self) -> bool {
        !matches!(self.trouble, Trouble::Disk | Trouble::ReadOnly | Trouble::Power)
    }

    /// The time in which no write succeeded, if a daemon was killed in it, which loses its unwritten state.
    fn forgot_what_was_lost(&self) -> Option<(i64, i64)> {
        let mut of_the_disk = self.faults.iter().filter(|fault| fault.whom == "disk").map(|fault| fault.at);
        let (from, to) = (of_the_disk.next()?, of_the_disk.next()?);
        let is_lost = |fault: &&InjectedFault| {
            fault.whom == "orchestratord"
                && fault.what.starts_with("SIGKILL")
                && (from..to + AFTERWARDS).contains(&fault.at)
        };
        self.faults.iter().find(is_lost).map(|_| (from, to + AFTERWARDS))
    }

    /// Whether the shim of a service was frozen at this moment, so that it noticed no exit.
    fn was_frozen(&self, name: &str, at: i64) -> bool {
        let of_shim = |fault: &&InjectedFault| {
            fault.whom == "service-shim" && fault.service.as_deref() == Some(name) && fault.at <= at
        };
        self.faults.iter().rfind(of_shim).is_some_and(|fault| fault.what.starts_with("SIGSTOP"))
    }

    /// Whether a shim of this service, or of an unknown one, was killed in this time.
    fn lost_its_shim(&self, name: &str, from: i64, to: i64) -> bool {
        self.faults.iter().any(|fault| {
            (from..=to).contains(&fault.at)
                && fault.whom == "service-shim"
                && fault.what.starts_with("SIGKILL")
                && fault.service.as_deref().is_none_or(|service| service == name)
        })
    }

    fn was_hit(&self, name: &str, from: i64, to: i64) -> bool {
        self.faults.iter().any(|fault| {
            fault.at >= from
                && fault.at <= to
                && match &fault.service {
                    Some(service) => service == name,
                    None => fault.whom == "service-shim" || fault.whom == "all",
                }
        })
    }
}

impl Judge {
    /// Collects the daemon's data and judges everything. No transition may be pending.
    pub(crate) fn judge(&mut self, project: &Project, trouble: Trouble) {
        let mut names: Vec<String> =
            project.graph.services.iter().map(|service| service.name.clone()).collect();
        for entry in std::fs::read_dir(project.books()).into_iter().flatten().flatten() {
            let file = entry.file_name();
            let added = file
                .to_str()
                .and_then(|name| name.strip_suffix(".book"))
                .filter(|name| name.starts_with('x'));
            names.extend(added.map(str::to_owned));
        }
        let runs = names.iter().map(|name| (name.clone(), books::runs(project, name))).collect();
        let (faults, actions) = (project.faults(), project.actions());
        let (removed, counted_since) = (project.removed(), self.counted_since.clone());
        let round = Round { project, trouble, faults, actions, runs, removed, counted_since };
        let events = self.events.collect(&round);
        self.counts.events += events.len();
        self.counts.edges += edges::judge(&round, &events, &self.judged);
        let (judged, codes) = runs::judge(&round, &events, &mut self.judged);
        self.counts.runs += judged;
        self.counts.codes += codes;
        self.counts.answers += answers::judge(&round);
        for service in project.graph.services.iter().filter(|service| service.has_lines) {
            let place = self.lines.entry(service.name.clone()).or_default();
            self.counts.lines += lines::judge(&round, service, place);
        }
        let is_anew = |name: &&String| round.removed.contains(*name) || round.lost_power().is_some();
        self.counted_since.extend(round.runs.keys().filter(is_anew).map(|name| (name.clone(), now())));
    }
}
