//! [`ThrottledLog`]: logs an event at most once a minute, however often clients cause the event. [`ThrottledLogs`]: at
//! most once a minute for each address.

use service_core::Moment;
use service_host::clock;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The minimum time between two equal log lines. Without this limit, clients could fill the disk with log lines.
const LOG_INTERVAL: Duration = Duration::from_mins(1);

/// The time of the last log line, and the number of events since. A blocking mutex suffices: it is never held across an await.
#[derive(Default)]
pub(super) struct ThrottledLog(Mutex<(Option<Moment>, u64)>);

impl ThrottledLog {
    /// Calls `log` with the number of events since its last call, unless the last call was less than a minute ago.
    pub(super) fn log(&self, log: impl FnOnce(u64)) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.1 += 1;
        let now = clock::now();
        if state.0.is_none_or(|last| now.since(last) >= LOG_INTERVAL) {
            log(state.1);
            *state = (Some(now), 0);
        }
    }
}

/// The maximum number of addresses with their own counts. All other addresses share one count.
const MAX_ADDRESS_COUNT: usize = 64;

/// A throttled log for each address. A blocking mutex suffices: it is never held across an await.
#[derive(Default)]
pub(super) struct ThrottledLogs(Mutex<AddressLog>);

/// The time of each address's last log line, and the number of events since.
#[derive(Default)]
struct AddressLog {
    addresses: HashMap<IpAddr, (Moment, u64)>,
    unattributed: u64,
}

impl ThrottledLogs {
    /// Calls `log`, unless `log` was called for this address within the last minute. Its arguments are the number of
    /// events from this address since the last call, and the number of events from addresses without their own counts.
    pub(super) fn log(&self, from: IpAddr, log: impl FnOnce(u64, u64)) {
        let now = clock::now();
        let mut logged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let AddressLog { addresses, unattributed } = &mut *logged;
        if !addresses.contains_key(&from) && addresses.len() >= MAX_ADDRESS_COUNT {
            addresses.retain(|_, (last, _)| now.since(*last) < LOG_INTERVAL);
        }
        let is_full = addresses.len() >= MAX_ADDRESS_COUNT;
        match addresses.get_mut(&from) {
            Some((last, times)) if now.since(*last) < LOG_INTERVAL => *times += 1,
            Some(known) => {
                log(known.1 + 1, std::mem::take(unattributed));
                *known = (now, 0);
            }
            None if is_full => *unattributed += 1,
            None => {
                log(1, std::mem::take(unattributed));
                addresses.insert(from, (now, 0));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_is_logged_once_a_minute_and_no_more_of_them_than_fit() {
        let logs = ThrottledLogs::default();
        let mut logged = Vec::new();
        for _ in 0..3 {
            for last in 0..200 {
                logs.log([127, 0, 0, last].into(), |times, _| logged.push((last, times)));
            }
        }
        assert_eq!(logged, (0..64).map(|last| (last, 1)).collect::<Vec<_>>());
    }
}
