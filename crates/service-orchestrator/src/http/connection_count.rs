//! [`Guest`]: a connection, counted; and the memory that is given back when most of them have gone. What was freed between
//! pieces that are still in use glibc would keep for ever, and a second thousand of clients would need more on top of it.

use crate::host::clock;
use crate::host::memory::trim_heap;
use service_core::Moment;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use tokio::runtime::Handle;

/// Fewer are not worth it.
const MANY: usize = 64;

static HERE: AtomicUsize = AtomicUsize::new(0);
/// The most since memory was given back last.
static MOST: AtomicUsize = AtomicUsize::new(0);

/// When the last one has gone.
static LEFT: AtomicU64 = AtomicU64::new(0);

/// When somebody was here last; none while somebody is.
pub(crate) fn last_seen() -> Option<Moment> {
    let is_empty = HERE.load(Ordering::Relaxed) == 0;
    is_empty.then(|| Moment::from_nanos(LEFT.load(Ordering::Relaxed)))
}

/// Somebody who is here as long as this is kept.
pub(super) struct Guest(());

impl Guest {
    pub(super) fn comes() -> Self {
        let here = HERE.fetch_add(1, Ordering::Relaxed) + 1;
        MOST.fetch_max(here, Ordering::Relaxed);
        Self(())
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        LEFT.store(clock::now().as_nanos(), Ordering::Relaxed);
        let here = HERE.fetch_sub(1, Ordering::Relaxed) - 1;
        if has_ebbed(here, MOST.load(Ordering::Relaxed)) {
            MOST.store(here, Ordering::Relaxed);
            // It takes some milliseconds.
            if let Ok(runtime) = Handle::try_current() {
                drop(runtime.spawn_blocking(trim_heap));
            }
        }
    }
}

/// Whether half of many have gone.
fn has_ebbed(here: usize, most: usize) -> bool {
    most >= MANY && here <= most / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_given_back_when_half_of_many_have_gone_and_again_when_half_of_those_have() {
        let (mut most, mut given) = (2_000, Vec::new());
        for here in (0..most).rev() {
            if has_ebbed(here, most) {
                most = here;
                given.push(here);
            }
        }
        assert_eq!(given, [1_000, 500, 250, 125, 62]);
    }
}
