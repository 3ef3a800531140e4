//! [`Breath`]: how the owner of the fleet shares its thread while it has much to do.

use crate::clock;
use crate::tally::Turns;
use service_core::Moment;
use std::sync::Arc;
use std::time::Duration;

/// How long the owner may keep the thread while others wait for it.
const BREATH: Duration = Duration::from_millis(1);

/// How long the thread has been ours: a turn in which there is much to do is taken in pieces.
pub(crate) struct Breath {
    since: Moment,
    turns: Arc<Turns>,
}

impl Breath {
    pub(super) fn new(turns: Arc<Turns>) -> Self {
        Self { since: clock::now(), turns }
    }

    /// The thread is ours again.
    pub(super) fn begin(&mut self) {
        self.since = clock::now();
    }

    /// The thread is given back.
    pub(super) fn end(&self) {
        self.turns.took(clock::now().since(self.since));
    }

    /// Lets others have the thread, after a while. No letter is taken meanwhile.
    pub(crate) async fn take(&mut self) {
        if clock::now().since(self.since) >= BREATH {
            self.leave(tokio::task::yield_now()).await;
        }
    }

    /// Lets others have the thread until this is done.
    pub(crate) async fn leave<T>(&mut self, work: impl Future<Output = T>) -> T {
        self.end();
        let done = work.await;
        self.begin();
        done
    }
}
