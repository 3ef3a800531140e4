//! A service that writes 200 MB of lines without a pause. The measurement ends when the last line is in the log.

use crate::harness::{Instance, Output, ServiceSpec, System};
use crate::stamps::Moment;
use crate::workloads::sandbox::Sandbox;
use crate::workloads::workload::{Goal, Row, Workload};
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const LINES_IN_ALL: usize = 2_000_000;
const LOOK_INTERVAL: Duration = Duration::from_millis(1);

pub(super) const BLOCKS: Workload = Workload {
    name: "blocks",
    rows: &[Row {
        name: "200 MB of 100-byte lines in 64 KB writes, until the last is in the log",
        unit: "s",
        goals: &[Goal::TimesBaseline(1.3)],
    }],
    run: |system| Some(BLOCKS.figures([burst(system, 65536)?])),
};

pub(super) const LINES: Workload = Workload {
    name: "lines",
    rows: &[Row { name: "the same, one write per line", unit: "s", goals: &[Goal::TimesBaseline(1.0)] }],
    run: |system| Some(LINES.figures([burst(system, 100)?])),
};

fn burst(system: &dyn System, write: usize) -> Option<f64> {
    let sandbox = Sandbox::new(system);
    let service = talker(&sandbox, Output { lines: LINES_IN_ALL, write, kept: false });
    let mut instance = sandbox.set_up(system, std::slice::from_ref(&service))?;
    let command = Moment::now();
    instance.start();
    let log = wait_for_last(instance.as_ref(), &service);
    let took = Moment::now().milliseconds_since(command) / 1e3;
    fs::remove_file(log).expect("it is large, and not needed any more");
    Some(took)
}

/// A service that writes this output.
pub(super) fn talker(sandbox: &Sandbox, output: Output) -> ServiceSpec {
    let arguments = ["lines", &output.lines.to_string(), &output.write.to_string()];
    ServiceSpec { output: Some(output), ..sandbox.service(0, &arguments) }
}

/// Waits until the log has the last line of the payload, which ends with the digit 1.
pub(super) fn wait_for_last(instance: &dyn Instance, service: &ServiceSpec) -> PathBuf {
    let deadline = Instant::now() + Duration::from_mins(2);
    loop {
        if let Some(log) = instance.log(service).filter(|log| has_last(log)) {
            return log;
        }
        assert!(Instant::now() < deadline, "the lines do not come into the log");
        std::thread::sleep(LOOK_INTERVAL);
    }
}

fn has_last(log: &Path) -> bool {
    let mut end = [0; 2];
    let read = File::open(log).and_then(|mut log| {
        log.seek(SeekFrom::End(-2))?;
        log.read_exact(&mut end)
    });
    read.is_ok() && end == *b"1\n"
}
