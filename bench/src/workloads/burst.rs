//! A service that writes 200 MB of lines as fast as they are taken, until all of them are in its log.

use crate::harness::{ServiceSpec, System};
use crate::workloads::sandbox::{Sandbox, elapsed_ms};
use crate::workloads::workload::{Goal, Row, Workload};
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::time::{Duration, Instant};

const LINES_IN_ALL: usize = 2_000_000;

pub(super) const BLOCKS: Workload = Workload {
    name: "blocks",
    rows: &[Row {
        name: "200 MB of 100-byte lines in 64 KB writes, until in the log",
        unit: "s",
        goal: Goal::AtMost(0.35),
    }],
    run: |system| Some(vec![(BLOCKS.rows[0].name, write_blocks(system, "65536")?)]),
};

pub(super) const LINES: Workload = Workload {
    name: "lines",
    rows: &[Row { name: "the same, one write per line", unit: "s", goal: Goal::AtMost(0.6) }],
    run: |system| Some(vec![(LINES.rows[0].name, write_blocks(system, "100")?)]),
};

fn write_blocks(system: &dyn System, bytes: &str) -> Option<f64> {
    let sandbox = Sandbox::new();
    let service =
        ServiceSpec { ends: true, ..sandbox.service(0, &["lines", &LINES_IN_ALL.to_string(), bytes]) };
    let mut instance = sandbox.set_up(system, std::slice::from_ref(&service))?;
    let begun = Instant::now();
    instance.start();
    let deadline = begun + Duration::from_mins(1);
    let log = loop {
        if let Some(log) = instance.log(&service).filter(|log| has_last(log)) {
            break log;
        }
        assert!(Instant::now() < deadline, "{}: the lines do not come into the log", system.name());
        std::thread::sleep(Duration::from_millis(1));
    };
    let ended = Instant::now();
    assert_eq!(count(&log), LINES_IN_ALL, "every line is in the log");
    fs::remove_file(log).expect("it is large, and not needed any more");
    Some(elapsed_ms(begun, ended) / 1e3)
}

/// Whether the last line of the payload is there: it ends with a one.
fn has_last(log: &Path) -> bool {
    let mut end = [0; 2];
    let read = File::open(log).and_then(|mut log| {
        log.seek(SeekFrom::End(-2))?;
        log.read_exact(&mut end)
    });
    read.is_ok() && end == *b"1\n"
}

fn count(log: &Path) -> usize {
    fs::read_to_string(log).expect("the log can be read").lines().count()
}
