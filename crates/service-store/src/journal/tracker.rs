//! [`StateTracker`]: the state of a service in the journal's last event. Each difference from an [`ObservedState`]
//! becomes an event.
//!
//! Each event starts from the state in which the previous one ended, also across a daemon crash: the next daemon
//! compares its findings with the journal.

use serde::{Deserialize, Serialize};
use service_api::Event;
use service_api::event::kind;
use service_core::Snapshot;
use service_core::health::Health;
use service_core::service::Exit;
use std::collections::BTreeMap;

/// The state between an ended run and the next run that follows at once: stopped, with goal up.
const WAITING: &str = "waiting";
const STOPPED: &str = "stopped";
const STOPPING: &str = "stopping";
const UNKNOWN: &str = "unknown";

/// One service according to the journal.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct StateTracker {
    state: Option<String>,
    run: u64,
    health: Option<String>,
    /// Whether the service is no longer defined.
    pub(super) removed: bool,
    /// Whether the service was alive before its state became unknown.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    doubted: bool,
    /// The dependency that the service waited for at the last observation.
    #[serde(skip)]
    need: Option<String>,
}

/// The observed state of one service.
pub struct ObservedState {
    state: &'static str,
    alive: bool,
    run: u64,
    health: Health,
    /// The exit of a run, and the number of the run.
    exit: Option<(u64, Exit)>,
    /// The manager's message about the end of the previous run.
    ending: Option<String>,
    reason: Option<String>,
    /// The cause of the state.
    by: Option<String>,
    need: Option<String>,
}

/// An event that has no number and no time yet.
#[derive(Debug, Default, PartialEq)]
pub(super) struct EventDraft {
    pub(super) service: Option<String>,
    pub(super) event: &'static str,
    pub(super) from: Option<String>,
    pub(super) to: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) by: Option<String>,
    pub(super) run: Option<u64>,
    pub(super) exit: Option<Exit>,
    pub(super) need: Option<String>,
    pub(super) boot_id: Option<String>,
}

impl EventDraft {
    /// An event without a state change, on behalf of an actor.
    pub(super) fn about(event: &'static str, service: &str, by: Option<&str>) -> Self {
        Self { event, service: Some(service.to_owned()), by: by.map(str::to_owned), ..Self::default() }
    }
}

impl ObservedState {
    /// `need` is the awaited dependency.
    pub fn new(
        snapshot: &Snapshot,
        ending: Option<&String>,
        reason: Option<String>,
        need: Option<&str>,
    ) -> Self {
        Self {
            state: snapshot.state_word(),
            alive: snapshot.state.is_alive(),
            run: snapshot.run,
            health: snapshot.health,
            exit: snapshot.exit_run.zip(snapshot.last_exit),
            ending: ending.cloned(),
            reason,
            by: snapshot.by().map(str::to_owned),
            need: need.filter(|_| snapshot.state_word() == WAITING).map(str::to_owned),
        }
    }

    #[cfg(test)]
    pub(super) fn ready() -> Self {
        let (exit, ending, reason, by, need) = Default::default();
        Self { state: "ready", alive: true, run: 1, health: Health::Healthy, exit, ending, reason, by, need }
    }

    /// The exit status of this run; `None` if the observed exit belongs to another run.
    fn exit_of(&self, run: u64) -> Option<Exit> {
        self.exit.filter(|(of, _)| *of == run).map(|(_, exit)| exit)
    }

    /// Whether no check has decided the health yet.
    pub(super) fn is_pending(&self) -> bool {
        self.health == Health::Pending
    }
}

impl StateTracker {
    fn was_alive(&self) -> bool {
        match self.state.as_deref() {
            Some(UNKNOWN) => self.doubted,
            state => matches!(state, Some("starting" | "ready" | STOPPING)),
        }
    }

    /// Sets the state.
    fn move_to(&mut self, state: Option<String>) {
        self.doubted = state.as_deref() == Some(UNKNOWN) && self.was_alive();
        self.state = state;
    }

    /// The events since the last observation.
    pub(super) fn observe(&mut self, name: &str, observed: ObservedState) -> Vec<EventDraft> {
        let mut drafts = Vec::new();
        let draft = || EventDraft { service: Some(name.to_owned()), ..EventDraft::default() };
        let later = observed.run > self.run;
        let ended = !observed.alive && (later || (self.was_alive() && observed.run == self.run));
        if self.was_alive() && later {
            // The service ended and was started again between two observations.
            let exit = observed.exit_of(self.run);
            drafts.push(EventDraft {
                event: kind::STATE,
                from: self.state.replace(WAITING.to_owned()),
                to: self.state.clone(),
                reason: Some(match (exit.unwrap_or(Exit::Unknown), &observed.ending) {
                    (Exit::Unreported, Some(ending)) => format!("{}: {ending}", Exit::Unreported),
                    (exit, _) => exit.to_string(),
                }),
                run: Some(self.run),
                exit,
                ..draft()
            });
        }
        if observed.run != self.run {
            // The health of a run whose beginning was not observed is unknown.
            self.health = (observed.state == "starting").then(|| Health::Pending.as_str().to_owned());
        }
        let moved = self.state.as_deref() != Some(observed.state) || later;
        let from_rest = self.state.is_none() && observed.state == STOPPED;
        let state = (moved && !from_rest).then(|| EventDraft {
            event: kind::STATE,
            from: self.state.clone(),
            to: Some(observed.state.to_owned()),
            reason: observed.reason.clone(),
            by: observed.by.clone(),
            run: (observed.run > 0).then_some(observed.run),
            exit: observed.exit_of(observed.run).filter(|_| ended),
            need: observed.need.clone().or_else(|| self.need.take().filter(|_| observed.state == "starting")),
            ..draft()
        });
        self.move_to(Some(observed.state.to_owned()));
        self.run = observed.run;
        let health = self.health(&observed, moved).map(|(from, to)| EventDraft {
            event: kind::HEALTH,
            from,
            to: Some(to),
            reason: observed.reason.filter(|_| observed.health == Health::Unhealthy),
            run: Some(observed.run),
            ..draft()
        });
        self.need = observed.need;
        // If a service is stopped because of its health, the change of health precedes the stop.
        let (first, second) = if observed.state == STOPPING { (health, state) } else { (state, health) };
        drafts.into_iter().chain(first).chain(second).collect()
    }

    /// The change of health, unless it follows from the state or the previous health was unknown.
    fn health(&mut self, observed: &ObservedState, moved: bool) -> Option<(Option<String>, String)> {
        if !(observed.alive && (observed.health.is_good() || observed.health == Health::Unhealthy)) {
            return None;
        }
        let now = observed.health.as_str().to_owned();
        let before = self.health.replace(now.clone());
        let healthy = observed.health.is_good();
        let silent = healthy && (before.is_none() || (moved && observed.state == "ready"));
        (before.as_ref() != Some(&now) && !silent).then_some((before, now))
    }

    /// Applies an event of a former daemon.
    pub(super) fn replay(all: &mut BTreeMap<String, Self>, event: Event) {
        let Some(service) = event.service else { return };
        let seen = all.entry(service).or_default();
        match event.event.as_str() {
            kind::STATE => {
                let run = event.run.unwrap_or(seen.run);
                if run != seen.run {
                    (seen.run, seen.health) = (run, None);
                }
                seen.move_to(event.to);
            }
            kind::HEALTH => seen.health = event.to,
            kind::DEFINED => seen.removed = false,
            kind::REMOVED => seen.removed = true,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observed(state: &'static str, run: u64, health: Health) -> ObservedState {
        let alive = matches!(state, "starting" | "ready" | "stopping");
        let (exit, ending, reason, by, need) = Default::default();
        ObservedState { state, alive, run, health, exit, ending, reason, by, need }
    }

    fn words(drafts: &[EventDraft]) -> Vec<String> {
        let word = |word: &Option<String>| word.clone().unwrap_or_else(|| "-".into());
        drafts.iter().map(|d| format!("{} {} {}", d.event, word(&d.from), word(&d.to))).collect()
    }

    #[test]
    fn a_start_is_two_events_and_health_that_comes_with_it_is_none() {
        let mut seen = StateTracker::default();
        assert!(seen.observe("web", observed("stopped", 0, Health::None)).is_empty());
        assert_eq!(
            words(&seen.observe("web", observed("starting", 1, Health::Pending))),
            ["state stopped starting"]
        );
        assert_eq!(
            words(&seen.observe("web", observed("ready", 1, Health::Healthy))),
            ["state starting ready"]
        );
        assert!(seen.observe("web", observed("ready", 1, Health::Healthy)).is_empty());
        assert_eq!(
            words(&seen.observe("web", observed("ready", 1, Health::Unhealthy))),
            ["health healthy unhealthy"]
        );
        assert_eq!(
            words(&seen.observe("web", observed("ready", 1, Health::Healthy))),
            ["health unhealthy healthy"]
        );
    }

    #[test]
    fn a_crash_that_is_followed_by_a_start_at_once_has_its_own_event_with_the_exit_code() {
        let mut seen = StateTracker { state: Some("ready".into()), run: 4, ..StateTracker::default() };
        let next =
            ObservedState { exit: Some((4, Exit::Code(3))), ..observed("starting", 5, Health::Pending) };
        let drafts = seen.observe("web", next);
        assert_eq!(words(&drafts), ["state ready waiting", "state waiting starting"]);
        assert_eq!((drafts[0].run, drafts[0].exit), (Some(4), Some(Exit::Code(3))));
        assert_eq!((drafts[1].run, drafts[1].exit), (Some(5), None));
    }

    #[test]
    fn a_launch_that_is_taken_back_has_not_the_exit_of_the_run_before() {
        let before = Some((4, Exit::Code(3)));
        // The health was observed during the run, and only reported after its end.
        for state in ["starting", "failed"] {
            let run = if state == "starting" { 5 } else { 4 };
            let mut seen = StateTracker { state: Some(state.into()), run, ..StateTracker::default() };
            let drafts =
                seen.observe("web", ObservedState { exit: before, ..observed(STOPPED, 5, Health::None) });
            assert_eq!(words(&drafts), [format!("state {state} stopped")]);
            assert_eq!((drafts[0].run, drafts[0].exit), (Some(5), None));
        }
        // The previous run has ended unobserved as well, with an exit of its own.
        let mut seen = StateTracker { state: Some("ready".into()), run: 4, ..StateTracker::default() };
        let drafts =
            seen.observe("web", ObservedState { exit: before, ..observed(STOPPED, 5, Health::None) });
        assert_eq!(words(&drafts), ["state ready waiting", "state waiting stopped"]);
        assert_eq!(drafts.iter().map(|draft| draft.exit).collect::<Vec<_>>(), [Some(Exit::Code(3)), None]);
    }

    #[test]
    fn unhealthy_comes_before_the_stop_that_follows_from_it() {
        let mut seen = StateTracker {
            state: Some("ready".into()),
            run: 1,
            health: Some("healthy".into()),
            ..StateTracker::default()
        };
        let drafts = seen.observe("web", observed("stopping", 1, Health::Unhealthy));
        assert_eq!(words(&drafts), ["health healthy unhealthy", "state ready stopping"]);
    }

    #[test]
    fn a_start_tells_for_which_need_it_has_waited_last() {
        let mut seen = StateTracker { state: Some("stopped".into()), ..StateTracker::default() };
        for need in ["db", "cache"] {
            seen.observe(
                "web",
                ObservedState { need: Some(need.into()), ..observed("waiting", 0, Health::None) },
            );
        }
        let drafts = seen.observe("web", observed("starting", 1, Health::Pending));
        assert_eq!(drafts[0].need.as_deref(), Some("cache"));
    }

    #[test]
    fn an_end_that_was_not_seen_is_told_once_also_over_what_is_unknown() {
        let unknown = || observed(UNKNOWN, 4, Health::None);
        let stopped = |exit| ObservedState { exit: Some((4, exit)), ..observed(STOPPED, 4, Health::None) };
        for (before, told) in [("ready", Some(Exit::Code(3))), (STOPPED, None)] {
            let mut seen = StateTracker { state: Some(before.into()), run: 4, ..StateTracker::default() };
            let drafts = seen.observe("web", ObservedState { alive: true, ..unknown() });
            assert_eq!(words(&drafts), [format!("state {before} unknown")]);
            // Another daemon reads the events of this one.
            let mut seen: StateTracker = serde_json::from_slice(&serde_json::to_vec(&seen).unwrap()).unwrap();
            let drafts = seen.observe("web", stopped(Exit::Code(3)));
            assert_eq!(words(&drafts), ["state unknown stopped"]);
            assert_eq!(drafts[0].exit, told);
        }
    }

    #[test]
    fn what_is_taken_over_unchanged_is_no_event() {
        let mut seen = StateTracker { state: Some("ready".into()), run: 7, ..StateTracker::default() };
        assert!(seen.observe("web", observed("ready", 7, Health::Pending)).is_empty());
        assert!(seen.observe("web", observed("ready", 7, Health::Healthy)).is_empty());
    }
}
