//! Waits for conditions, with a deadline.

use std::time::{Duration, Instant};

/// The time limit of a wait, for a machine under load.
pub const WAIT_TIMEOUT: Duration = Duration::from_secs(20);

/// Waits until `condition` returns a value, and fails the test after [`WAIT_TIMEOUT`].
#[track_caller]
pub fn eventually<T>(what: &str, condition: impl FnMut() -> Option<T>) -> T {
    within(WAIT_TIMEOUT, what, condition)
}

/// Waits until `condition` returns a value, and fails the test after this time.
#[track_caller]
pub fn within<T>(time: Duration, what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + time;
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {time:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
