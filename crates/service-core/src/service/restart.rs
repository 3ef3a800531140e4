//! [`RestartHistory`]: decides when a service that has ended by itself is started again, and when it is given up.

use crate::config;
use crate::time::Moment;
use alloc::vec::Vec;
use core::time::Duration;
use serde::{Deserialize, Serialize};

/// The crashes of one service since it was last stable.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RestartHistory {
    /// The number of crashes since the service was last stable.
    crashes: u32,
    /// The number of delayed restarts among them.
    delayed: u32,
    /// The moments of the crashes within the window, oldest first; at most `limit` + 1.
    recent: Vec<Moment>,
}

/// The decision after a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestartDecision {
    /// Restart after this delay.
    Retry(Duration),
    /// The restart limit is reached.
    GiveUp {
        /// The number of attempts within the window.
        attempts: u32,
    },
}

impl RestartHistory {
    /// Counts a crash. `ready_since` is the time when the run became ready, if any. `jitter` is a random number that
    /// lengthens the delay by up to a tenth, so that services that crash together do not restart together.
    ///
    /// After the first crash of a service that was ready, the restart is immediate.
    pub fn crashed(
        &mut self,
        rules: &config::Backoff,
        ready_since: Option<Moment>,
        now: Moment,
        jitter: u32,
    ) -> RestartDecision {
        if ready_since.is_some_and(|ready| now.since(ready) >= rules.reset_after) {
            *self = Self::default();
        }
        let at_once = self.crashes == 0 && ready_since.is_some();
        self.crashes = self.crashes.saturating_add(1);
        self.recent.retain(|crash| now.since(*crash) < rules.window);
        self.recent.push(now);
        let attempts = u32::try_from(self.recent.len()).unwrap_or(u32::MAX);
        match (rules.limit, at_once) {
            (limit, _) if limit > 0 && attempts > limit => RestartDecision::GiveUp { attempts },
            (_, true) => RestartDecision::Retry(Duration::ZERO),
            (_, false) => {
                self.delayed = self.delayed.saturating_add(1);
                RestartDecision::Retry(self.pause(rules, jitter))
            }
        }
    }

    fn pause(&self, rules: &config::Backoff, jitter: u32) -> Duration {
        let mut pause = rules.initial;
        for _ in 1..self.delayed {
            if pause >= rules.max {
                break;
            }
            pause =
                Duration::try_from_secs_f64(pause.as_secs_f64() * rules.factor.max(1.0)).unwrap_or(rules.max);
        }
        let pause = pause.min(rules.max);
        pause + (pause / 10).mul_f64(f64::from(jitter) / f64::from(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(secs: u64) -> Moment {
        Moment::from_nanos(secs * 1_000_000_000)
    }

    #[test]
    fn the_first_crash_of_a_ready_service_restarts_at_once_and_pauses_double_after() {
        let rules = config::Backoff { limit: 0, ..config::Backoff::default() };
        let mut backoff = RestartHistory::default();
        let pauses: Vec<Duration> = (0..9)
            .map(|n| match backoff.crashed(&rules, Some(at(n)), at(n), 0) {
                RestartDecision::Retry(pause) => pause,
                RestartDecision::GiveUp { .. } => unreachable!("there is no limit"),
            })
            .collect();
        let ms = |n| Duration::from_millis(n);
        assert_eq!(pauses[..4], [ms(0), ms(500), ms(1000), ms(2000)]);
        assert_eq!(pauses[8], ms(30_000));
    }

    #[test]
    fn a_service_that_never_got_ready_waits_before_its_second_try() {
        let mut backoff = RestartHistory::default();
        let verdict = backoff.crashed(&config::Backoff::default(), None, at(1), 0);
        assert_eq!(verdict, RestartDecision::Retry(Duration::from_millis(500)));
    }

    #[test]
    fn a_stable_run_clears_the_count() {
        let rules = config::Backoff::default();
        let mut backoff = RestartHistory::default();
        for n in 0..3 {
            backoff.crashed(&rules, None, at(n), 0);
        }
        assert_eq!(backoff.crashed(&rules, Some(at(10)), at(40), 0), RestartDecision::Retry(Duration::ZERO));
    }

    #[test]
    fn too_many_crashes_in_the_window_give_up_and_old_ones_do_not_count() {
        let rules = config::Backoff { limit: 2, ..config::Backoff::default() };
        let mut backoff = RestartHistory::default();
        backoff.crashed(&rules, None, at(0), 0);
        backoff.crashed(&rules, None, at(30), 0);
        assert!(matches!(backoff.crashed(&rules, None, at(70), 0), RestartDecision::Retry(_)));
        assert_eq!(backoff.crashed(&rules, None, at(71), 0), RestartDecision::GiveUp { attempts: 3 });
    }
}
