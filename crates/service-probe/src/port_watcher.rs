//! [`PortWatcher`]: reports when a process begins to listen on a local port, so that a check follows without delay.
//!
//! The kernel does not report new listeners, so it is polled: with one query for all awaited ports, on one thread that
//! exists only while a port is awaited. The thread uses at most a fifth of a core, and a twentieth after
//! [`FAST_POLL_DURATION`].

use super::sock_diag::Listeners;
use service_core::Moment;
use service_host::clock;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

/// The minimum delay between two queries.
const MIN_POLL_INTERVAL: Duration = Duration::from_micros(250);
/// The maximum delay between two queries.
const MAX_POLL_INTERVAL: Duration = Duration::from_millis(100);
/// The delay is the age of the wait divided by this number.
const AGE_DIVISOR: u32 = 200;
/// The delay after a query is at least this multiple of the query's duration: the first within
/// [`FAST_POLL_DURATION`], the second afterwards.
const POLL_COST_FACTORS: [u32; 2] = [4, 20];
const FAST_POLL_DURATION: Duration = Duration::from_millis(500);

/// The waiters of each port.
#[derive(Debug, Clone, Default)]
pub(crate) struct PortWatcher(Arc<Mutex<WaitersByPort>>);

#[derive(Debug, Default)]
struct WaitersByPort {
    ports: Vec<PortWaiter>,
    is_watched: bool,
}

#[derive(Debug)]
struct PortWaiter {
    port: u16,
    since: Moment,
    tell: oneshot::Sender<()>,
}

impl PortWatcher {
    /// Returns when a process listens on this port; `false` if that cannot be determined.
    pub(crate) async fn listens(&self, port: u16) -> bool {
        let (tell, told) = oneshot::channel();
        let is_watched = {
            let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.ports.push(PortWaiter { port, since: clock::now(), tell });
            std::mem::replace(&mut waiting.is_watched, true)
        };
        if !is_watched {
            let watcher = self.clone();
            let watch = move || {
                // If the query fails, no listener is reported, and checks follow their usual interval.
                if let Err(error) = watcher.watch() {
                    tracing::debug!(%error, "cannot query listeners");
                    watcher.drop_waiters();
                }
            };
            if std::thread::Builder::new().name("watcher".to_owned()).spawn(watch).is_err() {
                self.drop_waiters();
            }
        }
        told.await.is_ok()
    }

    /// Drops all waiters.
    fn drop_waiters(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = WaitersByPort::default();
    }

    fn watch(&self) -> io::Result<()> {
        let mut listeners = Listeners::new()?;
        let mut found = Vec::new();
        loop {
            let begun = clock::now();
            found.clear();
            listeners.each(|port, _| found.push(port))?;
            let Some(youngest) = self.wake_waiters(&found) else { return Ok(()) };
            let now = clock::now();
            let age = now.since(youngest);
            let share = POLL_COST_FACTORS[usize::from(age > FAST_POLL_DURATION)];
            std::thread::sleep(
                (age / AGE_DIVISOR).clamp(MIN_POLL_INTERVAL, MAX_POLL_INTERVAL).max(now.since(begun) * share),
            );
        }
    }

    /// Wakes the waiters of these ports. Returns the start of the youngest remaining waiter; `None` ends the watch.
    fn wake_waiters(&self, found: &[u16]) -> Option<Moment> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for at in (0..waiting.ports.len()).rev() {
            let wait = &waiting.ports[at];
            if wait.tell.is_closed() {
                waiting.ports.swap_remove(at);
            } else if found.contains(&wait.port) {
                let _ = waiting.ports.swap_remove(at).tell.send(());
            }
        }
        let youngest = waiting.ports.iter().map(|wait| wait.since).max();
        waiting.is_watched = youngest.is_some();
        youngest
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a deadline of a test")]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::time::Instant;

    #[tokio::test]
    async fn who_waits_for_a_port_is_told_when_somebody_listens_there() {
        let watcher = PortWatcher::default();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(watcher.listens(other.local_addr().unwrap().port()).await);
        let waits = tokio::spawn({
            let watcher = watcher.clone();
            async move { watcher.listens(port).await }
        });
        tokio::task::yield_now().await;
        let _listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        assert!(tokio::time::timeout(Duration::from_secs(20), waits).await.unwrap().unwrap());
    }

    #[tokio::test]
    async fn nobody_watches_when_nobody_waits_any_more() {
        let watcher = PortWatcher::default();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let waits = tokio::time::timeout(Duration::from_millis(5), watcher.listens(port));
        assert!(waits.await.is_err());
        let deadline = Instant::now() + Duration::from_secs(20);
        while watcher.0.lock().unwrap().is_watched {
            assert!(Instant::now() < deadline, "the thread does not end");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}
