//! Work that waits for the disk, done on another thread and by few at once: the runtime has one thread, and hundreds who read
//! must not keep those waiting who start something.

use std::io;
use tokio::sync::Semaphore;

/// Does it when it is its turn in this lane.
pub(crate) async fn run_blocking<T: Send + 'static>(
    lane: &'static Semaphore,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    // It is never closed. Who goes away ends the waiting and not the work, so the work holds the permit.
    let turn = lane.acquire().await;
    let work = move || {
        let _turn = turn;
        work()
    };
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)
}
