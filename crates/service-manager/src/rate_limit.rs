//! [`RateLimiter`]: how often followers of managers' logs may query, all together.

use service_host::clock;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// After so long a call waits for something else, and the next may begin.
const AT_WORK: Duration = Duration::from_millis(500);
/// After a call, the next one waits this many times the duration of the call. The calls therefore take a sixth of the
/// time, and about a fifth of one core, since Nushell and an engine's program use more than one.
const IDLE_FACTOR: u32 = 5;

/// One permit: the calls run one after the other.
pub(super) struct RateLimiter(Arc<Semaphore>);

impl Default for RateLimiter {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

impl RateLimiter {
    /// Makes the call when the permit is free.
    pub(super) async fn pass<T>(&self, call: impl Future<Output = T>) -> T {
        // The semaphore is never closed.
        let turn = Arc::clone(&self.0).acquire_owned().await;
        let begun = clock::timer();
        let mut call = pin!(call);
        tokio::select! {
            answer = &mut call => {
                let rest = IDLE_FACTOR * begun.elapsed();
                tokio::spawn(async move {
                    tokio::time::sleep(rest).await;
                    drop(turn);
                });
                answer
            }
            () = tokio::time::sleep(AT_WORK) => {
                drop(turn);
                call.await
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn whoever_asks_next_waits_five_times_as_long_as_the_last_call_took() {
        let (pace, begun) = (RateLimiter::default(), clock::timer());
        let call = async || tokio::time::sleep(Duration::from_millis(100)).await;
        pace.pass(call()).await;
        pace.pass(call()).await;
        assert_eq!(begun.elapsed().as_millis() / 10, 70);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_hangs_keeps_the_next_waiting_for_half_a_second() {
        let pace = Arc::new(RateLimiter::default());
        let hung = tokio::spawn({
            let pace = Arc::clone(&pace);
            async move { pace.pass(std::future::pending::<()>()).await }
        });
        tokio::task::yield_now().await;
        let begun = clock::timer();
        pace.pass(async {}).await;
        assert!(begun.elapsed() <= Duration::from_millis(501), "{:?}", begun.elapsed());
        hung.abort();
    }
}
