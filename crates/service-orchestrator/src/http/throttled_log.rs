//! [`Complaint`]: what strangers can make us say as often as they like, said once in a while; [`Complaints`]: once for each
//! address.

use crate::host::clock;
use service_core::Moment;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How long the same is not said again: a log that anybody can fill would fill the disk.
const PAUSE: Duration = Duration::from_mins(1);

/// A lock is right here: it is held for a comparison.
#[derive(Default)]
pub(super) struct Complaint(Mutex<(Option<Moment>, u64)>);

impl Complaint {
    /// Says it, with how often it happened since it was said last, unless that was a moment ago.
    pub(super) fn say(&self, words: impl FnOnce(u64)) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.1 += 1;
        let now = clock::now();
        if state.0.is_none_or(|last| now.since(last) >= PAUSE) {
            words(state.1);
            *state = (Some(now), 0);
        }
    }
}

/// So many addresses are told apart in one pause; who comes from further ones is counted.
const MOST_ADDRESSES: usize = 64;

/// The same for each address. A lock is right here: it is held while a few dozen are looked through at most.
#[derive(Default)]
pub(super) struct Complaints(Mutex<Said>);

/// What was said, to whom, and how often since then.
#[derive(Default)]
struct Said {
    addresses: HashMap<IpAddr, (Moment, u64)>,
    others: u64,
}

impl Complaints {
    /// Says it about an address, unless that was a moment ago; with how often it came from there, and from addresses that are
    /// not told apart.
    pub(super) fn say(&self, from: IpAddr, words: impl FnOnce(u64, u64)) {
        let now = clock::now();
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Said { addresses, others } = &mut *said;
        if !addresses.contains_key(&from) && addresses.len() >= MOST_ADDRESSES {
            addresses.retain(|_, (last, _)| now.since(*last) < PAUSE);
        }
        let is_full = addresses.len() >= MOST_ADDRESSES;
        match addresses.get_mut(&from) {
            Some((last, times)) if now.since(*last) < PAUSE => *times += 1,
            Some(known) => {
                words(known.1 + 1, std::mem::take(others));
                *known = (now, 0);
            }
            None if is_full => *others += 1,
            None => {
                words(1, std::mem::take(others));
                addresses.insert(from, (now, 0));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_is_told_once_in_a_while_and_not_more_of_them_than_fit() {
        let complaints = Complaints::default();
        let mut told = Vec::new();
        for _ in 0..3 {
            for last in 0..200 {
                complaints.say([127, 0, 0, last].into(), |times, _| told.push((last, times)));
            }
        }
        assert_eq!(told, (0..64).map(|last| (last, 1)).collect::<Vec<_>>());
    }
}
