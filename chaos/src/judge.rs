//! The judge: holds what was answered, told and logged against the books.

mod answers;
mod edges;
mod events;
mod lines;
mod runs;

use crate::books::{self, Run};
use crate::project::{Project, Strike, Wish, now};
use crate::striker::Trouble;
use std::collections::{BTreeMap, BTreeSet};

/// How long it takes until what was lost on a full disk is written down.
const AFTERWARDS: i64 = 6_000_000_000;

/// What is remembered from round to round.
#[derive(Default)]
pub(crate) struct Judge {
    /// Runs with a number below have been judged, by service.
    judged: BTreeMap<String, usize>,
    lines: BTreeMap<String, lines::Place>,
    events: events::Chain,
    counted_since: BTreeMap<String, i64>,
    pub(crate) counts: Counts,
}

/// What has been judged in all.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Counts {
    pub(crate) runs: usize,
    pub(crate) answers: usize,
    pub(crate) lines: u64,
    pub(crate) edges: usize,
    pub(crate) events: usize,
    pub(crate) codes: usize,
}

/// One round, as far as it is written down.
struct Round<'a> {
    project: &'a Project,
    trouble: Trouble,
    strikes: Vec<Strike>,
    wishes: Vec<Wish>,
    runs: BTreeMap<String, Vec<Run>>,
    /// Services that were not defined for a while: nobody knows their needs then, and their runs are counted anew.
    removed: BTreeSet<String>,
    /// Since when the runs of a service have numbers that were not given before.
    counted_since: BTreeMap<String, i64>,
}

impl Round<'_> {
    fn lost_power(&self) -> Option<i64> {
        self.strikes.iter().find(|strike| strike.what == "power loss").map(|strike| strike.at)
    }

    /// Whether the disk took everything that was written in this round.
    fn disk_was_well(&self) -> bool {
        !matches!(self.trouble, Trouble::Disk | Trouble::ReadOnly | Trouble::Power)
    }

    /// From when to when the disk took nothing, if a daemon was killed meanwhile: what it knew of that is lost with it.
    fn forgot_what_was_lost(&self) -> Option<(i64, i64)> {
        let mut of_the_disk =
            self.strikes.iter().filter(|strike| strike.whom == "disk").map(|strike| strike.at);
        let (from, to) = (of_the_disk.next()?, of_the_disk.next()?);
        let is_lost = |strike: &&Strike| {
            strike.whom == "orchestratord"
                && strike.what.starts_with("SIGKILL")
                && (from..to + AFTERWARDS).contains(&strike.at)
        };
        self.strikes.iter().find(is_lost).map(|_| (from, to + AFTERWARDS))
    }

    /// Whether the shim of a service did not go on at this moment, so that nobody could know of an end.
    fn was_frozen(&self, name: &str, at: i64) -> bool {
        let of_shim = |strike: &&Strike| {
            strike.whom == "service-shim" && strike.service.as_deref() == Some(name) && strike.at <= at
        };
        self.strikes.iter().rfind(of_shim).is_some_and(|strike| strike.what.starts_with("SIGSTOP"))
    }

    fn was_struck(&self, name: &str, from: i64, to: i64) -> bool {
        self.strikes.iter().any(|strike| {
            strike.at >= from
                && strike.at <= to
                && match &strike.service {
                    Some(service) => service == name,
                    None => strike.whom == "service-shim" || strike.whom == "all",
                }
        })
    }
}

impl Judge {
    /// Collects what the daemon tells, and judges it with all the rest. Nothing may be on its way.
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
        let (strikes, wishes) = (project.strikes(), project.wishes());
        let (removed, counted_since) = (project.removed(), self.counted_since.clone());
        let round = Round { project, trouble, strikes, wishes, runs, removed, counted_since };
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
