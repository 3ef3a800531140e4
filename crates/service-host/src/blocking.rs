//! Blocking work on tokio's thread pool, with a limit of concurrency: the runtime has one thread, and hundreds of
//! readers must not delay a start.

use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// The time limit for files of the user, whose disk may not answer.
const FILE_TIMEOUT: Duration = Duration::from_secs(10);

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

/// As [`run_blocking`], for work on files of the user, within [`FILE_TIMEOUT`]. Work on a disk that does not answer keeps its
/// permit, so there are never more such threads than permits.
pub async fn run_on_files<T: Send + 'static>(
    permits: &Arc<Semaphore>,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let late = || io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {FILE_TIMEOUT:?}"));
    tokio::time::timeout(FILE_TIMEOUT, run_blocking(permits, work)).await.unwrap_or_else(|_| Err(late()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn files_that_do_not_answer_delay_a_caller_for_a_bounded_time() {
        let permits = Arc::new(Semaphore::new(1));
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let hangs = run_on_files(&permits, move || ended.recv().is_ok());
        // The clock advances by itself only while no blocking work is pending.
        let (hung, ()) = tokio::join!(hangs, tokio::time::advance(FILE_TIMEOUT));
        assert_eq!(hung.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(permits.available_permits(), 0, "its thread counts");
        let (next, ()) = tokio::join!(run_on_files(&permits, || ()), tokio::time::advance(FILE_TIMEOUT));
        assert_eq!(next.unwrap_err().kind(), io::ErrorKind::TimedOut);
        end.send(()).unwrap();
        assert_eq!(run_on_files(&permits, || 1).await.unwrap(), 1);
    }
}
