//! [`LogWatcher`]: wakes a follower of logs when the directory of one of its logs changes.
//!
//! All followers share one inotify instance, because a user has only 128 instances for all programs.

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

/// The followers of logs. A blocking mutex suffices: it is never held across an await.
#[derive(Default)]
pub(crate) struct LogWatcher(Mutex<Weak<Instance>>);

/// The shared inotify instance, which ends with the last follower.
struct Instance {
    inotify: Inotify,
    followers: Mutex<HashMap<WatchDescriptor, Vec<Arc<Notify>>>>,
    task: OnceLock<AbortHandle>,
}

/// The directories that one follower watches.
pub(super) struct WatchedLogs {
    instance: Arc<Instance>,
    watched: Vec<WatchDescriptor>,
    woken: Arc<Notify>,
}

impl LogWatcher {
    /// Adds a follower, which watches no directory yet.
    pub(super) fn follow(&self) -> io::Result<WatchedLogs> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let instance = match known.upgrade() {
            Some(instance) => instance,
            None => {
                let begun = Instance::begin()?;
                *known = Arc::downgrade(&begun);
                begun
            }
        };
        Ok(WatchedLogs { instance, watched: Vec::new(), woken: Arc::default() })
    }
}

impl Instance {
    fn begin() -> io::Result<Arc<Self>> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        #[expect(
            deprecated,
            reason = "the function is unsound only for types that do not own their descriptor"
        )]
        let woken = AsyncFd::new(inotify.as_fd().try_clone_to_owned()?)?;
        let instance = Arc::new(Self { inotify, followers: Mutex::default(), task: OnceLock::new() });
        let task = tokio::spawn(listen(Arc::downgrade(&instance), woken)).abort_handle();
        instance.task.get_or_init(|| task);
        Ok(instance)
    }

    fn wake(&self, directory: WatchDescriptor, what: AddWatchFlags) {
        let followers = self.followers.lock().unwrap_or_else(PoisonError::into_inner);
        if what.contains(AddWatchFlags::IN_Q_OVERFLOW) {
            // The event does not name the directory, for example after an overflow.
            return followers.values().flatten().for_each(|follower| follower.notify_one());
        }
        followers.get(&directory).into_iter().flatten().for_each(|follower| follower.notify_one());
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }
}

async fn listen(instance: Weak<Instance>, woken: AsyncFd<OwnedFd>) {
    while let Ok(mut ready) = woken.readable().await {
        let Some(instance) = instance.upgrade() else { return };
        match instance.inotify.read_events() {
            Ok(events) => events.iter().for_each(|event| instance.wake(event.wd, event.mask)),
            Err(Errno::EAGAIN) => ready.clear_ready(),
            Err(error) => return tracing::error!(%error, "cannot watch logs for changes"),
        }
    }
}

impl WatchedLogs {
    /// Adds a directory to the watched ones.
    pub(super) fn watch(&mut self, directory: &Path) -> io::Result<()> {
        let events = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_CREATE;
        let mut followers = self.instance.followers.lock().unwrap_or_else(PoisonError::into_inner);
        // A directory that is added several times has one watch descriptor.
        let watched = self.instance.inotify.add_watch(directory, events)?;
        followers.entry(watched).or_default().push(Arc::clone(&self.woken));
        self.watched.push(watched);
        Ok(())
    }

    /// Waits for a change. Returns at once if there was a change since the last call.
    pub(super) async fn changed(&self) {
        self.woken.notified().await;
    }
}

impl Drop for WatchedLogs {
    fn drop(&mut self) {
        let mut followers = self.instance.followers.lock().unwrap_or_else(PoisonError::into_inner);
        for watched in &self.watched {
            let Some(others) = followers.get_mut(watched) else { continue };
            others.retain(|other| !Arc::ptr_eq(other, &self.woken));
            if others.is_empty() {
                followers.remove(watched);
                // This fails if the directory was removed, because its watch was removed as well.
                let _ = self.instance.inotify.rm_watch(*watched);
            }
        }
    }
}
