//! Blocking work on tokio's thread pool, with a limit of concurrency: the runtime has one thread, and hundreds of
//! readers must not delay a start.

use std::io;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Runs the work once there is a permit.
pub async fn run_blocking<T: Send + 'static>(
    permits: &Arc<Semaphore>,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    // The semaphore is never closed. The work keeps the permit if its caller is dropped.
    let permit = Arc::clone(permits).acquire_owned().await;
    let work = move || {
        let _permit = permit;
        work()
    };
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)
}
