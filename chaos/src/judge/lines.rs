//! Judges the lines: each complete line of a service is in its log, once, in order, unless its loss is reported.

use super::Round;
use crate::books::{self, Run};
use crate::calm::within;
use crate::graph::Service;
use crate::project::{InjectedFault, Project, now};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// The time limit for the last lines of a service that does not write any more.
const ARRIVES: Duration = Duration::from_secs(20);
/// The age of the output that a run may lose if its shim is killed after the daemon and the shim's zygote.
const BEFORE: i64 = 15_000_000_000;

/// The position up to which a log is judged.
#[derive(Debug, Default)]
pub(super) struct Place {
    /// The run, and the number of the line.
    last: Option<(usize, u64)>,
    /// The time of the last line in the log.
    since: String,
}

/// One line of the log.
#[derive(Debug, PartialEq, Eq)]
enum Line {
    /// Run and number of a complete line.
    Whole(u64, u64),
    /// An incomplete line, whose end was never written.
    Torn(String),
    /// A report that this many lines could not be written.
    Dropped(u64),
}

/// The number of judged lines.
pub(super) fn judge(round: &Round, service: &Service, place: &mut Place) -> u64 {
    let project = round.project;
    let runs = round.runs.get(&service.name).cloned().unwrap_or_default();
    let counts = books::counts(project, &service.name);
    let count =
        |run: &Run| usize::try_from(run.number).ok().and_then(|at| counts.get(at)).copied().unwrap_or(0);
    let Some(directory) = project.state_of_daemon().map(|state| state.join("services").join(&service.name))
    else {
        return 0;
    };
    let last = runs.last().map(|run| (run.number, count(run)));
    let mut read = (Vec::new(), 0);
    within(ARRIVES, || {
        read = log(&directory);
        let newest = read.0.iter().rev().find_map(|(_, line)| match line {
            Line::Whole(run, n) => Some((*run, *n)),
            _ => None,
        });
        last.is_none_or(|(run, n)| n == 0 || newest.is_some_and(|(in_run, in_n)| in_run == run && in_n >= n))
    });
    let (mut lines, files) = read;
    let newest = lines.last().map(|(time, _)| time.clone());
    lines.retain(|(time, _)| *time > place.since);
    place.since = newest.unwrap_or_else(|| place.since.clone());
    let lines: Vec<Line> = lines.into_iter().map(|(_, line)| line).collect();
    if round.lost_power().is_some() || round.removed.contains(&service.name) {
        // The log of a removed service is removed with the service, and the contents of a log after a power loss are
        // unknown. Only later lines are judged.
        place.last = runs.len().checked_sub(1).map(|at| (at, last.map_or(0, |last| last.1)));
        return 0;
    }
    let judged = Judged { round, service, runs: &runs, count: &count, is_full: files > service.log_files };
    judged.all(&lines, place)
}

struct Judged<'a, C: Fn(&Run) -> u64> {
    round: &'a Round<'a>,
    service: &'a Service,
    runs: &'a [Run],
    count: C,
    /// Whether the log has the maximum number of files, so that older ones were deleted.
    is_full: bool,
}

impl<C: Fn(&Run) -> u64> Judged<'_, C> {
    fn all(&self, lines: &[Line], place: &mut Place) -> u64 {
        let index: BTreeMap<u64, usize> =
            self.runs.iter().enumerate().map(|(at, run)| (run.number, at)).collect();
        let (mut last, mut judged, mut told) = (place.last, 0, 0);
        let mut is_first = true;
        for (at, line) in lines.iter().enumerate() {
            let (run, n) = match line {
                Line::Whole(run, n) => (*run, *n),
                Line::Dropped(lines) => {
                    told += lines;
                    continue;
                }
                Line::Torn(text) => {
                    self.torn(lines, at, text);
                    continue;
                }
            };
            let Some(run) = index.get(&run).copied() else {
                self.violation(&format!("line {n} of run {run}, which no book knows"));
                continue;
            };
            if last.is_some_and(|last| run < last.0) && self.may_be_late(&self.runs[run]) {
                judged += 1;
                continue;
            }
            if last.is_some_and(|last| (run, n) <= last) {
                self.violation(&format!(
                    "line {n} of run {} comes after {last:?}, in the order of runs",
                    self.runs[run].number
                ));
                continue;
            }
            if !(is_first && self.is_full) {
                self.gap(last, (run, n), told);
            }
            (last, judged, is_first, told) = (Some((run, n)), judged + 1, false, 0);
        }
        if let Some(end) = self.runs.len().checked_sub(1) {
            self.gap(last, (end, (self.count)(&self.runs[end]) + 1), told);
        }
        place.last = last;
        judged
    }

    /// Checks that no line is missing between a line and the next one.
    fn gap(&self, from: Option<(usize, u64)>, to: (usize, u64), told: u64) {
        let (first, after) = from.unwrap_or((0, 0));
        let mut missing = Vec::new();
        for at in first..=to.0 {
            let begin = if at == first { after + 1 } else { 1 };
            let end = if at == to.0 { to.1 } else { (self.count)(&self.runs[at]) + 1 };
            let is_over = at < to.0 || self.round.forgot_what_was_lost().is_some();
            if end > begin && !(is_over && self.may_lose_its_end(&self.runs[at])) {
                missing.push((self.runs[at].number, begin, end - 1));
            }
        }
        let lost: u64 = missing.iter().map(|(_, begin, end)| end - begin + 1).sum();
        // Besides the lines counted here, a report may include lines that were cut off or not counted by the service.
        if lost > told {
            self.violation(&format!("(run, first, last) missing: {missing:?}; told are {told}"));
        }
    }

    /// Whether the last output of a run may be lost: if shim, zygote and daemon are all killed, or if a shim is killed
    /// before it reports lines that a full disk has lost.
    fn may_lose_its_end(&self, run: &Run) -> bool {
        let is_over = |from: i64| run.end.is_some_and(|(end, _)| end < from);
        if self.round.forgot_what_was_lost().is_some_and(|(from, to)| run.begin < to && !is_over(from)) {
            return true;
        }
        let killed = |whom: &str| {
            let hits = self
                .round
                .faults
                .iter()
                .filter(|fault| fault.whom == whom && fault.what.starts_with("SIGKILL"));
            hits.filter(|fault| fault.at > run.begin - BEFORE).map(|fault| fault.at).collect::<Vec<_>>()
        };
        let shim = self.round.faults.iter().any(|fault| {
            fault.whom == "service-shim"
                && fault.service.as_deref().is_none_or(|name| name == self.service.name)
                && fault.at > run.begin
        });
        shim && !killed("shim-template").is_empty() && !killed("orchestratord").is_empty()
    }

    /// Whether the last lines of a run may be written late: a zygote without a daemon writes the last lines of a killed
    /// shim, and if it is frozen, the next run begins meanwhile.
    fn may_be_late(&self, run: &Run) -> bool {
        let hit = |whom: &str, what: &str| {
            let hits = |fault: &&InjectedFault| fault.whom == whom && fault.what.starts_with(what);
            self.round.faults.iter().any(|fault| hits(&fault) && fault.at > run.begin - BEFORE)
        };
        let is_alone = hit("orchestratord", "SIGKILL") && hit("shim-template", "SIGSTOP");
        is_alone && self.round.lost_its_shim(&self.service.name, run.begin, now())
    }

    /// Checks that only the last line of a run is incomplete.
    fn torn(&self, lines: &[Line], at: usize, text: &str) {
        let run_of = |line: &Line| match line {
            Line::Whole(run, _) => Some(*run),
            _ => None,
        };
        let before = lines[..at].iter().rev().find_map(run_of);
        let after = lines[at + 1..].iter().find_map(run_of);
        if before.is_some() && before == after && self.round.disk_was_well() {
            let start: String = text.chars().take(80).collect();
            self.violation(&format!(
                "a line of {} bytes in the middle of run {before:?} is none: {start}",
                text.len()
            ));
        }
    }

    fn violation(&self, what: &str) {
        let project: &Project = self.round.project;
        project.violation("lines", &format!("{}: {what}", self.service.name));
    }
}

/// The lines of all files of a log, the oldest first, and the number of files.
fn log(directory: &std::path::Path) -> (Vec<(String, Line)>, usize) {
    let mut files: Vec<PathBuf> = (1..1000)
        .map(|n| directory.join(format!("service.log.{n}")))
        .take_while(|path| path.exists())
        .collect();
    files.reverse();
    files.push(directory.join("service.log"));
    let text: Vec<u8> = files.iter().flat_map(|file| fs::read(file).unwrap_or_default()).collect();
    let (mut lines, mut open) = (Vec::new(), String::new());
    for record in text.split(|byte| *byte == b'\n') {
        let record = String::from_utf8_lossy(record);
        let words: Vec<&str> = record.splitn(4, ' ').collect();
        let [time, stream, tag, text] = words.as_slice() else { continue };
        if *stream == "shim" {
            let count = text.split(' ').next().and_then(|count| count.parse().ok());
            let dropped = count.filter(|_| text.contains("dropped")).map(Line::Dropped);
            lines.extend(dropped.map(|line| ((*time).to_owned(), line)));
        } else if *stream == "stdout" {
            open += text;
            if *tag == "F" {
                lines.extend(line(&open).map(|line| ((*time).to_owned(), line)));
                open.clear();
            }
        }
    }
    (lines, files.len())
}

fn line(text: &str) -> Option<Line> {
    if text.starts_with("READY ") || text.is_empty() {
        return None;
    }
    let words: Vec<&str> = text.split(' ').collect();
    if let [run, n, length, filler, "."] = words.as_slice()
        && let (Ok(run), Ok(n), Ok(length)) = (run.parse(), n.parse(), length.parse::<usize>())
        && filler.len() == length
    {
        return Some(Line::Whole(run, n));
    }
    Some(Line::Torn(text.to_owned()))
}
