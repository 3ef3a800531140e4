//! [`RateLimiter`]: limits the rate of calls for all followers of managers' logs together.

use crate::concurrency::WAITING_AFTER;
use service_host::clock;
use std::pin::pin;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// The delay after a call, as a multiple of the call's duration. The calls therefore take a sixth of the time, and
/// about a fifth of one core, because a call uses more than one core.
const IDLE_FACTOR: u32 = 5;

/// A permit for one call at a time.
pub(super) struct RateLimiter(Arc<Semaphore>);

impl Default for RateLimiter {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

impl RateLimiter {
    /// Makes the call once the permit is free.
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
            () = tokio::time::sleep(WAITING_AFTER) => {
                drop(turn);
                call.await
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

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
