//! Health: the schedule of checks, and the meaning of successive results ([`Tracker`]).

pub use crate::endpoint::{Endpoint, InvalidEndpoint};

use crate::config;
use crate::time::Moment;
use core::time::Duration;
use serde::{Deserialize, Serialize};

/// The health of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// The service does not run.
    #[default]
    None,
    /// The service runs, and no check has determined the health yet.
    Pending,
    /// The process exists, and no check is defined.
    Alive,
    /// The last checks passed.
    Healthy,
    /// `retries` consecutive checks have failed.
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

    /// Whether the service runs and all of its checks, if any, pass.
    pub fn is_good(self) -> bool {
        matches!(self, Self::Alive | Self::Healthy)
    }
}

/// A cause of a failed check that has its own help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckFault {
    /// There was no answer within `health.timeout`.
    Timeout,
    /// The server's certificate is not trusted, or `health.ca_file` cannot be used.
    Certificate,
}

/// The result of one check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeResult {
    /// The check passed.
    Success,
    /// The check failed or took too long.
    Failure,
    /// A manager, which counts failures itself, reports the service as unhealthy.
    ConfirmedFailure,
    /// The result is unknown.
    Unknown,
}

/// Counts the results of one run. A single success makes the service healthy; only several consecutive failures make it
/// unhealthy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tracker {
    health: Health,
    failures: u32,
    /// Whether failures count during `start_period`, because an earlier check has determined the health.
    #[serde(default)]
    has_started: bool,
}

impl Tracker {
    /// A run that begins.
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

    /// The health so far.
    pub fn health(self) -> Health {
        self.health
    }

    /// The number of consecutive failures.
    pub fn failures(self) -> u32 {
        self.failures
    }

    /// Counts a result, `age` after the launch.
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

/// The minimum delay between two checks while a service starts.
const MIN_STARTUP_PROBE_INTERVAL: Duration = Duration::from_millis(2);
/// The maximum delay between two checks while a service starts.
const MAX_STARTUP_PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// The time of the next check of a starting service. The delay is a tenth of the time since the launch, so that polling
/// delays a start by at most a tenth; but at least 2 ms and at most 1 s.
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
