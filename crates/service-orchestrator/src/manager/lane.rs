//! [`Lane`]: how many calls may be at work at once.
//!
//! A call that takes long is waiting for something, and uses nothing while it waits: after a moment its place is given
//! to the next. So fifty calls at once do not start fifty Nushells, and fifty that hang keep nobody waiting for long.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// After so long a call waits for something else.
const AT_WORK: Duration = Duration::from_millis(500);

/// The lock is held for a few instructions.
#[derive(Default)]
pub(super) struct Lane {
    busy: Mutex<u32>,
    freed: Notify,
}

/// A place in a lane; dropping it lets the next one in.
struct Place(Arc<Lane>);

impl Lane {
    /// Does it when there is a place, of which there are `most`.
    pub(super) async fn pass<T>(self: &Arc<Self>, most: u32, work: impl Future<Output = T>) -> T {
        let place = self.enter(most).await;
        let mut work = std::pin::pin!(work);
        tokio::select! {
            done = &mut work => return done,
            () = tokio::time::sleep(AT_WORK) => drop(place),
        }
        work.await
    }

    async fn enter(self: &Arc<Self>, most: u32) -> Place {
        loop {
            let freed = self.freed.notified();
            if self.take(most) {
                return Place(Arc::clone(self));
            }
            freed.await;
        }
    }

    fn take(&self, most: u32) -> bool {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        let free = *busy < most.max(1);
        *busy += u32::from(free);
        free
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        *self.0.busy.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[tokio::test]
    async fn no_more_are_at_work_than_there_are_places() {
        let (lane, now, most) = (Arc::new(Lane::default()), AtomicU32::new(0), AtomicU32::new(0));
        let work = || async {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            now.fetch_sub(1, Ordering::SeqCst);
        };
        tokio::join!(
            lane.pass(2, work()),
            lane.pass(2, work()),
            lane.pass(2, work()),
            lane.pass(2, work()),
            lane.pass(2, work())
        );
        assert_eq!(most.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn one_that_hangs_gives_its_place_away() {
        let lane = Arc::new(Lane::default());
        let hung = tokio::spawn({
            let lane = Arc::clone(&lane);
            async move { lane.pass(1, std::future::pending::<()>()).await }
        });
        tokio::task::yield_now().await;
        lane.pass(1, async {}).await;
        hung.abort();
    }
}
