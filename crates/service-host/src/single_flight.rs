//! [`SingleFlight`]: concurrent requests for the same work share one execution. A request may also accept a recent
//! result.

use crate::clock;
use service_core::Moment;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::OnceCell;

/// The maximum number of results. Above it, all are dropped.
const MAX_ENTRIES: usize = 4096;

/// Running work, and the last results, by name.
#[derive(Debug)]
pub struct SingleFlight<T, V>(Mutex<HashMap<String, Arc<Flight<T, V>>>>);

/// The execution for one subject.
#[derive(Debug)]
struct Flight<T, V> {
    about: Arc<T>,
    /// The first caller executes the work. If that caller is dropped before the end, the next one starts again.
    answer: OnceCell<(V, Moment)>,
}

impl<T, V> Default for SingleFlight<T, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T, V: Clone> SingleFlight<T, V> {
    /// The result of `make`, or of another caller with the same subject: concurrent, or finished within `kept`.
    pub async fn share<F: Future<Output = V>>(
        &self,
        name: &str,
        about: &Arc<T>,
        kept: Duration,
        make: impl FnOnce() -> F,
    ) -> V {
        let flight = self.join(name, about, kept);
        let timed = || async { (make().await, clock::now()) };
        flight.answer.get_or_init(timed).await.0.clone()
    }

    fn join(&self, name: &str, about: &Arc<T>, kept: Duration) -> Arc<Flight<T, V>> {
        let mut flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_fresh = |at: &Moment| clock::now().since(*at) < kept;
        if let Some(flight) = flights.get(name)
            && Arc::ptr_eq(&flight.about, about)
            && flight.answer.get().is_none_or(|(_, at)| is_fresh(at))
        {
            return Arc::clone(flight);
        }
        if flights.len() >= MAX_ENTRIES {
            flights.clear();
        }
        let flight = Arc::new(Flight { about: Arc::clone(about), answer: OnceCell::new() });
        flights.insert(name.to_owned(), Arc::clone(&flight));
        flight
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};
    use tokio::sync::Notify;

    const NONE: Duration = Duration::ZERO;
    const LONG: Duration = Duration::from_hours(1);

    #[derive(Default)]
    struct World {
        flights: SingleFlight<(), u32>,
        made: AtomicU32,
        gate: Notify,
    }

    impl World {
        async fn request(&self, name: &str, about: &Arc<()>, kept: Duration) -> u32 {
            let make = || async {
                let made = self.made.fetch_add(1, Ordering::SeqCst) + 1;
                self.gate.notified().await;
                made
            };
            self.flights.share(name, about, kept, make).await
        }
    }

    #[tokio::test]
    async fn who_asks_at_once_has_one_answer_and_who_comes_later_another() {
        let (world, about) = (World::default(), Arc::new(()));
        let ask = || world.request("web", &about, NONE);
        let open = async { world.gate.notify_one() };
        assert_eq!(tokio::join!(ask(), ask(), ask(), open), (1, 1, 1, ()));
        world.gate.notify_one();
        assert_eq!(ask().await, 2);
        assert_eq!(world.request("web", &about, LONG).await, 2, "the result is recent");
        world.gate.notify_one();
        assert_eq!(world.request("web", &Arc::new(()), LONG).await, 3, "the subject is another one");
    }

    #[tokio::test]
    async fn if_the_first_goes_away_the_next_begins_anew() {
        let (world, about) = (World::default(), Arc::new(()));
        let first = tokio::time::timeout(Duration::from_millis(5), world.request("web", &about, NONE));
        assert!(first.await.is_err());
        world.gate.notify_one();
        assert_eq!(world.request("web", &about, NONE).await, 2);
    }
}
