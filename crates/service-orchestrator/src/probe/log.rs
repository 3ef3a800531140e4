//! `ready.log`: waits for a line in the service's log.

use crate::clock;
use crate::world::World;
use regex::Regex;
use service_core::Moment;
use service_core::config::Service;
use service_core::health::next_while_starting;
use service_core::service::Event;
use std::sync::Arc;

/// Lines looked at each time.
const MOST_LINES: usize = 1_000_000;

/// Reports once, when a line of this run matches. Ended by its owner when the run ends.
pub(crate) async fn listen(world: World, service: Arc<Service>, run: u64, launched: Moment) {
    let Some(pattern) = service.ready.log.as_deref().and_then(|pattern| Regex::new(pattern).ok()) else {
        return;
    };
    let files = world.places.files(&service.name);
    let mut since = clock::wall(launched);
    loop {
        let lines = files.tail(MOST_LINES, Some(since)).unwrap_or_default();
        if lines.iter().any(|line| pattern.is_match(&line.text)) {
            return world.report(&service.name, run, Event::Announced);
        }
        since = lines.last().map_or(since, |line| line.time);
        clock::sleep_until(Some(next_while_starting(launched, clock::now()))).await;
    }
}
