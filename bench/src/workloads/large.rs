//! A log of 1 GB: its last lines, lines from its middle, and all of it, as rows over the API.

use crate::harness::{Instance, Output, System};
use crate::stamps::Moment;
use crate::systems::{self, Daemon};
use crate::workloads::burst::{talker, wait_for_last};
use crate::workloads::sandbox::Sandbox;
use crate::workloads::workload::{Figure, Row, Workload};
use jiff::Timestamp;
use std::io::{BufRead, BufReader};
use std::slice::from_ref;

const LINES: usize = 10_000_000;
const PAGE: usize = 1_000;

pub(super) const LARGE: Workload = Workload {
    name: "large-log",
    rows: &[
        Row { name: "log of 1 GB: the last 1,000 lines as rows", unit: "ms", goals: &[] },
        Row { name: "log of 1 GB: 1,000 lines from a time in its middle", unit: "ms", goals: &[] },
        Row { name: "log of 1 GB: all lines as rows, searched for one", unit: "s", goals: &[] },
    ],
    run: large,
};

/// Applies only to this project.
fn large(system: &dyn System) -> Option<Vec<Figure>> {
    if !systems::is_ours(system) {
        return None;
    }
    let sandbox = Sandbox::new(system);
    let service = talker(&sandbox, Output { lines: LINES, write: 65536, kept: true });
    drop(sandbox.set_up(system, from_ref(&service))?);
    let mut daemon = Daemon::start_in(sandbox.place());
    let begun = Timestamp::now();
    daemon.start();
    let log = wait_for_last(&daemon, &service);
    let middle = begun + Timestamp::now().duration_since(begun) / 2;
    let page = format!("services/s0/logs?tail={PAGE}");
    let (last, _) = read(&daemon, &page, PAGE);
    let (from_middle, _) = read(&daemon, &format!("{page}&since={middle}"), PAGE);
    let (all, found) = read(&daemon, &format!("services/s0/logs?tail={LINES}"), LINES);
    assert_eq!(found, 1, "one line ends with a one");
    drop(daemon);
    std::fs::remove_file(log).expect("it is large, and not needed any more");
    Some(LARGE.figures([last, from_middle, all / 1e3]))
}

/// Reads `count` rows. Returns the milliseconds, and the number of rows with the last line of the payload.
fn read(daemon: &Daemon, path: &str, count: usize) -> (f64, usize) {
    let searched = format!("{:099}", 1);
    let asked = Moment::now();
    let mut rows = BufReader::with_capacity(1 << 16, daemon.follow(path));
    let (mut line, mut read, mut found) = (String::new(), 0, 0);
    while read < count {
        line.clear();
        assert!(rows.read_line(&mut line).expect("the daemon answers") > 0, "{path}: only {read} rows");
        if line.starts_with('{') {
            read += 1;
            found += usize::from(line.contains(&searched));
        }
    }
    (Moment::now().milliseconds_since(asked), found)
}
