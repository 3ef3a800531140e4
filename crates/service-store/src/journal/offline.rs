//! The journal of a project without a daemon, read from its files.

use super::checks::Checks;
use super::cursor::{Starts, collect_rows};
use super::history::History;
use super::reader::{Backlog, EventQuery};
use super::record::{checks_path, path, unreadable};
use super::segment::SegmentSnapshot;
use service_api::event::{HistoryEntry, StartRecord};
use service_api::{Event, Problem};
use std::path::Path;

fn open_backlog(state_dir: &Path) -> Result<Backlog, Problem> {
    SegmentSnapshot::at(&path(state_dir)).map(Backlog::from_files).map_err(|error| unreadable(&error))
}

/// The selected events.
pub fn events(state_dir: &Path, query: &EventQuery) -> Result<Vec<Event>, Problem> {
    open_backlog(state_dir)?.find(query)
}

/// Events of services, and results of checks.
pub fn history(state_dir: &Path, query: &EventQuery) -> Result<Vec<HistoryEntry>, Problem> {
    let checks =
        SegmentSnapshot::at(&checks_path(state_dir)).map(Checks::new).map_err(|error| unreadable(&error))?;
    collect_rows(History::new(open_backlog(state_dir)?, checks, query)?)
}

/// The critical path of starts.
pub fn starts(state_dir: &Path, query: &EventQuery) -> Result<Vec<StartRecord>, Problem> {
    collect_rows(Starts::new(open_backlog(state_dir)?, query.clone()))
}
