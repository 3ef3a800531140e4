//! [`Checks`]: the results of health checks, which have their own file.

use super::line_reader::LineReader;
use super::record::shorten;
use super::segment::SegmentSnapshot;
use serde::{Deserialize, Serialize};
use service_api::event::{HistoryEntry, kind};
use service_core::Name;
use service_host::clock;
use service_host::report::CheckResult;
use std::cell::Cell;
use std::io;

/// The result of one check, as a line of its file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckRow {
    pub(super) time: String,
    pub(super) service: String,
    run: u64,
    healthy: bool,
    latency_ms: f64,
    /// The message of a failed check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

impl CheckRow {
    pub(super) fn new(name: &Name, run: u64, check: &CheckResult) -> Self {
        Self {
            time: check.at.to_string(),
            service: name.to_string(),
            run,
            healthy: check.healthy,
            latency_ms: clock::millis(check.latency),
            message: (!check.healthy).then(|| shorten(check.message.clone())),
        }
    }

    /// The line of this result in the file.
    pub(super) fn line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }
}

impl From<CheckRow> for HistoryEntry {
    fn from(row: CheckRow) -> Self {
        Self {
            time: row.time,
            service: row.service,
            kind: kind::CHECK.to_owned(),
            from: None,
            to: None,
            run: Some(row.run),
            healthy: Some(row.healthy),
            latency_ms: Some(row.latency_ms),
            exit_code: None,
            exit_signal: None,
            message: row.message,
        }
    }
}

/// The retained results of checks.
#[derive(Debug, Clone)]
pub struct Checks(SegmentSnapshot);

impl Checks {
    pub(super) fn new(segments: SegmentSnapshot) -> Self {
        Self(segments)
    }

    /// The results from an offset on, each with the offset after it.
    pub(super) fn results_from<'a>(
        &'a self,
        offset: usize,
        failed: &'a Cell<Option<io::Error>>,
    ) -> impl Iterator<Item = (usize, CheckRow)> + 'a {
        LineReader::new(&self.0, offset, failed)
    }
}
