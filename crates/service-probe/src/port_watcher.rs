//! [`PortWatcher`]: reports when a process begins to listen on a local port, so that a check follows without delay.
//!
//! The kernel does not report new listeners, so it is polled: one query for all awaited ports, on one thread that
//! exists only while a port is awaited. The thread takes at most a fifth of a core, and a twentieth after the first
//! moments of a start.

use super::sock_diag::Listeners;
use service_core::Moment;
use service_host::clock;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

/// Shortest pause between two questions.
const DENSEST: Duration = Duration::from_micros(250);
/// Longest pause between two questions.
const SPARSEST: Duration = Duration::from_millis(100);
/// A start is noticed after a two-hundredth of its duration.
const SHARE_OF_AGE: u32 = 200;
/// The delay after a query is this multiple of the query's duration: first for a new start, then for an older one.
const SHARES_OF_TIME: [u32; 2] = [4, 20];
const A_WHILE: Duration = Duration::from_millis(500);

/// The waiters of each port.
#[derive(Debug, Clone, Default)]
pub(crate) struct PortWatcher(Arc<Mutex<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    ports: Vec<Wait>,
    is_watched: bool,
}

#[derive(Debug)]
struct Wait {
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
            waiting.ports.push(Wait { port, since: clock::now(), tell });
            std::mem::replace(&mut waiting.is_watched, true)
        };
        if !is_watched {
            let watcher = self.clone();
            let watch = move || {
                // If the kernel does not answer, nothing is reported, and checks follow their usual interval.
                if let Err(error) = watcher.watch() {
                    tracing::debug!(%error, "cannot query listeners");
                    watcher.forget();
                }
            };
            if std::thread::Builder::new().name("watcher".to_owned()).spawn(watch).is_err() {
                self.forget();
            }
        }
        told.await.is_ok()
    }

    /// Drops all waiters.
    fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Waiting::default();
    }

    fn watch(&self) -> io::Result<()> {
        let listeners = Listeners::new()?;
        let mut found = Vec::new();
        loop {
            let begun = clock::now();
            found.clear();
            listeners.each(|port, _| found.push(port))?;
            let Some(youngest) = self.wake_waiters(&found) else { return Ok(()) };
            let now = clock::now();
            let age = now.since(youngest);
            let share = SHARES_OF_TIME[usize::from(age > A_WHILE)];
            std::thread::sleep((age / SHARE_OF_AGE).clamp(DENSEST, SPARSEST).max(now.since(begun) * share));
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
            assert!(Instant::now() < deadline, "the thread goes on");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}
