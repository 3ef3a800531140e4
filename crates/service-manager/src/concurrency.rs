//! [`ConcurrencyLimits`]: the limit of concurrent calls of a module.
//!
//! Each module has its own limit, so that a hanging module delays no other. A call that is only waiting releases its
//! permit. Fifty concurrent calls therefore do not use the processor at the same time, and fifty hanging calls delay
//! the next call of their module by less than a second.

use service_host::procfs;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// A call that has run for this long counts as waiting.
pub(super) const WAITING_AFTER: Duration = Duration::from_millis(500);
/// The interval of activity checks of a new call.
const ACTIVITY_CHECK_INTERVAL: Duration = Duration::from_millis(40);

/// The limit of each module. The lock is held only for a lookup.
#[derive(Default)]
pub(super) struct ConcurrencyLimits(Mutex<BTreeMap<PathBuf, Arc<ModuleLimit>>>);

impl ConcurrencyLimits {
    pub(super) fn for_module(&self, module: &Path) -> Arc<ModuleLimit> {
        let mut limits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(limits.entry(module.to_owned()).or_default())
    }
}

/// The calls of one module. The lock is held for a few instructions.
#[derive(Default)]
pub(super) struct ModuleLimit {
    busy: Mutex<u32>,
    freed: Notify,
}

/// A permit of one module. Dropping it admits the next call.
struct Permit(Arc<ModuleLimit>);

impl ModuleLimit {
    /// Runs the work once one of `most` permits is free. Releases the permit when the work is only waiting.
    pub(super) async fn pass<T>(
        self: &Arc<Self>,
        most: u32,
        work: impl Future<Output = T>,
        waits: impl Future<Output = ()>,
    ) -> T {
        let place = self.enter(most).await;
        let mut work = std::pin::pin!(work);
        tokio::select! {
            done = &mut work => return done,
            () = waits => drop(place),
        }
        work.await
    }

    async fn enter(self: &Arc<Self>, most: u32) -> Permit {
        loop {
            let freed = self.freed.notified();
            if self.try_acquire(most) {
                return Permit(Arc::clone(self));
            }
            freed.await;
        }
    }

    fn try_acquire(&self, most: u32) -> bool {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        let free = *busy < most.max(1);
        *busy += u32::from(free);
        free
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        *self.0.busy.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.0.freed.notify_one();
    }
}

/// Returns once the process of a call was idle at two successive checks.
pub(super) async fn waits(process: &OnceLock<u32>) {
    let look = async {
        let mut last = None;
        loop {
            tokio::time::sleep(ACTIVITY_CHECK_INTERVAL).await;
            let now = process.get().and_then(|pid| procfs::ticks_asleep(*pid));
            if now.is_some() && now == last {
                return;
            }
            last = now;
        }
    };
    let _ = tokio::time::timeout(WAITING_AFTER, look).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, ready};
    use std::sync::atomic::{AtomicU32, Ordering};

    #[tokio::test]
    async fn no_more_are_at_work_than_there_are_places() {
        let (limit, now, most) = (Arc::new(ModuleLimit::default()), AtomicU32::new(0), AtomicU32::new(0));
        let work = || async {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            now.fetch_sub(1, Ordering::SeqCst);
        };
        let pass = || limit.pass(2, work(), pending());
        tokio::join!(pass(), pass(), pass(), pass(), pass());
        assert_eq!(most.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn one_that_waits_gives_its_place_away() {
        let limit = Arc::new(ModuleLimit::default());
        tokio::select! {
            biased;
            () = limit.pass(1, pending(), ready(())) => unreachable!("it hangs"),
            () = limit.pass(1, ready(()), pending()) => {}
        }
    }

    #[tokio::test]
    async fn a_module_that_hangs_keeps_no_other_waiting() {
        let limits = ConcurrencyLimits::default();
        let (hangs, other) =
            (limits.for_module(Path::new("hangs.nu")), limits.for_module(Path::new("other.nu")));
        tokio::select! {
            biased;
            () = hangs.pass(1, pending(), pending()) => unreachable!("it hangs"),
            () = other.pass(1, ready(()), pending()) => {}
        }
    }

    #[tokio::test]
    async fn a_process_that_sleeps_is_told_from_one_that_works() {
        let spawn = |script| std::process::Command::new("sh").args(["-c", script]).spawn().unwrap();
        let (mut sleeper, mut worker) = (spawn("exec sleep 60"), spawn("while :; do :; done"));
        let (asleep, at_work) = (OnceLock::from(sleeper.id()), OnceLock::from(worker.id()));
        tokio::select! {
            () = waits(&asleep) => {}
            () = async { loop { waits(&at_work).await; } } => unreachable!("the process is never idle"),
        }
        assert!(procfs::ticks_asleep(worker.id()).is_none(), "it works");
        for child in [&mut sleeper, &mut worker] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}
