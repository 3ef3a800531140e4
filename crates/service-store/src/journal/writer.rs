//! [`Journal`]: numbered events of the services, on disk and live.
//!
//! The engine reports its observations. At the end of its turn, [`Journal::commit`] writes all events of the turn
//! together, and then delivers them to followers. A delivered event is therefore on disk. Numbers are never reused, and
//! the events of a file have consecutive numbers across all daemons of the project.
//!
//! If the disk cannot be written, nothing is delayed: up to [`MAX_WAITING_COUNT`] events wait in memory, and are
//! delivered before they are on disk. The last assigned number is saved in the header of the file, which needs no
//! space, so that no number is reused if the daemon is killed. Once the disk is writable again, the waiting events are
//! written, with an event that reports the number of lost ones.
//!
//! Results of health checks have their own file, so that they never displace events. Only the last check of a start is
//! recorded, because checks are frequent during a start.

use super::checks::{CheckRow, Checks};
use super::reader::Pages;
use super::record::{EventRecord, LiveMessage, MAX_REASON_BYTES, VERSION, checks_path, path, shorten};
use super::segment::SegmentedLog;
use super::subscription::Subscription;
use super::tracker::{EventDraft, ObservedState, StateTracker};
use jiff::Timestamp;
use service_api::Event;
use service_api::event::kind;
use service_api::redact::{cut, redact};
use service_core::service::Exit;
use service_core::{Moment, Name};
use service_host::clock;
use service_host::paths::Paths;
use service_host::report::CheckResult;
use service_shim::error_text::describe_error;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast;

/// The maximum size of a file; the journal has two files.
const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// The maximum number of events that wait in memory while the disk cannot be written.
const MAX_WAITING_COUNT: usize = 4096;
/// The maximum number of check results that wait in memory while the disk cannot be written.
const MAX_WAITING_CHECKS: usize = 256;
/// The number of unread events at which a follower is disconnected.
const LIVE_CAPACITY: usize = 4096;
/// The delay after a failed write.
const RETRY_DELAY: Duration = Duration::from_secs(5);
/// The interval between heartbeats for followers.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(15);
/// The maximum number of delivered events that are not on disk.
const MAX_LOST_COUNT: u64 = 100_000;
/// The length of the text that is searched for secrets. This length exceeds the recorded one, because a truncated
/// secret is not recognized.
const MAX_READ_BYTES: usize = 4 * MAX_REASON_BYTES;

/// The journal of one project.
pub struct Journal {
    file: SegmentedLog,
    checks: SegmentedLog,
    next: u64,
    seen: BTreeMap<String, StateTracker>,
    /// The events of this turn.
    fresh: Vec<Arc<EventRecord>>,
    turn_time: Option<(Timestamp, Moment)>,
    /// Events that have not been delivered yet.
    undelivered: Vec<Arc<EventRecord>>,
    /// The events that are not yet in the file.
    waiting: VecDeque<Arc<EventRecord>>,
    lost: u64,
    fresh_checks: Vec<CheckRow>,
    /// The last check of each unfinished start.
    held: BTreeMap<String, CheckRow>,
    retry_at: Option<Moment>,
    /// The error of the last write; `None` after a success.
    last_error: Option<String>,
    next_heartbeat: Option<Moment>,
    live: broadcast::Sender<LiveMessage>,
}

impl Journal {
    /// Opens the files of former daemons, and records the start of this one.
    ///
    /// Numbers continue after the higher of `last_event` and the last number in the files.
    pub fn open(paths: &Paths, last_event: u64) -> Self {
        Self::open_limited(paths, last_event, MAX_FILE_BYTES)
    }

    pub(super) fn open_limited(paths: &Paths, last_event: u64, limit: u64) -> Self {
        let mut file = SegmentedLog::open(path(&paths.state_dir), limit, Some(paths.disk.clone()));
        let texts = file.segments().read().unwrap_or_else(|error| {
            tracing::error!(%error, "cannot read the journal; event numbers start again");
            Default::default()
        });
        let pages = Pages::read(&texts);
        if pages.broken > 0 {
            tracing::error!(lines = pages.broken, "cannot parse some lines of the journal; skipping them");
        }
        if pages.is_foreign_version {
            tracing::error!("the journal has another version; moving it aside and starting a new file");
            file.close();
        }
        let checks = SegmentedLog::open(checks_path(&paths.state_dir), limit, None);
        let (fresh, turn_time, undelivered, waiting, fresh_checks, held, lost) = Default::default();
        let (retry_at, last_error, next_heartbeat) = (None, None, None);
        let highest = pages.highest.max(last_event);
        // Events that were delivered but not written are lost. Their numbers must not be reused.
        let is_cut_off = pages.daemon.as_deref() == Some("running")
            && pages.boot_id.as_deref().is_some_and(|boot_id| boot_id != paths.boot_id);
        let next = if is_cut_off { highest.saturating_add(MAX_LOST_COUNT) } else { highest } + 1;
        let (seen, live) = (pages.seen, broadcast::Sender::new(LIVE_CAPACITY));
        let mut journal = Self {
            file,
            checks,
            next,
            seen,
            fresh,
            turn_time,
            undelivered,
            waiting,
            lost,
            fresh_checks,
            held,
            retry_at,
            last_error,
            next_heartbeat,
            live,
        };
        if is_cut_off || last_event > pages.highest {
            let cause = if is_cut_off {
                "the machine crashed"
            } else {
                "the daemon was killed while the journal could not be written"
            };
            let reason = format!("{cause}: events after {} may be lost", pages.highest);
            journal.record(EventDraft {
                event: kind::JOURNAL,
                reason: Some(reason),
                ..EventDraft::default()
            });
        }
        // A former daemon without a recorded end was killed.
        let from = pages.daemon.map(|word| if word == "running" { "lost".to_owned() } else { word });
        let (version, pid) = (env!("CARGO_PKG_VERSION"), std::process::id());
        journal.record(EventDraft {
            event: kind::DAEMON,
            from,
            to: Some("running".to_owned()),
            reason: Some(format!("orchestratord {version}, pid {pid}")),
            boot_id: Some(paths.boot_id.clone()),
            ..EventDraft::default()
        });
        journal
    }

    /// Records the observed state of a service.
    pub fn observe(&mut self, name: &Name, observed: ObservedState) {
        let pending = observed.is_pending();
        let seen = self.seen.entry(name.to_string()).or_default();
        let drafts = seen.observe(name, observed);
        if !pending {
            self.fresh_checks.extend(self.held.remove(&**name));
        }
        for draft in drafts {
            self.record(draft);
        }
    }

    /// Records which services are defined. A running service without a definition is retained.
    pub fn defined<'n>(
        &mut self,
        names: impl Iterator<Item = &'n Name>,
        running: &BTreeSet<Name>,
        by: Option<&str>,
    ) {
        let names: BTreeSet<&str> =
            names.filter(|name| !running.contains(*name)).map(|name| &**name).collect();
        let mut drafts = Vec::new();
        let draft = |event, name: &str| EventDraft::about(event, name, by);
        for (name, seen) in &mut self.seen {
            if !seen.removed && !names.contains(name.as_str()) {
                seen.removed = true;
                drafts.push(draft(kind::REMOVED, name));
            }
        }
        let stays = |name: &str| running.contains(name) || names.contains(name);
        self.seen.retain(|name, seen| !seen.removed || stays(name));
        for name in names {
            let new = !self.seen.contains_key(name);
            let seen = self.seen.entry(name.to_owned()).or_default();
            if std::mem::take(&mut seen.removed) || new {
                drafts.push(draft(kind::DEFINED, name));
            }
        }
        for draft in drafts {
            self.record(draft);
        }
    }

    /// Records a changed definition.
    pub fn changed(&mut self, name: &Name, by: Option<&str>) {
        self.record(EventDraft::about(kind::CHANGED, name, by));
    }

    /// Records a detail of a stop: the stop command failed, or a kill was necessary.
    pub fn stop(&mut self, name: &Name, run: u64, to: &'static str, reason: String) {
        let (to, reason, run) = (Some(to.to_owned()), Some(reason), Some(run));
        self.record(EventDraft { to, reason, run, ..EventDraft::about(kind::STOP, name, None) });
    }

    /// Records the result of a check; `deciding` while the health of the service is undecided.
    pub fn checked(&mut self, name: &Name, run: u64, check: &CheckResult, deciding: bool) {
        let row = CheckRow::new(name, run, check);
        if deciding {
            self.held.insert(name.to_string(), row);
        } else {
            self.fresh_checks.push(row);
        }
    }

    /// Records the end of the daemon, and writes all events.
    pub fn close(&mut self, now: Moment) {
        let (from, to) = (Some("running".to_owned()), Some("ended".to_owned()));
        self.retry_at = None;
        self.record(EventDraft { event: kind::DAEMON, from, to, ..EventDraft::default() });
        self.commit(now);
    }

    fn record(&mut self, draft: EventDraft) {
        let seq = self.next;
        let (time, now) = *self.turn_time.get_or_insert_with(|| (clock::today(), clock::now()));
        self.next += 1;
        let (exit_code, exit_signal) = (draft.exit.and_then(Exit::code), draft.exit.and_then(Exit::signal));
        // Each event is serialized separately, so that no step takes as long as a whole turn.
        self.fresh.extend(EventRecord::new(Event {
            seq,
            time: time.to_string(),
            since_boot_ms: clock::millis(now.since(Moment::from_nanos(0))),
            service: draft.service,
            event: draft.event.to_owned(),
            from: draft.from,
            to: draft.to,
            reason: draft.reason.map(|reason| shorten(redact(&cut(&reason, MAX_READ_BYTES)).into_owned())),
            by: draft.by,
            run: draft.run,
            exit_code,
            exit_signal,
            need: draft.need,
            boot_id: draft.boot_id,
        }));
    }

    /// The highest number that must not be assigned again. This is the number of the last written or delivered event.
    /// While the file cannot be written, it is the last assigned number.
    pub fn last_assigned_number(&self) -> u64 {
        let fresh = if self.is_lagging() { 0 } else { self.fresh.len() as u64 };
        self.next - 1 - fresh
    }

    /// Whether events are missing in the file, so that only the state file has their numbers.
    pub fn is_lagging(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The reason why events cannot be written at present.
    pub fn last_error(&self) -> Option<&str> {
        self.last_error.as_deref()
    }

    /// When [`Journal::commit`] must be called next, even without events.
    pub fn next_deadline(&self) -> Option<Moment> {
        self.retry_at.into_iter().chain(self.next_heartbeat).min()
    }

    /// Writes the events of this turn, then delivers them.
    pub fn commit(&mut self, now: Moment) {
        self.save(now);
        self.publish(now);
    }

    /// Writes the events of this turn. [`Journal::publish`] follows.
    pub fn save(&mut self, now: Moment) {
        self.turn_time = None;
        let fresh = std::mem::take(&mut self.fresh);
        self.waiting.extend(fresh.iter().cloned());
        self.undelivered.extend(fresh.iter().cloned());
        if self.retry_at.is_none_or(|due| due <= now) {
            self.write(now);
        } else if !fresh.is_empty() {
            self.mark_lagging();
        }
    }

    /// Delivers the events of this turn to followers.
    pub fn publish(&mut self, now: Moment) {
        for recorded in std::mem::take(&mut self.undelivered) {
            let _ = self.live.send(LiveMessage::Event(recorded)); // there may be no follower
        }
        if !self.fresh_checks.is_empty() {
            self.write_checks();
        }
        if self.next_heartbeat.is_some_and(|due| due <= now) {
            let _ = self.live.send(LiveMessage::Heartbeat(self.next - 1));
            self.next_heartbeat = (self.live.receiver_count() > 0).then(|| now.plus(HEARTBEAT_INTERVAL));
        }
        if !self.fresh.is_empty() {
            self.commit(now);
        }
    }

    fn write(&mut self, now: Moment) {
        let Some(first) = self.waiting.front().map(|recorded| recorded.event.seq) else {
            self.retry_at = None;
            return;
        };
        let lines: String = self.waiting.iter().flat_map(|recorded| [recorded.json.as_str(), "\n"]).collect();
        match self.file.append(lines.as_bytes(), || head(first - 1, &self.seen)) {
            Ok(()) => {
                self.waiting.clear();
                (self.retry_at, self.last_error) = (None, None);
                self.record_loss();
            }
            Err(error) => {
                if self.retry_at.is_none() {
                    tracing::error!(%error, "cannot write the journal; keeping events in memory");
                }
                self.retry_at = Some(now.plus(RETRY_DELAY));
                self.last_error = Some(describe_error(&error));
                self.mark_lagging();
            }
        }
    }

    /// Limits the waiting events, and prevents a reuse of their numbers.
    fn mark_lagging(&mut self) {
        let surplus = self.waiting.len().saturating_sub(MAX_WAITING_COUNT);
        self.waiting.drain(..surplus);
        self.lost += surplus as u64;
        if let Err(error) = self.file.overwrite(digits(self.next - 1).as_bytes(), GIVEN_AT) {
            tracing::debug!(%error, "cannot save the number of the last event");
        }
    }

    /// Records the number of lost events, when the disk is writable again.
    fn record_loss(&mut self) {
        let lost = std::mem::take(&mut self.lost);
        if lost > 0 {
            let reason = Some(format!("{lost} earlier events could not be written and are lost"));
            self.record(EventDraft { event: kind::JOURNAL, reason, ..EventDraft::default() });
        }
    }

    fn write_checks(&mut self) {
        let lines: Vec<u8> = self.fresh_checks.iter().flat_map(CheckRow::line).collect();
        match self.checks.append(&lines, Vec::new) {
            Ok(()) => self.fresh_checks.clear(),
            Err(error) => {
                tracing::debug!(%error, "cannot save health check results");
                let surplus = self.fresh_checks.len().saturating_sub(MAX_WAITING_CHECKS);
                self.fresh_checks.drain(..surplus);
            }
        }
    }

    /// Whether the journal has a state of a service of this name.
    pub fn has_service(&self, name: &str) -> bool {
        self.seen.contains_key(name)
    }

    /// The past events, and a subscription to later ones.
    pub fn subscribe(&mut self, now: Moment) -> Subscription {
        self.next_heartbeat.get_or_insert(now.plus(HEARTBEAT_INTERVAL));
        Subscription {
            segments: self.file.segments(),
            checks: Checks::new(self.checks.segments()),
            unwritten: self.waiting.iter().cloned().collect(),
            last: self.next - 1 - self.fresh.len() as u64,
            live: self.live.subscribe(),
        }
    }
}

/// The offset of the last assigned number in the header, where it is overwritten in place.
const GIVEN_AT: u64 = "{\"journal\":1,\"given\":\"".len() as u64;

/// The first line of a file.
fn head(given: u64, seen: &BTreeMap<String, StateTracker>) -> Vec<u8> {
    let seen = serde_json::to_string(seen).unwrap_or_else(|_| "{}".to_owned());
    format!("{{\"journal\":{VERSION},\"given\":\"{}\",\"seen\":{seen}}}\n", digits(given)).into_bytes()
}

fn digits(number: u64) -> String {
    format!("{number:020}")
}

#[cfg(test)]
mod tests;
