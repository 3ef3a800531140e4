//! Judges the responses to starts, stops and restarts by the books.

use super::Round;
use crate::books::Run;
use crate::client::CLIENTS;
use crate::fault_injector::Trouble;
use crate::graph::Readiness;
use crate::project::{ActionRecord, seconds};
use serde_json::Value;

/// The maximum time between a launch and the first line in the book.
const SLOW: i64 = 3_000_000_000;

/// The maximum time between the end in the book and the daemon's report of it, because a service records its end before
/// it exits.
const EXIT_DELAY: i64 = 500_000_000;

/// Error codes that a client may receive while faults are injected.
const EXPECTED: [&str; 11] = [
    "timeout",
    "cancelled",
    "start_failed",
    "dependency_failed",
    "never",
    "not_found",
    "daemon_unreachable",
    "storage",
    "busy",
    "exists",
    "name_taken",
];

/// The number of judged responses.
pub(super) fn judge(round: &Round) -> usize {
    let mut count = 0;
    for record in &round.actions {
        for row in &record.rows {
            let name = row["name"].as_str().unwrap_or_default();
            let Some(runs) = round.runs.get(name) else { continue };
            if row["ok"] == true {
                count += usize::from(is_true(round, record, row, name, runs));
            } else if let Some(code) = row["error"]["code"].as_str() {
                // The values of an environment are not stored, so another daemon cannot roll back to them.
                let is_forgotten = code == "bad_definition" && record.what.contains("/apply ");
                let lacks_descriptors =
                    row["error"]["message"].as_str().is_some_and(|text| text.contains("Too many open files"));
                let is_expected = EXPECTED.contains(&code)
                    || is_forgotten
                    || lacks_descriptors
                    || code == "stop_failed" && !round.disk_was_well()
                    // If a file cannot be read, for example without free descriptors, the state of a run is unknown.
                    || code == "state_unknown"
                        && matches!(round.trouble, Trouble::ReadOnly | Trouble::Descriptors);
                if !is_expected {
                    round.project.violation("words", &format!("{}: {row}", record.what));
                }
            }
        }
    }
    count
}

fn is_true(round: &Round, record: &ActionRecord, row: &Value, name: &str, runs: &[Run]) -> bool {
    let (from, to) = (record.sent, record.answered);
    let told =
        format!("client {} {} to {}: {}: {row}", record.client, seconds(from), seconds(to), record.what);
    let action = row["action"].as_str().unwrap_or_default();
    let is_fuzzy = round.lost_power().is_some_and(|at| at > from - SLOW && at < to + SLOW);
    if record.client > CLIENTS || is_fuzzy {
        return false;
    }
    // The last moment at which a run may have existed: its recorded end, or the beginning of the next run.
    let until = |at: usize| {
        runs[at].end.map(|end| end.0).or_else(|| runs.get(at + 1).map(|next| next.begin)).unwrap_or(i64::MAX)
    };
    // A service that does not report readiness may be killed before it has written a line.
    let is_mute = round.project.graph.get(name).is_some_and(|service| service.readiness == Readiness::Delay);
    let was_hit = || is_mute && round.was_hit(name, from - SLOW, to + SLOW);
    match action {
        "started" | "unchanged" if record.what.contains("/start ") => {
            let was_up =
                (0..runs.len()).any(|at| runs[at].begin <= to + SLOW && until(at) >= from - EXIT_DELAY);
            let does_work = round.project.graph.get(name).is_none_or(crate::graph::Service::is_oneshot);
            let was_done =
                does_work && runs.iter().any(|run| run.begin <= to && run.end.is_some_and(|end| end.1 == 0));
            if !was_up && !was_done && !was_hit() && !round.was_frozen(name, from) {
                round
                    .project
                    .violation("start", &format!("{told}, and no run was there then: {:?}", runs.last()));
            }
        }
        // A dependency or dependent may be in transition because of another request.
        "restarted" if row["named"] == true && record.what.contains("/restart ") => {
            let is_anew = runs.iter().any(|run| run.begin >= from && run.begin <= to + SLOW);
            if !is_anew && !was_hit() {
                round
                    .project
                    .violation("restart", &format!("{told}, and no run has begun then: {:?}", runs.last()));
            }
        }
        "stopped" | "unchanged" if record.what.contains("/stop ") => {
            let all_the_time = runs.iter().any(|run| run.begin < from && is_seen_after(run, to));
            if all_the_time {
                round.project.violation("stop", &format!("{told}, and a run was there all the time"));
            }
        }
        _ => return false,
    }
    true
}

/// Whether a run certainly existed after this moment: by its own record, or because it still runs.
fn is_seen_after(run: &Run, moment: i64) -> bool {
    run.end.is_some_and(|end| end.0 > moment)
        || run.ready.is_some_and(|ready| ready > moment)
        || run.end.is_none() && run.is_alive()
}
