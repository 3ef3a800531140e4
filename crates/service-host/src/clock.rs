//! The only clock of the daemon.

#![expect(clippy::disallowed_methods, reason = "this module is the only one that reads clocks")]

use jiff::Timestamp;
use nix::time::{ClockId, clock_gettime};
use service_core::Moment;
use std::time::Duration;

/// Nanoseconds since boot, suspended time included (`CLOCK_BOOTTIME`): the clock of every [`Moment`].
///
/// # Panics
/// If the kernel has no monotonic clock, which every supported kernel has.
pub fn now() -> Moment {
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("Linux has had CLOCK_BOOTTIME since 2.6.39");
    Moment::from_nanos(Duration::from(now).as_nanos().try_into().unwrap_or(u64::MAX))
}

/// The time of `CLOCK_MONOTONIC`, the clock of systemd.
///
/// # Panics
/// If the kernel has no monotonic clock, which every supported kernel has.
pub fn monotonic() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC).expect("Linux has always had CLOCK_MONOTONIC").into()
}

/// The clock of the runtime's timers, which a test may stop.
pub fn timer() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

/// The date and time of a past moment.
pub fn wall(moment: Moment) -> Timestamp {
    let now = Timestamp::now();
    now.checked_sub(self::now().since(moment)).unwrap_or(now)
}

/// The date and time.
pub fn today() -> Timestamp {
    Timestamp::now()
}

/// Sleeps until a moment; for ever if there is none.
pub async fn sleep_until(moment: Option<Moment>) {
    match moment {
        // A timer of the runtime takes up to a millisecond even for a past deadline.
        Some(moment) if moment <= now() => {}
        Some(moment) => tokio::time::sleep(moment.since(now())).await,
        None => std::future::pending().await,
    }
}

/// A duration in the format of the API: milliseconds, rounded to the microsecond.
pub fn millis(span: Duration) -> f64 {
    (span.as_secs_f64() * 1_000_000.0).round() / 1_000.0
}
