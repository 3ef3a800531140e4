//! Judges the runs: never two at the same time, no number twice, each exit reported correctly, and no one-shot
//! repeated.

use super::Round;
use super::events::Event;
use crate::books::Run;
use crate::project::seconds;
use std::collections::{BTreeMap, BTreeSet};

/// The numbers of judged runs and exit codes.
pub(super) fn judge(round: &Round, events: &[Event], judged: &mut BTreeMap<String, usize>) -> (usize, usize) {
    let (mut count, mut codes) = (0, 0);
    for (name, runs) in &round.runs {
        let from = judged.get(name).copied().unwrap_or(0);
        count += runs.len() - from;
        for run in &runs[from..] {
            if let Some(what) = &run.twice {
                violation(round, "one run at a time", name, run, &format!("found {what} beside itself"));
            }
        }
        numbers(round, name, runs, from);
        let told: Vec<&Event> =
            events.iter().filter(|event| event.service.as_deref() == Some(name)).collect();
        for run in &runs[from..] {
            codes += usize::from(code(round, name, run, &told));
        }
        strangers(round, runs, &told);
        work(round, name, &runs[from..], &told);
        // A run that continues is judged when it has ended.
        let open = runs[from..].iter().position(|run| run.end.is_none() && run.is_alive());
        judged.insert(name.clone(), open.map_or(runs.len(), |open| from + open));
    }
    (count, codes)
}

/// Checks that each number is unique, as long as the service was defined without interruption and the disk was intact.
fn numbers(round: &Round, name: &str, runs: &[Run], from: usize) {
    if round.removed.contains(name) {
        return;
    }
    let since = round.lost_power().max(round.counted_since.get(name).copied()).unwrap_or(0);
    let known = runs.iter().enumerate().filter(|(_, run)| run.begin > since);
    let mut seen = BTreeSet::new();
    for (at, run) in known {
        if !seen.insert(run.number) && at >= from {
            violation(round, "numbers of runs", name, run, "has a number that was given before");
        }
    }
}

/// Checks that the reported exit code of a run is the recorded one.
fn code(round: &Round, name: &str, run: &Run, told: &[&Event]) -> bool {
    // After a power loss the numbers of the last moments are reused.
    let lost = round.lost_power().unwrap_or(0);
    let is_known = run.begin > lost && !round.removed.contains(name);
    let Some((at, code)) = run.end.filter(|_| is_known) else { return false };
    let of_run = || {
        told.iter().filter(|event| event.run == Some(run.number) && event.time > run.begin - 1_000_000_000)
    };
    let ends: Vec<i64> = of_run().filter_map(|event| event.exit_code).collect();
    if ends.iter().any(|end| *end != code) {
        violation(round, "exit codes", name, run, &format!("ended with {code}, and told is {ends:?}"));
    }
    // The run was killed between its record and its exit, by a fault or because it was too slow.
    let was_killed = of_run().any(|event| event.exit_signal.is_some());
    // A shim that dies loses the exit status, and a stop is reported without one.
    let may_be_unknown = was_killed
        || round.was_hit(name, run.begin, at + 3_000_000_000)
        || of_run().any(|event| event.to.as_deref().is_some_and(|to| to == "stopping" || to == "stopped"))
        || !round.disk_was_well();
    if ends.is_empty() && !may_be_unknown && of_run().next().is_some() {
        let seen: Vec<&Event> = of_run().copied().collect();
        violation(
            round,
            "exit codes",
            name,
            run,
            &format!("ended with {code}, and nothing is told of that: {seen:?}"),
        );
    }
    !ends.is_empty()
}

/// Checks that each run with a reported exit has begun.
fn strangers(round: &Round, runs: &[Run], told: &[&Event]) {
    if round.lost_power().is_some() {
        return;
    }
    for event in told {
        let begins = |run: &Run| Some(run.number) == event.run && run.begin < event.time + 1_000_000_000;
        if event.exit_code.is_some() && !runs.iter().any(begins) {
            round.project.violation("exit codes", &format!("no book knows the run of {event:?}"));
        }
    }
}

/// Checks that a completed one-shot runs again only on request.
fn work(round: &Round, name: &str, runs: &[Run], told: &[&Event]) {
    if !round.project.graph.get(name).is_some_and(crate::graph::Service::is_oneshot)
        || round.lost_power().is_some()
    {
        return;
    }
    for pair in runs.windows(2) {
        let [done, again] = pair else { continue };
        let Some((end, 0)) = done.end else { continue };
        // A shim that is killed between the exit of its service and the record of it loses the exit status, so the
        // completion is unknown.
        if round.lost_its_shim(name, done.begin, end + 3_000_000_000) {
            continue;
        }
        // The next run must have been requested. It may have been killed before it wrote a line.
        let begins =
            |event: &&&Event| event.run == Some(done.number + 1) && event.to.as_deref() == Some("starting");
        let Some(begin) = told.iter().find(begins) else { continue };
        let by = begin.by.as_deref().unwrap_or_default();
        // After a stop, or a start during the run, the next start runs the one-shot again.
        let is_end =
            |event: &Event| event.to.as_deref().is_some_and(|to| to == "stopped" || to == "stopping");
        let was_stopped =
            told.iter().any(|event| event.seq < begin.seq && event.run == Some(done.number) && is_end(event));
        let is_asked = by.starts_with("user") || by == "policy when_lost" || was_stopped;
        if !is_asked {
            let seen: Vec<&&Event> = told
                .iter()
                .filter(|event| event.run == Some(done.number) || event.run == Some(again.number))
                .collect();
            violation(
                round,
                "work that is done",
                name,
                again,
                &format!("follows run {} that did the work: {seen:?}", done.number),
            );
        }
    }
}

fn violation(round: &Round, which: &str, name: &str, run: &Run, what: &str) {
    let (number, begin, pid) = (run.number, seconds(run.begin), run.pid);
    let end = run.end.map(|(at, code)| format!(" to {} with {code}", seconds(at))).unwrap_or_default();
    round.project.violation(which, &format!("{name} run {number} (pid {pid}, {begin}{end}) {what}"));
}
