//! A daemon that begins: until its first answer, and until five hundred shims of a daemon before are its own.

use super::{Figure, Goal, House, Row, Work, since};
use crate::contestants::Daemon;
use crate::stage::{Contestant, Stage};
use std::time::{Duration, Instant};

const SHIMS: usize = 500;

pub(super) const COLD: Work = Work {
    name: "cold",
    rows: &[
        Row { name: "cold start of the daemon to first answer", unit: "ms", goal: Goal::Most(15.0) },
        Row { name: "adoption of 500 shims, daemon killed before", unit: "ms", goal: Goal::Most(100.0) },
    ],
    play: cold,
};

/// It is about the daemon of this project, so nobody else plays it.
fn cold(contestant: &dyn Contestant) -> Option<Vec<Figure>> {
    if contestant.name() != crate::contestants::OURS {
        return None;
    }
    let house = House::new();
    drop(house.raise(contestant, &house.independent(SHIMS))?);
    let begun = Instant::now();
    let mut daemon = Daemon::raise(house.path());
    daemon.get("version");
    let cold = since(begun, Instant::now());
    daemon.start();
    house.herald.hear(SHIMS);
    // All of them are ready before it dies.
    daemon.get("wait");
    daemon.kill();
    let begun = Instant::now();
    let daemon = Daemon::raise(house.path());
    let deadline = begun + Duration::from_secs(20);
    while daemon.get("daemon")["data"]["services_running"] != SHIMS {
        assert!(Instant::now() < deadline, "the services are not taken up");
    }
    let adopted = since(begun, Instant::now());
    Some(vec![(COLD.rows[0].name, cold), (COLD.rows[1].name, adopted)])
}
