//! Health: the schedule of checks, and the meaning of successive results ([`Tracker`]).

pub use crate::endpoint::{Endpoint, InvalidEndpoint};

use crate::config;
use crate::time::Moment;
use core::time::Duration;
use serde::{Deserialize, Serialize};

/// How a service is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// Nothing runs, so nothing is healthy or not.
    #[default]
    None,
    /// The service runs, and no check has decided yet.
    Pending,
    /// The process exists, and no check is defined.
    Alive,
    /// The last checks passed.
    Healthy,
    /// `retries` checks in a row have failed.
    Unhealthy,
}

impl Health {
    /// The name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Pending => "pending",
            Self::Alive => "alive",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }

    /// Whether every defined check passes.
    pub fn is_good(self) -> bool {
        matches!(self, Self::Alive | Self::Healthy)
    }
}

/// What keeps a check from passing, beside the health of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckFault {
    /// There was no answer within `health.timeout`.
    Timeout,
    /// The certificate of the server, or the file of `health.ca_file`.
    Certificate,
}

/// The result of one check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeResult {
    /// The check passed.
    Success,
    /// The check failed or took too long.
    Failure,
    /// A manager that counts failures itself reports it unhealthy.
    ConfirmedFailure,
    /// The result is unknown.
    Unknown,
}

/// Counts the results of one run. A single failure does not make it unhealthy; a single success makes it healthy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tracker {
    health: Health,
    failures: u32,
    /// A former check had decided: failures of the new one count at once.
    #[serde(default)]
    has_started: bool,
}

impl Tracker {
    /// For a run that begins.
    pub fn pending() -> Self {
        Self { health: Health::Pending, failures: 0, has_started: false }
    }

    /// A run without a defined check.
    pub fn alive() -> Self {
        Self { health: Health::Alive, failures: 0, has_started: false }
    }

    /// A run whose check has passed.
    pub fn healthy() -> Self {
        Self { health: Health::Healthy, failures: 0, has_started: false }
    }

    /// A continuing run with a changed check.
    #[must_use]
    pub fn reset(self) -> Self {
        Self { has_started: self.has_started || self.health != Health::Pending, ..Self::pending() }
    }

    /// The state so far.
    pub fn health(self) -> Health {
        self.health
    }

    /// Failures in a row.
    pub fn failures(self) -> u32 {
        self.failures
    }

    /// Counts a verdict, `age` after the launch.
    pub fn count(&mut self, verdict: ProbeResult, rules: &config::Health, age: Duration) {
        match verdict {
            ProbeResult::Success => *self = Self::healthy(),
            ProbeResult::Unknown => {}
            ProbeResult::ConfirmedFailure => {
                self.failures = self.failures.saturating_add(1);
                self.health = Health::Unhealthy;
            }
            ProbeResult::Failure
                if self.health == Health::Pending && !self.has_started && age < rules.start_period => {}
            ProbeResult::Failure => {
                self.failures = self.failures.saturating_add(1);
                if self.failures >= rules.retries.max(1) {
                    self.health = Health::Unhealthy;
                }
            }
        }
    }
}

/// Shortest pause between two checks while a service starts.
const MIN_STARTUP_PROBE_INTERVAL: Duration = Duration::from_millis(2);
/// Longest pause between two checks while a service starts.
const MAX_STARTUP_PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// The time of the next check of a starting service: after a tenth of its starting time, so that polling delays a start
/// by at most a tenth; at least 2 ms, at most 1 s.
pub fn next_startup_probe(since: Moment, now: Moment) -> Moment {
    now.plus((now.since(since) / 10).clamp(MIN_STARTUP_PROBE_INTERVAL, MAX_STARTUP_PROBE_INTERVAL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_retries_in_a_row_to_become_unhealthy_and_one_success_to_recover() {
        let rules = config::Health { retries: 2, ..config::Health::default() };
        let late = Duration::from_mins(1);
        let mut tracker = Tracker::healthy();
        tracker.count(ProbeResult::Failure, &rules, late);
        assert_eq!(tracker.health(), Health::Healthy);
        tracker.count(ProbeResult::Failure, &rules, late);
        assert_eq!(tracker.health(), Health::Unhealthy);
        tracker.count(ProbeResult::Success, &rules, late);
        assert_eq!(tracker.health(), Health::Healthy);
    }

    #[test]
    fn failures_in_the_start_period_do_not_count_until_it_was_healthy_once() {
        let rules = config::Health { retries: 1, ..config::Health::default() };
        let early = Duration::from_secs(1);
        let mut tracker = Tracker::pending();
        tracker.count(ProbeResult::Failure, &rules, early);
        assert_eq!(tracker.health(), Health::Pending);
        tracker.count(ProbeResult::Success, &rules, early);
        tracker.count(ProbeResult::Failure, &rules, early);
        assert_eq!(tracker.health(), Health::Unhealthy);
    }

    #[test]
    fn failures_count_at_once_where_another_check_had_passed() {
        let rules = config::Health { retries: 1, ..config::Health::default() };
        let mut tracker = Tracker::healthy().reset();
        assert_eq!(tracker.health(), Health::Pending);
        tracker.count(ProbeResult::Failure, &rules, Duration::from_secs(1));
        assert_eq!(tracker.health(), Health::Unhealthy);
    }

    #[test]
    fn waiting_for_a_start_costs_at_most_a_tenth() {
        let at = |ms: u64| Moment::from_nanos(ms * 1_000_000);
        assert_eq!(next_startup_probe(at(0), at(0)), at(2));
        assert_eq!(next_startup_probe(at(0), at(500)), at(550));
        assert_eq!(next_startup_probe(at(0), at(60_000)), at(61_000));
    }

    #[test]
    fn who_has_counted_already_is_believed_at_once() {
        let rules = config::Health::default();
        let mut tracker = Tracker::pending();
        tracker.count(ProbeResult::ConfirmedFailure, &rules, Duration::ZERO);
        assert_eq!(tracker.health(), Health::Unhealthy);
        tracker.count(ProbeResult::Success, &rules, Duration::ZERO);
        assert_eq!(tracker.health(), Health::Healthy);
    }
}
