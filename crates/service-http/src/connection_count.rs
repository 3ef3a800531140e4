//! [`ConnectionCount`]: the number of open connections, and the time when the last one was closed.

use service_core::Moment;
use service_host::clock;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use tokio::sync::Notify;

/// The connections of all listeners of a daemon.
#[derive(Default)]
pub struct ConnectionCount {
    open: AtomicUsize,
    /// When the last connection was closed.
    closed_at: AtomicU64,
    closed: Notify,
}

/// One open connection, counted until it is dropped.
pub(super) struct ConnectionGuard(Arc<ConnectionCount>);

impl ConnectionCount {
    /// When the last client disconnected; `None` while a client is connected.
    pub fn last_seen(&self) -> Option<Moment> {
        let is_empty = self.open.load(Ordering::Relaxed) == 0;
        is_empty.then(|| Moment::from_nanos(self.closed_at.load(Ordering::Relaxed)))
    }

    /// Waits until a connection is closed. Returns at once if a connection was closed since the last call.
    pub async fn closed(&self) {
        self.closed.notified().await;
    }

    pub(super) fn opened(self: &Arc<Self>) -> ConnectionGuard {
        self.open.fetch_add(1, Ordering::Relaxed);
        ConnectionGuard(Arc::clone(self))
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.0.closed_at.store(clock::now().as_nanos(), Ordering::Relaxed);
        self.0.open.fetch_sub(1, Ordering::Relaxed);
        self.0.closed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_time_since_the_last_connection_counts_from_its_end() {
        let count = Arc::new(ConnectionCount::default());
        let (first, second) = (count.opened(), count.opened());
        drop(first);
        assert_eq!(count.last_seen(), None, "a connection is open");
        let before = clock::now();
        drop(second);
        assert!(count.last_seen().is_some_and(|closed| closed >= before));
        count.closed().await;
    }
}
